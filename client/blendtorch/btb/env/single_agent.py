"""An environment with one agent, as one of many agents with a single one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...wire.spaces import flatten, short, unflatten
from .base_env import BaseEnv
from .base_vector_env import BaseVectorEnv
from .results import has_info, name_of, parts_of


class SingleAgent(BaseVectorEnv):
    """Passes on to a `BaseEnv`.

    Args:
        env: The environment.
    """

    num_agents = 1

    def __init__(self, env: BaseEnv) -> None:
        self._single = env
        self.observation_space = getattr(env, "observation_space", None)  # type: ignore[assignment]
        self.action_space = getattr(env, "action_space", None)  # type: ignore[assignment]
        self.max_episode_steps = env.max_episode_steps
        self.frames_per_step = env.frames_per_step
        self.metadata = env.metadata

    def reset(self, agents: np.ndarray, rngs: Sequence[np.random.Generator], options: dict[str, Any]) -> Any:
        """Begins an episode; the infos are a list of one dict."""
        found = self._single.reset(rngs[0], options)
        observation, info = found if has_info(self.observation_space, found) else (found, {})
        return self._batch(observation), [info]

    def step(self, actions: Any, active: np.ndarray) -> tuple:
        """Plays one step; the infos are a list of one dict."""
        action = unflatten(self.action_space, [leaf[0] for leaf in flatten(self.action_space, actions)])
        expected = "observation, reward, terminated, truncated, and, if you like, an info dict"
        result = parts_of(self._single.step(action), name_of(self), expected)
        observation, reward, terminated, truncated, *info = result
        return self._batch(observation), [reward], [terminated], [truncated], info or None

    def render(self) -> np.ndarray:
        """The environment's picture."""
        return self._single.render()

    def close(self) -> None:
        """Closes the environment."""
        self._single.close()

    def _batch(self, observation: Any) -> Any:
        try:
            found = flatten(self.observation_space, observation)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{name_of(self)} returned the observation {short(observation)}, which is not composed as "
                f"observation_space is: {error}."
            ) from None
        return unflatten(self.observation_space, [np.asarray(leaf)[None] for leaf in found])
