"""An environment with many agents in one scene."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...wire.spaces import Space
from ..offscreen import OffScreenRenderer


class BaseVectorEnv:
    """An environment whose scene holds many agents, stepped by the same frames and one message; to be subclassed.

    As `BaseEnv`, with arrays whose first axis are the agents. `btb.env.PhysicsAgents` makes the copies of a collection of
    rigid bodies, and puts single ones back to a start while the others go on.

    Attributes:
        num_agents: How many agents the scene holds.
        observation_space: Of one agent.
        action_space: Of one agent.
        max_episode_steps: After so many steps an agent's episode is truncated; None for no limit.
        frames_per_step: How many frames of Blender a step plays.
        metadata: As of `BaseEnv`.
    """

    num_agents: int
    observation_space: Space
    action_space: Space
    max_episode_steps: int | None = None
    frames_per_step: int = 1
    metadata: dict[str, Any] = {}  # noqa: RUF012  (as in Gymnasium)

    _renderer: OffScreenRenderer | None = None

    def reset(self, agents: np.ndarray, rngs: Sequence[np.random.Generator], options: dict[str, Any]) -> Any:
        """Begins an episode of some agents; the others go on.

        Args:
            agents: Their numbers, (K,) int64, ascending.
            rngs: The generator of each one's episode; see `BaseEnv.reset`.
            options: As of `BaseEnv.reset`.

        Returns:
            Their observations, (K, ...) in each leaf of the space; or a tuple of these and a dict of arrays (K, ...), the
            infos.
        """
        raise NotImplementedError(f"{type(self).__name__} has no reset(agents, rngs, options), which begins episodes.")

    def step(self, actions: Any, active: np.ndarray) -> tuple:
        """Acts, plays the frames of one step, and looks at what came of it.

        Args:
            actions: A batch of values of `action_space`: (M, ...) in each leaf, M = `num_agents`.
            active: (M,) bool: whose actions count. The others are between two episodes, and what is returned for them is
                ignored.

        Returns:
            observations (M, ...), rewards (M,), terminated (M,), truncated (M,), and, if there is anything to say, a
            dict of arrays (M, ...), the infos.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step(actions, active), which plays one step.")

    def render(self) -> np.ndarray:
        """As `BaseEnv.render`: one picture of the scene with all agents."""
        if self._renderer is None:
            self._renderer = OffScreenRenderer(mode="rgb")
        return self._renderer.render()

    def close(self) -> None:
        """Lets go of what the environment holds; called once, at the end."""
