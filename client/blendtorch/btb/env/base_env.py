"""An environment with one agent."""

from typing import Any

import bpy
import numpy as np

from ...wire.spaces import Space
from ..offscreen import OffScreenRenderer
from .frames import Frames


class BaseEnv:
    """An environment with one agent, to be subclassed; `btb.env.run` serves it to Gymnasium.

    A subclass sets the spaces, and writes `reset` and `step`::

        class Reach(btb.env.BaseEnv):
            observation_space = btb.env.spaces.Box(-10, 10, (3,))
            action_space = btb.env.spaces.Box(-1, 1, (3,))
            max_episode_steps = 100

            def reset(self, rng, options):
                self.cube = bpy.data.objects["Cube"]
                self.cube.location = rng.uniform(-1, 1, 3)
                self.rewind()
                return np.array(self.cube.location)

            def step(self, action):
                self.cube.location += Vector(action) * 0.1
                self.advance()
                position = np.array(self.cube.matrix_world.translation)
                return position, -np.linalg.norm(position), False, False

        btb.env.run(Reach)

    Attributes:
        observation_space: What `reset` and `step` return, one of `btb.env.spaces`.
        action_space: What `step` is given.
        max_episode_steps: After so many steps an episode is truncated; None for no limit.
        frames_per_step: How many frames of Blender `advance` plays.
        metadata: More for Gymnasium's `metadata`, whose "render_fps" is the number of steps a second of simulated time,
            unless it is set here.
    """

    observation_space: Space
    action_space: Space
    max_episode_steps: int | None = None
    frames_per_step: int = 1
    metadata: dict[str, Any] = {}  # noqa: RUF012  (as in Gymnasium)

    _renderer: OffScreenRenderer | None = None

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> Any:
        """Begins an episode.

        Args:
            rng: The generator of this episode. What is drawn must come from it alone: then the same seed gives the same
                episode in any process, whatever was played before.
            options: What the client gave as `options`; empty when an episode begins by itself.

        Returns:
            The observation, or a tuple of the observation and a dict, the info.
        """
        raise NotImplementedError(f"{type(self).__name__} has no reset(rng, options), which begins an episode.")

    def step(self, action: Any) -> tuple:
        """Acts, plays the frames of one step (`self.advance()`), and looks at what came of it.

        Args:
            action: A value of `action_space`; the training side has checked it.

        Returns:
            observation, reward, terminated, truncated, and, if there is anything to say, a dict, the info.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step(action), which plays one step.")

    def render(self) -> np.ndarray:
        """A picture for people: by default what the scene's camera sees, Solid, in the size of the render settings.

        Returns:
            H x W x 3 uint8, sRGB, first row at the top.
        """
        if self._renderer is None:
            self._renderer = OffScreenRenderer(mode="rgb")
        return self._renderer.render()

    def close(self) -> None:
        """Lets go of what the environment holds; called once, at the end."""

    def rewind(self) -> None:
        """Sets the scene to its first frame, from which physics begins anew.

        Set the start transforms of rigid bodies and whatever hangs on them before. Point caches are made to span as many
        frames as Blender can count, so that an episode may have any length.
        """
        Frames(bpy.context.scene).rewind()

    def advance(self, frames: int | None = None) -> None:
        """Plays frames one by one, for physics can be played in no other way.

        Args:
            frames: How many; None for `frames_per_step`.

        Raises:
            SceneError: Blender cannot count that far (1,048,573 frames after a `rewind`).
        """
        Frames(bpy.context.scene).advance(self.frames_per_step if frames is None else frames)
