"""The adapter to Stable-Baselines3, apart, for importing it imports that."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.vec_env import VecEnv

from .blender_vector_env import BlenderVectorEnv
from .infos import own_info


class SB3VecEnv(VecEnv):
    """See `btt.env.to_sb3`.

    Args:
        env: A vector environment whose episodes begin in the step in which others end.
    """

    def __init__(self, env: BlenderVectorEnv) -> None:
        self.env = env
        self.render_mode = env.render_mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = env.metadata

    def reset(self) -> Any:
        """Begins an episode of all environments; with the seeds that `seed` was given, if it was called."""
        given = any(seed is not None for seed in self._seeds)
        options = next((option for option in self._options if option), None)
        observations, infos = self.env.reset(seed=list(self._seeds) if given else None, options=options)
        self.reset_infos = self._rows(infos)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Sends the actions, in the dtype of the action space: the algorithms have floats for bits, too.

        What scaling has put a rounding error outside of a Box is clipped.
        """
        space = self.action_space
        if space.dtype is not None:
            actions = np.asarray(actions).astype(space.dtype)
        if isinstance(space, Box):
            actions = np.clip(actions, space.low, space.high)
        self.env.step_async(actions)

    def step_wait(self) -> Any:
        """Waits for observations, rewards (float32), dones, and a list of infos."""
        observations, rewards, terminated, truncated, vector_infos = self.env.step_wait()
        dones = terminated | truncated
        final_obs, final_info = vector_infos.pop("final_obs", None), vector_infos.pop("final_info", {})
        for name in ("_final_obs", "_final_info"):
            vector_infos.pop(name, None)
        infos = self._rows(vector_infos)
        for k in np.flatnonzero(dones).tolist():
            self.reset_infos[k] = infos[k]
            infos[k] = {
                **own_info(final_info, k),
                "TimeLimit.truncated": bool(truncated[k] and not terminated[k]),
                "terminal_observation": final_obs[k],
            }
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """The pictures of the Blenders."""
        return self.env.render() or []

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environment, which all have in common."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not possible: the environments are in Blender."""
        raise AttributeError(
            f"cannot set {attr_name!r}: the environments are in Blender. Use env_options= or reset options."
        )

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Not possible: the environments are in Blender."""
        raise AttributeError(f"cannot call {method_name!r}: the environments are in Blender.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No environment is wrapped."""
        return [False for _ in self._get_indices(indices)]

    def _rows(self, vector_infos: dict[str, Any]) -> list[dict[str, Any]]:
        if not vector_infos:
            return [{} for _ in range(self.num_envs)]
        return [own_info(vector_infos, k) for k in range(self.num_envs)]
