"""One Blender as a Gymnasium environment."""

import os
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

from ...errors import ConfigError, PeerTimeout, ScriptError
from ...wire.curve import CurveKeys
from ...wire.spaces import flatten
from .blenders import DEFAULT_TIMEOUT_S, Blenders, Gone
from .connection import Description
from .gym_spaces import check_action, to_gymnasium, value_at
from .infos import Infos, row_of
from .pace import Pace
from .seeds import Seeds

RENDER_MODES = ("human", "rgb_array")


class BlenderEnv(gymnasium.Env):
    """A Blender that runs a `btb.env.BaseEnv` as a `gymnasium.Env`.

    ```
    with btt.env.BlenderEnv(script="cartpole.blend.py") as env:
        observation, info = env.reset(seed=1)
        while True:
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, info = env.reset()
    ```

    Simulation time stands still between two steps, unless `real_time`. When Blender crashes or hangs, the step is
    truncated with `info["restarted"]`, and the next `reset` waits for a new one.

    Args:
        scene: The .blend to open; None for Blender's default scene.
        script: The script to run inside Blender; it ends with `btb.env.run(...)`.
        render_mode: None; "rgb_array": `render` returns a picture; or "human": Blender opens a window, and steps are not
            faster than `metadata["render_fps"]`.
        env_options: Keyword arguments for the environment's class, as far as JSON can say them.
        real_time: True has the simulation go on at its frame rate whatever the agent does, and `info` carry `lag_steps` and
            `lag_s`; None leaves it to the script.
        timeout_s: How many seconds an answer may take; None for any. A Blender that takes longer is taken to hang.
        address: Where an environment is served that runs already, such as "tcp://127.0.0.1:11000"; none is launched then.
        curve: The keys of the launch at `address`, where it has some.
        **launch_options: More for `BlenderLauncher`, such as `blend_path`.

    Raises:
        ConfigError: Arguments contradict each other, or the script serves several agents.
        As entering a `BlenderLauncher`.
        PeerTimeout: Nobody answers at `address`.

    Attributes:
        launcher: What has launched Blender; None where it runs already.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 24}  # noqa: RUF012

    def __init__(
        self,
        scene: str | os.PathLike | None = None,
        script: str | os.PathLike | None = None,
        *,
        render_mode: str | None = None,
        env_options: Mapping[str, Any] | None = None,
        real_time: bool | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        address: str | None = None,
        curve: CurveKeys | None = None,
        **launch_options: Any,
    ) -> None:
        self._blenders: Blenders | None = None
        check_render_mode(render_mode)
        self.render_mode = render_mode
        if address is None:
            launch_options.setdefault("background", render_mode != "human")
        self._timeout_s = timeout_s
        self._blenders = blenders = Blenders(
            scene,
            script,
            1,
            address=address,
            env_options=env_options,
            autoreset="Disabled",
            real_time=real_time,
            timeout_s=timeout_s,
            curve=curve,
            launch_options=launch_options,
        )
        self.launcher = blenders.launcher
        found = blenders.connections[0].description
        if found.num_agents != 1:
            self.close()
            raise ConfigError(f"the script serves {found.num_agents} agents, expected 1: use BlenderVectorEnv.")
        self._observation_leaves, self._action_leaves = found.observation_space, found.action_space
        self.observation_space = to_gymnasium(found.observation_space)
        self.action_space = to_gymnasium(found.action_space)
        self.metadata = {**type(self).metadata, **found.metadata}
        self._pace = pace_of(render_mode, found)
        self._seeds = Seeds(1)
        self._acts = False  # whether an episode has begun and is not over
        self._cut_off = False  # whether the episode was lost outside of a step
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode.

        Args:
            seed: Begins a new sequence of episodes, the same for the same seed; None goes on with the one there is.
            options: For the environment's `reset`.

        Returns:
            The first observation, and the info.

        Raises:
            ScriptError: The environment raised; the message carries its traceback.
            InstanceError: Blender has crashed, and could not be started again.
            gymnasium.error.ClosedEnvironmentError: The environment was closed.
        """
        super().reset(seed=seed)
        blenders = self._open_blenders()
        self._seeds.set(seed, [0])
        restarted = False
        while True:
            try:
                if blenders.is_gone(0):
                    restarted = True
                    blenders.reopen(0)
                observations, infos = self._reset_once(blenders, options)
                break
            except Gone:
                continue
        self._seeds.begun([0])
        self._acts, self._cut_off = True, False
        self._observation = self._first(observations)
        info = row_of(infos, 0)
        return self._observation, {**info, "restarted": True} if restarted else info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays one step.

        Args:
            action: In `action_space`.

        Returns:
            observation, reward, terminated, truncated, info. When Blender has crashed or hangs: the last observation,
            0.0, False, True, and an info with `restarted`.

        Raises:
            gymnasium.error.InvalidAction: The action is not in `action_space`; it has not reached Blender.
            gymnasium.error.ResetNeeded: No episode has begun, or the last one is over.
            ScriptError, ClosedEnvironmentError: As `reset`.
        """
        blenders = self._open_blenders()
        if not self._acts:
            raise ResetNeeded(
                "no episode has begun, or the last one is over: call env.reset() before env.step(action)."
            )
        if self._cut_off:
            return self._lose()
        if self._pace is not None:
            self._pace.keep()
        connection = blenders.connections[0]
        leaves = flatten(self._action_leaves, check_action(self.action_space, action))
        for place, leaf in zip(connection.arrays.actions, leaves, strict=True):
            place[0] = leaf
        try:
            connection.begin_step(self._timeout_s)
            said = connection.end_step(self._timeout_s)
        except Gone:
            return self._lose()
        except PeerTimeout as error:
            self._acts = False
            blenders.hangs(0, error)
            return self._lose()
        except BaseException:  # Ctrl-C, too
            self._acts = False  # nobody knows in what state the scene is
            raise
        arrays = connection.arrays
        self._observation = self._first(arrays.observations)
        terminated, truncated = bool(arrays.terminated[0]), bool(arrays.truncated[0])
        self._acts = not (terminated or truncated)
        return self._observation, float(arrays.rewards[0]), terminated, truncated, row_of(said.get("infos"), 0)

    def render(self) -> np.ndarray | None:
        """The environment's picture, H x W x 3 uint8, in render mode "rgb_array"; otherwise None.

        Raises:
            PeerTimeout: An environment at `address` does not answer.
            gymnasium.error.ClosedEnvironmentError, ScriptError: As `reset`.
        """
        blenders = self._open_blenders()
        if self.render_mode != "rgb_array":
            if self.render_mode is None:
                gymnasium.logger.warn(
                    'render() was called without a render mode: make the environment with "rgb_array".'
                )
            return None
        while True:
            try:
                if blenders.is_gone(0):
                    self._cut_off = self._acts  # which the next step will say
                    blenders.reopen(0)
                return blenders.connections[0].render(self._timeout_s)
            except Gone:
                continue
            except PeerTimeout as error:
                blenders.hangs(0, error)
            except ScriptError:
                self._acts = False  # as after any call that fails
                raise

    def close(self) -> None:
        """Ends Blender. Nothing happens when that is done."""
        if self._blenders is not None:
            self._blenders.close()
            self._blenders = None

    def _open_blenders(self) -> Blenders:
        if self._blenders is None:
            raise ClosedEnvironmentError("the environment was closed.")
        return self._blenders

    def _reset_once(self, blenders: Blenders, options: dict[str, Any] | None) -> tuple[list[np.ndarray], Infos]:
        seeds, episodes = self._seeds.next([0])
        self._acts = False
        try:
            connection = blenders.connections[0]
            connection.begin_reset(np.zeros(1, np.int64), seeds, episodes, options, self._timeout_s)
            return connection.end_reset(1, self._timeout_s)
        except PeerTimeout as error:
            blenders.hangs(0, error)
            raise Gone(str(error)) from error

    def _lose(self) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._acts = False
        return self._observation, 0.0, False, True, {"restarted": True}

    def _first(self, leaves: list[np.ndarray]) -> Any:
        return value_at(self._observation_leaves, leaves, 0)


def check_render_mode(render_mode: str | None) -> None:
    """Checks the mode.

    Raises:
        ConfigError: It is none.
    """
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise ConfigError(f"render_mode is {render_mode!r}, expected None or one of {list(RENDER_MODES)}.")


def pace_of(render_mode: str | None, found: Description) -> Pace | None:
    """How fast steps may be for people who look on; in real time the simulation itself keeps the pace."""
    rate = found.metadata.get("render_fps")
    if render_mode != "human" or found.real_time or not isinstance(rate, int | float) or not rate > 0:
        return None
    return Pace(rate)
