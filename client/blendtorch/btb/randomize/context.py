"""What a randomizer and a hook are given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from .changes import Changes
from .place import Place


@dataclass
class Context:
    """All that a randomizer or a hook may use.

    Attributes:
        rng: The randomness of this entry. A hook that draws from nothing else makes the same scene anywhere.
        seed: Of the launch.
        index: Of the sample, or of the episode.
        frame: Of the scene.
        episode: Of the stream; 0 for still scenes.
        sample: The sample's fields, in `post_frame`: add to it. Empty in `pre_frame`.
        changes: What was changed until now.
        scene_at: Where the scene is; `scene` looks it up, so that it is right after an undo.
        camera_at: Where the camera is; None if there is none.
        announced: In `check`, which changes nothing: what the entries before this one would add to the scene.
    """

    rng: np.random.Generator
    seed: int
    index: int
    frame: int
    episode: int
    changes: Changes
    scene_at: Place
    camera_at: Place | None
    sample: dict[str, Any] = field(default_factory=dict)
    announced: set[tuple[str, str]] = field(default_factory=set)

    @property
    def scene(self) -> bpy.types.Scene:
        """The scene that is rendered."""
        return self.scene_at.find()

    @property
    def camera(self) -> bpy.types.Object | None:
        """The camera that renders; None if there is none."""
        return None if self.camera_at is None else self.camera_at.find()

    def change(self, owner: Any, attribute: str, value: Any) -> None:
        """Sets an attribute until the sample is done: `ctx.change(bpy.data.objects["Cube"], "location", (0, 0, 1))`.

        Args:
            owner: A data block or a struct of one.
            attribute: Its name; `'["name"]'`, with brackets and quotes, for a custom property.
            value: As one would assign it. What is assigned without this stays.
        """
        self.changes.change(owner, attribute, value)

    def on_restore(self, action: Callable[[], object]) -> None:
        """Has something done when the sample is done: to remove what you add.

        Refer to things by name in it. It may be done again: an undo in Blender may bring back what you have removed.
        """
        self.changes.on_restore(action)

    @contextmanager
    def shown(self, obj: bpy.types.Object) -> Iterator[bpy.types.Object | None]:
        """A context with an object as it is evaluated now, also one that is disabled in viewports: enabled for so long.

        None where Blender leaves it out all the same: its collection is disabled, or excluded from the view layer.
        """
        evaluated = self.changes.evaluated(obj)
        if evaluated is not None or not obj.hide_viewport:
            yield evaluated
            return
        before = len(self.changes)
        self.change(obj, "hide_viewport", False)
        try:
            yield self.changes.evaluated(obj)
        finally:
            self.changes.restore_to(before)

    def update(self) -> None:
        """Has Blender evaluate what was changed, so that `matrix_world` and meshes are those of now."""
        self.changes.update()
