"""Playing a scene's frames one by one, which is the only way in which Blender plays physics."""

import bpy

from ...errors import SceneError
from ..physics import point_caches, set_range

# Blender counts no further; point caches end one frame later at most.
LAST_FRAME = 1_048_574


class Frames:
    """The frames of one scene.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: bpy.types.Scene) -> None:
        self.scene = scene

    @property
    def current(self) -> int:
        """The frame that is shown."""
        return self.scene.frame_current

    @property
    def step_s(self) -> float:
        """How long a frame is, in seconds of simulated time."""
        return self.scene.render.fps_base / self.scene.render.fps

    def rewind(self) -> None:
        """Goes to the first frame, and has physics begin there anew and last as long as Blender can count."""
        first = self.scene.frame_start
        for cache in point_caches(self.scene):
            # Each setting drops what is cached, so it is not set for nothing.
            if (cache.frame_start, cache.frame_end) != (first, LAST_FRAME) and not cache.is_baked:
                set_range(cache, first, LAST_FRAME)
        self.scene.frame_set(first)

    def advance(self, frames: int) -> None:
        """Plays frames.

        Raises:
            SceneError: Blender cannot count that far.
        """
        first = self.scene.frame_current + 1
        if first + frames - 1 > LAST_FRAME:
            raise SceneError(
                f"the episode would go past frame {LAST_FRAME}, the last one that Blender has. Reset it before, for "
                "example by max_episode_steps."
            )
        for frame in range(first, first + frames):
            self.scene.frame_set(frame)
