"""An episode that is being played: its randomizers, its frame, and how all was before."""

from collections.abc import Callable

import bpy

from ..physics import point_caches, set_cache_range, set_range
from ..randomize import Changes


class Episode:
    """Plays frames one by one, as physics needs it.

    What it remembers refers to nothing of Blender's by address, so that it may wait while the user works.

    Args:
        scene: The scene.
        index: Of the episode.
        frames: First and last frame.
        randomize: Applies the randomizers of the episode; called at its first frame.

    Raises:
        RandomizeError: One failed; everything is as before.
    """

    def __init__(
        self, scene: bpy.types.Scene, index: int, frames: tuple[int, int], randomize: Callable[[], Changes]
    ) -> None:
        self.index = index
        self._first = frames[0]
        self._frame: int | None = None
        self._frame_before = (scene.frame_current, scene.frame_subframe)
        self._ranges_before = _ranges(scene)
        self.changes: Changes | None = None
        try:
            set_cache_range(scene, *frames)
            scene.frame_set(self._first)
            self.changes = randomize()
        except BaseException:
            self.leave(scene)
            raise

    def go_to(self, scene: bpy.types.Scene, frame: int) -> None:
        """Goes on to a frame; from the first one where the user has gone to another meanwhile."""
        at = self._frame
        if at == frame and scene.frame_current == frame:
            return
        if at is None or at != scene.frame_current or at > frame:
            at = self._first - 1
        for number in range(at + 1, frame + 1):
            scene.frame_set(number)
        self._frame = frame

    def is_like(self, other: "Episode") -> bool:
        """Whether leaving the other one puts the same back, as far as can be told."""
        if self.changes is None or other.changes is None or not self.changes.is_like(other.changes):
            return False
        return (self._frame_before, self._ranges_before) == (other._frame_before, other._ranges_before)

    def leave(self, scene: bpy.types.Scene | None) -> None:
        """Puts everything back; again where an undo has brought it again.

        Args:
            scene: The scene; None where it was removed: then what it shares with others is put back.
        """
        try:
            if self.changes is not None:
                changes, self.changes = self.changes, self.changes.copy()
                changes.restore()
        finally:
            if scene is not None:
                self._leave_frame(scene)

    def _leave_frame(self, scene: bpy.types.Scene) -> None:
        for key, cache in _caches(scene).items():
            before = self._ranges_before.get(key)
            if before is not None and (cache.frame_start, cache.frame_end) != before:
                set_range(cache, *before)
        # Also to the frame that it is at: what physics came to in the episode would stay otherwise.
        frame, subframe = self._frame_before
        if self._frame is not None and self._frame > self._first:
            _reset_rigid_bodies(scene)
        scene.frame_set(frame, subframe=subframe)


def _reset_rigid_bodies(scene: bpy.types.Scene) -> None:
    """Has Blender forget the frames of an episode: it does when it steps on from the first one of what was changed."""
    world = scene.rigidbody_world
    if world is not None and not world.point_cache.is_baked:
        scene.frame_set(world.point_cache.frame_start)
        scene.frame_set(world.point_cache.frame_start + 1)


def _caches(scene: bpy.types.Scene) -> dict[tuple[str, int], bpy.types.PointCache]:
    """The point caches by the name of what they belong to, and their number there."""
    found: dict[tuple[str, int], bpy.types.PointCache] = {}
    counts: dict[str, int] = {}
    for cache in point_caches(scene):
        name = cache.id_data.name_full
        found[name, counts.setdefault(name, 0)] = cache
        counts[name] += 1
    return found


def _ranges(scene: bpy.types.Scene) -> dict[tuple[str, int], tuple[int, int]]:
    return {key: (cache.frame_start, cache.frame_end) for key, cache in _caches(scene).items()}
