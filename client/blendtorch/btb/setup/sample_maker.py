"""`SampleMaker`: makes the samples that are set up for a scene, the same in a window and without one."""

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Literal, Self

import bpy

from ...errors import ConfigError, SceneError
from .. import randomize
from ..camera import Camera
from .cameras import camera_names, camera_of
from .episode import Episode
from .pictures import Labels, Pictures, Reserve, class_ids
from .settings import OutputSettings, SceneSetup


def frame_address(output: OutputSettings, index: int, frame: int) -> tuple[int, int]:
    """The address of a frame of an episode: its index, and the frame's number in it, from 1.

    Not the scene's number of the frame, which may be negative; nor 0, which would be the address of the episode itself, for
    numpy makes the same generator of [seed, index] and [seed, index, 0].
    """
    return index, max(frame - output.frame_start, 0) + 1


class SampleMaker:
    """Makes the samples of a setup. What an index gives depends on the setup and the index alone, not on those before.

    Between samples the scene is as the user has it: each sample's changes are put back before it is given out. An episode
    (`animate`) is at its own frame, and keeps what its "episode" randomizers have changed, until its last sample is taken;
    so long point caches have its range, too. `put_back` interrupts it.

    All cameras see the same scene: for each the randomizers are applied anew, with the same random numbers. Those of the
    episode that are about the camera that renders are about the first one.

    It remembers the scene, cameras and objects by name or session id, so the user may edit, undo and save in between.

    The randomness of a still scene is that of `btb.sample_rng(seed, index)`; so is what "episode" randomizers draw. The
    frames of an episode count from 1, and have `btb.sample_rng(seed, index, number)`.

    What randomizers have set is so whatever drivers say. Keyframes yield to those of each sample, but not to those of an
    episode, from its first frame on.

    Args:
        setup: What to make.
        scene: The scene; by default the context's.
        on_problem: Told of randomizers that failed and are set to be skipped: their number in the list, from 0, and the
            error. By default they are warned of.
        reserve: Memory for the picture: called with name, shape and dtype of a field, as a channel's `reserve`. What is
            given out is then to be used before the next sample is asked for.

    Raises:
        SceneError: A camera is not there, or what a class is about.
    """

    def __init__(
        self,
        setup: SceneSetup,
        scene: bpy.types.Scene | None = None,
        *,
        on_problem: randomize.OnProblem | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self.setup = setup
        self._uid = (bpy.context.scene if scene is None else scene).session_uid
        self._on_problem = on_problem
        self._pictures = Pictures(setup.output, reserve)
        self._labels: dict[str, Labels] = {}
        self._episode: Episode | None = None
        found = self._scene()
        for name in camera_names(setup.output):
            camera_of(found, name)
        class_ids(setup.output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def samples(self, index: int) -> Generator[dict[str, Any], None, None]:
        """Makes the samples of one index: one for each camera; with `animate` that for each frame.

        Closing the generator puts everything back at once. One is to be used up before the next: an episode that another
        index interrupts is played again up to where it was, and its flow and velocities are not known there.

        Args:
            index: Of the sample or episode, 0 or more.

        Yields:
            The fields of a sample: `image`, H x W x 3 or 4 uint8; an array for each label that is wanted (see
            `btb.LabelRenderer`); `labels`, boxes and poses (docs/labels.md), if wanted; `frameid`, the frame; `camera`, the
            name; `episode`, the index, with `animate`; and what hooks have added.

        Raises:
            RandomizeError: (a SceneError) A randomizer or a hook failed, and is not set to be skipped.
            SceneError: A camera, or what a class is about, is not there any more; or the scene itself.
            ConfigError: The renderer cannot draw what is wanted; the index is negative.
        """
        if type(index) is not int or index < 0:
            raise ConfigError(f"index is {index!r}, expected an integer, 0 or more.")
        self._pictures.prepare()
        if self.setup.output.animate:
            yield from self._play(index)
        else:
            yield from self._still(index)

    @property
    def samples_per_index(self) -> int:
        """How many samples `samples` makes of an index."""
        output = self.setup.output
        return len(camera_names(output)) * (output.frame_end - output.frame_start + 1 if output.animate else 1)

    @property
    def episode(self) -> Episode | None:
        """The episode that is underway; None between those, and of still scenes."""
        return self._episode

    def put_back(self) -> None:
        """Puts the scene back as it was; to be called before Blender saves, undoes, redoes or loads.

        An episode that is interrupted goes on with the next sample: it is played again up to there, unseen.
        """
        try:
            self._leave()
        finally:
            self._pictures.put_back()

    def invalidate(self) -> None:
        """To be called when Blender has replaced its data, by undo, redo or loading: nothing is put back any more.

        Call `put_back` before that.
        """
        self._episode = None

    def close(self) -> None:
        """Puts everything back, and frees what the pictures took. It may be used again."""
        try:
            self.put_back()
        finally:
            self._labels.clear()
            self._pictures.close()

    def _still(self, index: int) -> Generator[dict[str, Any], None, None]:
        for name in camera_names(self.setup.output):
            with self._in_scene() as scene:
                camera = camera_of(scene, name)
                changes = self._randomize(None, scene, camera, index, (index,))
                sample = self._make(scene, camera, name, index, changes, is_first=True)
            yield sample

    def _play(self, index: int) -> Generator[dict[str, Any], None, None]:
        output = self.setup.output
        try:
            for frame in range(output.frame_start, output.frame_end + 1):
                for name in camera_names(self.setup.output):
                    with self._in_scene() as scene:
                        camera = camera_of(scene, name)
                        episode = self._go_to(scene, index, frame)
                        changes = self._randomize("sample", scene, camera, index, frame_address(output, index, frame))
                        is_first = frame == output.frame_start
                        sample = self._make(scene, camera, name, index, changes, is_first, episode.changes)
                    yield sample
        finally:
            if self._episode is None or self._episode.index == index:
                self._leave()

    def _go_to(self, scene: bpy.types.Scene, index: int, frame: int) -> Episode:
        if self._episode is not None and self._episode.index != index:
            self._leave()
        if self._episode is None:
            output = self.setup.output
            first_camera = camera_of(scene, camera_names(self.setup.output)[0])
            self._episode = Episode(
                scene,
                index,
                (output.frame_start, output.frame_end),
                lambda: self._randomize("episode", scene, first_camera, index, (index,)),
            )
        self._episode.go_to(scene, frame)
        return self._episode

    def _randomize(
        self,
        per: Literal["sample", "episode"] | None,
        scene: bpy.types.Scene,
        camera: bpy.types.Object,
        index: int,
        address: tuple[int, ...],
    ) -> randomize.Changes:
        randomizers: Any = self.setup.randomizers  # those that are unknown are muted
        return randomize.apply(
            randomizers,
            seed=self.setup.seed,
            address=address,
            per=per,
            index=index,
            episode=index if self.setup.output.animate else 0,
            camera=camera,
            scene=scene,
            on_problem=self._on_problem,
        )

    def _make(
        self,
        scene: bpy.types.Scene,
        camera: bpy.types.Object,
        name: str,
        index: int,
        changes: randomize.Changes,
        is_first: bool,
        of_episode: randomize.Changes | None = None,
    ) -> dict[str, Any]:
        """The sample of the scene as it is; puts back the changes, those of the episode apart."""
        output = self.setup.output
        with changes:
            view = Camera(camera, shape=(output.height, output.width))
            sample: dict[str, Any] = {"image": self._pictures.draw(view, changes)}
            if output.labels or output.annotate:
                if name not in self._labels:
                    self._labels[name] = Labels(output, view)
                sample |= self._labels[name].draw(view, index, is_first)
            sample |= {"frameid": scene.frame_current, "camera": camera.name}
            if output.animate:
                sample["episode"] = index
            if of_episode is not None:
                of_episode.post_frame(sample, scene.frame_current)
            changes.post_frame(sample, scene.frame_current)
        return sample

    def _leave(self) -> None:
        """Leaves the episode: puts back what its randomizers have changed, and the frame."""
        episode, self._episode = self._episode, None
        if episode is None:
            return
        try:
            context = self._in_scene()
        except SceneError:
            episode.leave(None)
            return
        with context as scene:
            episode.leave(scene)

    def _scene(self) -> bpy.types.Scene:
        for scene in bpy.data.scenes:
            if scene.session_uid == self._uid:
                return scene
        raise SceneError("the scene that samples were made of is not there any more: start again with another one.")

    def _in_scene(self) -> AbstractContextManager[bpy.types.Scene]:
        """A context in which the scene is Blender's context's, too."""
        scene = self._scene()
        return nullcontext(scene) if bpy.context.scene == scene else _Override(scene)


class _Override:
    def __init__(self, scene: bpy.types.Scene) -> None:
        self._scene = scene
        self._override = bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0])

    def __enter__(self) -> bpy.types.Scene:
        self._override.__enter__()
        return self._scene

    def __exit__(self, *error: Any) -> None:
        self._override.__exit__(*error)
