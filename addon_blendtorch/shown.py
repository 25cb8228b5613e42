"""The scene as one sample has it, shown until it is put back: what *Randomize once* and *Reset* do.

Both are steps of Blender's undo. Undo and redo replace Blender's data, so what was changed is put back before either
(`Shown.reset`), and Blender then brings the state that it has saved. When that is one that *Randomize once* had made, it is
put back, too (`applied`): no undo and no redo leaves the scene randomized.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import bpy

from blendtorch.btb import randomize
from blendtorch.btb.setup import SceneSetup, frame_address

from . import applied
from .scenes import scene_context


class Shown:
    """What is changed in the scene to show it as a sample has it.

    Attributes:
        next_index: The index that is shown next.
    """

    def __init__(self) -> None:
        self.next_index = 0
        self._changes: list[randomize.Changes] = []
        self._scene_uid = 0
        self._shown_of = -1

    @property
    def is_shown(self) -> bool:
        """Whether something is changed."""
        return bool(self._changes)

    def show_next(self, setup: SceneSetup, scene_uid: int, on_problem: Callable[[int, Exception], None]) -> int:
        """Shows the next index's sample, the first one after another scene.

        Args:
            setup: What is set up for the scene, which is the context's.
            scene_uid: The scene's `session_uid`.
            on_problem: Told of randomizers that failed and are set to be skipped.

        Returns:
            The index.

        Raises:
            RandomizeError: A randomizer failed; nothing is changed.
        """
        self.reset()
        if scene_uid != self._shown_of:
            self.next_index, self._shown_of = 0, scene_uid
        index = self.next_index
        self._scene_uid = scene_uid
        try:
            for per, address in _parts(setup, index):
                self._changes.append(
                    randomize.apply(
                        setup.randomizers,
                        seed=setup.seed,
                        address=address,
                        per=per,
                        index=index,
                        frame=bpy.context.scene.frame_current,
                        episode=index if setup.output.animate else 0,
                        camera=_camera(setup),
                        on_problem=on_problem,
                    )
                )
        except BaseException:
            self.reset()
            raise
        bpy.context.view_layer.update()
        applied.mark(partial(_restore, tuple(self._changes), scene_uid))
        self.next_index = index + 1
        return index

    def reset(self) -> None:
        """Puts back what is changed."""
        changes, self._changes = self._changes, []
        if not changes:
            return
        applied.unmark()
        _restore(changes, self._scene_uid)


def _restore(changes: Sequence[randomize.Changes], scene_uid: int) -> None:
    with scene_context(scene_uid, missing_ok=True):
        for one in reversed(changes):
            one.copy().restore()


def _parts(setup: SceneSetup, index: int) -> list[tuple[Literal["sample", "episode"] | None, tuple[int, ...]]]:
    """What is applied one after the other, and by which address: as `SampleMaker` does it, at the current frame."""
    if not setup.output.animate:
        return [(None, (index,))]
    return [("episode", (index,)), ("sample", frame_address(setup.output, index, bpy.context.scene.frame_current))]


def _camera(setup: SceneSetup) -> bpy.types.Object | None:
    """The first camera that makes samples."""
    names = setup.output.cameras
    return bpy.data.objects.get(names[0]) if names else bpy.context.scene.camera
