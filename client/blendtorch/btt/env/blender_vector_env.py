"""Many Blenders with many agents each, as a Gymnasium vector environment."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...errors import BlendTorchError, ConfigError, PeerTimeout, ScriptError
from ...wire.curve import CurveKeys
from ...wire.spaces import flatten, leaves, unflatten
from .blender_env import RENDER_MODES, check_render_mode, pace_of
from .blenders import DEFAULT_TIMEOUT_S, Blenders, Gone
from .gym_spaces import check_action, to_gymnasium, value_at
from .infos import VectorInfos, row_of
from .seeds import Seeds


class BlenderVectorEnv(VectorEnv):
    """N Blenders with M agents each as a `gymnasium.vector.VectorEnv` of N x M environments, all stepped at once.

    Environment k is agent k % M of Blender k // M. When a Blender crashes or hangs, its agents are truncated with
    `infos["restarted"]`, and go on in a new one; the others notice nothing.

    Args:
        scene: The .blend to open; None for Blender's default scene.
        script: The script to run inside each Blender; it ends with `btb.env.run(...)`.
        num_envs: How many environments there are, N x M.
        num_instances: How many Blenders there are, N. Where M is more than 1, the environment's class is called with
            `num_agents=M`.
        render_mode: As of `BlenderEnv`.
        autoreset_mode: When an environment whose episode is over begins the next one, see Gymnasium's `AutoresetMode`. With
            DISABLED, by `reset(options={"reset_mask": mask})`.
        env_options, real_time, timeout_s: As of `BlenderEnv`.
        address: Where environments are served that run already, one for each Blender; none are launched then.
        curve: The keys of the launch at `address`, where it has some.
        copy: False returns observations in arrays that the next step writes to.
        **launch_options: More for `BlenderLauncher`.

    Raises:
        ConfigError: Arguments contradict each other, or what the scripts serve.
        As entering a `BlenderLauncher`.
        PeerTimeout: Nobody answers at `address`.

    Attributes:
        launcher: What has launched the Blenders; None where they run already.
        num_instances: How many there are.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES)}  # noqa: RUF012

    def __init__(
        self,
        scene: str | os.PathLike | None = None,
        script: str | os.PathLike | None = None,
        num_envs: int = 1,
        num_instances: int = 1,
        *,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        env_options: Mapping[str, Any] | None = None,
        real_time: bool | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        address: str | Sequence[str] | None = None,
        curve: CurveKeys | None = None,
        copy: bool = True,
        **launch_options: Any,
    ) -> None:
        self._blenders: Blenders | None = None
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        if address is not None and not isinstance(address, str):
            num_instances = len(address)
        num_agents, rest = divmod(num_envs, num_instances)
        if num_agents < 1 or rest:
            raise ConfigError(
                f"num_envs is {num_envs} and num_instances {num_instances}, expected a multiple: each Blender has as many "
                "agents as the others."
            )
        if address is None:
            launch_options.setdefault("background", render_mode != "human")
            if num_agents > 1:
                env_options = {"num_agents": num_agents, **(env_options or {})}
        self._timeout_s = timeout_s
        self._copy = copy
        self._blenders = blenders = Blenders(
            scene,
            script,
            num_instances,
            address=address,
            env_options=env_options,
            autoreset=self.autoreset_mode.value,
            real_time=real_time,
            timeout_s=timeout_s,
            curve=curve,
            launch_options=launch_options,
        )
        self.launcher = blenders.launcher
        self.num_instances = num_instances
        found = blenders.connections[0].description
        self._description = found
        try:
            self._check_all_alike(num_agents)
        except ConfigError:
            self.close()
            raise
        self.num_envs = num_envs
        self._num_agents = num_agents
        self.single_observation_space = to_gymnasium(found.observation_space)
        self.single_action_space = to_gymnasium(found.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {**type(self).metadata, **found.metadata, "autoreset_mode": self.autoreset_mode}
        self._pace = pace_of(render_mode, found)
        self._seeds = Seeds(num_envs)
        self._observations = [
            np.zeros((num_envs, *leaf.shape), leaf.dtype) for _, leaf in leaves(found.observation_space)
        ]
        self._rewards = np.zeros(num_envs)
        self._terminated = np.zeros(num_envs, np.bool_)
        self._truncated = np.zeros(num_envs, np.bool_)
        self._begun = np.zeros(num_envs, np.bool_)
        self._over = np.zeros(num_envs, np.bool_)
        self._rows = np.arange(num_agents)
        self._lost = [False] * num_instances  # in whose Blender nobody has begun an episode, for it is a new one
        self._cut_off = [False] * num_instances  # likewise, and no step has said so yet
        # While a step is under way: what each Blender was asked, or why it could not be.
        self._pending: list[str | BlendTorchError] | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode of all environments, or of those of a mask.

        Args:
            seed: Environment k has the seed `seed + k`, or the k-th of several; None goes on with the episodes there are.
            options: For the environments' `reset`. "reset_mask", a bool array (num_envs,), says which environments.

        Returns:
            The observations of all environments, and the infos of those that begin.

        Raises:
            AlreadyPendingCallError: A step is under way.
            ScriptError: An environment raised; the message carries its traceback.
            InstanceError: A Blender has crashed, and could not be started again.
            ClosedEnvironmentError: The environment was closed.
        """
        self._open_blenders()
        if self._pending is not None:
            raise AlreadyPendingCallError("a step is under way: call step_wait() before reset().", "step")
        super().reset(seed=seed if isinstance(seed, int) else None)
        options = dict(options or {})
        mask = _checked_mask(options.pop("reset_mask", None), self.num_envs)
        self._seeds.set(seed, np.flatnonzero(mask))
        infos = VectorInfos(self.num_envs)
        rows = {btid: np.flatnonzero(mask[self._slice(btid)]) for btid in range(self.num_instances)}
        rows = {btid: own for btid, own in rows.items() if len(own)}
        # All at once; what goes wrong with one is no reason not to wait for the others.
        asked = {btid: self._ask_to_begin(btid, own, options) for btid, own in rows.items()}
        failure: BlendTorchError | None = None
        for btid, own in rows.items():
            try:
                if self._begin(btid, own, options, infos, asked[btid]):
                    for agent in (own + btid * self._num_agents).tolist():
                        infos.add({"restarted": True}, agent)
            except BlendTorchError as error:
                self._begun[self._slice(btid)] = False  # nobody knows in what state its scene is
                failure = failure or error
        if failure is not None:
            raise failure
        return self._batch(), infos.infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Plays one step of all environments, see `step_async` and `step_wait`."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: Any) -> None:
        """Sends the actions to all Blenders.

        Args:
            actions: In `action_space`.

        Raises:
            gymnasium.error.InvalidAction: They are not; nothing has reached Blender.
            gymnasium.error.ResetNeeded: An environment has begun no episode, or its last one is over and nobody begins the
                next one for it.
            AlreadyPendingCallError, ClosedEnvironmentError: As `reset`.
        """
        blenders = self._open_blenders()
        if self._pending is not None:
            raise AlreadyPendingCallError("a step is under way: call step_wait() before step_async().", "step")
        needed = ~self._begun
        if self.autoreset_mode == AutoresetMode.DISABLED:
            needed |= self._over
        if needed.any():
            names = np.flatnonzero(needed).tolist()
            raise ResetNeeded(f"environments {names} have no episode that goes on: call reset() before step().")
        found = flatten(self._description.action_space, check_action(self.action_space, actions, "actions"))
        if self._pace is not None:
            self._pace.keep()
        pending: list[str | BlendTorchError] = []
        for btid, connection in enumerate(blenders.connections):
            pending.append("nothing")
            if self._lost[btid]:
                continue
            if self._cut_off[btid]:
                pending[-1] = Gone()
                continue
            for place, leaf in zip(connection.arrays.actions, found, strict=True):
                np.copyto(place, leaf[self._slice(btid)])
            try:
                connection.begin_step(self._timeout_s)
                pending[-1] = "step"
            except BlendTorchError as error:
                pending[-1] = error  # for `step_wait`, which waits for the others first
        self._pending = pending

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Waits for what comes of the actions.

        Returns:
            observations, rewards (num_envs,) float64, terminated and truncated (num_envs,) bool, infos.

        Raises:
            NoAsyncCallError: There are none under way.
            ScriptError, InstanceError, ClosedEnvironmentError: As `reset`. All Blenders have been waited for then.
        """
        self._open_blenders()
        if self._pending is None:
            raise NoAsyncCallError("no step is under way: call step_async() before step_wait().", "step")
        pending, self._pending = self._pending, None
        self._rewards[:], self._terminated[:], self._truncated[:] = 0, False, False
        infos = VectorInfos(self.num_envs)
        failure: BlendTorchError | None = None
        for btid, asked in enumerate(pending):
            try:
                self._finish(btid, asked, infos)
            except BlendTorchError as error:
                self._begun[self._slice(btid)] = False  # nobody knows in what state its scene is
                failure = failure or error
            except BaseException:  # Ctrl-C, for example
                self._begun[:] = False
                raise
        self._over = self._terminated | self._truncated
        if failure is not None:
            raise failure
        return self._batch(), self._rewards.copy(), self._terminated.copy(), self._truncated.copy(), infos.infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Pictures of all environments, H x W x 3 uint8, in render mode "rgb_array"; otherwise None.

        Agents of one Blender are in one picture, which is then there for each of them.

        Raises:
            PeerTimeout: An environment at `address` does not answer.
            ClosedEnvironmentError, AlreadyPendingCallError, ScriptError, InstanceError: As `reset`.
        """
        blenders = self._open_blenders()
        if self._pending is not None:
            raise AlreadyPendingCallError("a step is under way: call step_wait() before render().", "step")
        if self.render_mode != "rgb_array":
            if self.render_mode is None:
                gymnasium.logger.warn(
                    'render() was called without a render mode: make the environment with "rgb_array".'
                )
            return None
        pictures: list[np.ndarray] = []
        for btid in range(self.num_instances):
            while True:
                try:
                    if blenders.is_gone(btid):
                        # Its episodes have been cut off, which the next step will say, unless it is known.
                        self._cut_off[btid] = not self._lost[btid]
                        blenders.reopen(btid)
                    pictures += [blenders.connections[btid].render(self._timeout_s)] * self._num_agents
                    break
                except Gone:
                    continue
                except PeerTimeout as error:
                    blenders.hangs(btid, error)
                except ScriptError:
                    self._begun[self._slice(btid)] = False  # as after any call that fails
                    raise
        return tuple(pictures)

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the Blenders, also while a step is under way."""
        self._pending = None
        if self._blenders is not None:
            self._blenders.close()
            self._blenders = None

    def __enter__(self) -> "BlenderVectorEnv":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _finish(self, btid: int, asked: str | BlendTorchError, infos: VectorInfos) -> None:
        """Takes what comes of a step of one Blender."""
        blenders, part, rows = self._open_blenders(), self._slice(btid), self._rows
        if asked == "nothing":  # it was lost in an earlier step, which has ended its episodes
            self._begin(btid, rows, {}, infos)
            return
        connection = blenders.connections[btid]
        try:
            if isinstance(asked, BlendTorchError):
                raise asked
            said = connection.end_step(self._timeout_s)
        except Gone:
            self._lose(btid, infos)
            return
        except PeerTimeout as error:
            blenders.hangs(btid, error)
            self._lose(btid, infos)
            return
        arrays = connection.arrays
        for into, of in zip(self._observations, arrays.observations, strict=True):
            into[part] = of
        self._rewards[part], self._terminated[part] = arrays.rewards, arrays.terminated
        self._truncated[part] = arrays.truncated
        begun = said.get("begun")
        if begun is None:
            if said.get("infos"):
                infos.add_rows(said["infos"], rows + btid * self._num_agents, rows)
            return
        self._seeds.begun(begun + btid * self._num_agents)
        going_on = np.setdiff1d(rows, begun)
        infos.add_rows(said.get("infos"), going_on + btid * self._num_agents, going_on)
        infos.add_rows(said.get("begun_infos"), begun + btid * self._num_agents, np.arange(len(begun)))
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            for row in begun.tolist():
                final = value_at(self._description.observation_space, arrays.final_observations, row)
                infos.add_final(final, row_of(said.get("infos"), row), row + part.start)

    def _lose(self, btid: int, infos: VectorInfos) -> None:
        """Cuts off the episodes of a Blender that is gone."""
        part = self._slice(btid)
        self._lost[btid] = True
        self._truncated[part] = self._begun[part]
        for agent in range(part.start, part.stop):
            infos.add({"restarted": True}, agent)
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            for agent in range(part.start, part.stop):
                final = value_at(self._description.observation_space, self._observations, agent)
                infos.add_final(final, {"restarted": True}, agent)
            self._begin(btid, self._rows, {}, infos)

    def _ask_to_begin(self, btid: int, rows: np.ndarray, options: dict[str, Any]) -> bool:
        """Asks one Blender to have agents begin their next episode; whether it could be asked."""
        blenders = self._open_blenders()
        if blenders.is_gone(btid):
            return False
        seeds, episodes = self._seeds.next((rows + btid * self._num_agents).tolist())
        try:
            blenders.connections[btid].begin_reset(rows, seeds, episodes, options, self._timeout_s)
        except Gone:
            return False
        except PeerTimeout as error:
            blenders.hangs(btid, error)
            return False
        return True

    def _begin(
        self, btid: int, rows: np.ndarray, options: dict[str, Any], infos: VectorInfos, asked: bool = False
    ) -> bool:
        """Has agents of one Blender begin their next episode; connects to it again where that is needed.

        Args:
            btid: Which Blender.
            rows: Which of its agents.
            options: For the environment.
            infos: Where its infos are added.
            asked: Whether it was asked already.

        Returns:
            Whether it was connected to again.
        """
        blenders, agents = self._open_blenders(), rows + btid * self._num_agents
        restarted = False
        if self._lost[btid] or self._cut_off[btid]:
            self._begun[self._slice(btid)] = False
        while True:
            try:
                if not asked and blenders.is_gone(btid):
                    self._begun[self._slice(btid)] = False
                    blenders.reopen(btid)
                    restarted = True
                asked = asked or self._ask_to_begin(btid, rows, options)
                if asked:
                    asked = False
                    observations, said = blenders.connections[btid].end_reset(len(rows), self._timeout_s)
                    break
            except Gone:
                continue
            except PeerTimeout as error:
                blenders.hangs(btid, error)
        self._lost[btid] = self._cut_off[btid] = False
        for into, of in zip(self._observations, observations, strict=True):
            into[agents] = of
        infos.add_rows(said, agents, np.arange(len(rows)))
        self._seeds.begun(agents)
        self._begun[agents], self._over[agents] = True, False
        return restarted

    def _slice(self, btid: int) -> slice:
        return slice(btid * self._num_agents, (btid + 1) * self._num_agents)

    def _batch(self) -> Any:
        arrays = [leaf.copy() for leaf in self._observations] if self._copy else self._observations
        return unflatten(self._description.observation_space, arrays)

    def _check_all_alike(self, num_agents: int) -> None:
        for connection in self._open_blenders().connections:
            found = connection.description
            if found.num_agents != num_agents:
                raise ConfigError(
                    f"Blender instance {connection.btid} serves {found.num_agents} agents, expected {num_agents} (num_envs "
                    "/ num_instances). A BaseEnv has one agent: give it as many instances as environments."
                )
            same = found.observation_space == self._description.observation_space
            if not same or found.action_space != self._description.action_space:
                raise ConfigError(f"Blender instance {connection.btid} has other spaces than instance 0: {found}.")

    def _open_blenders(self) -> Blenders:
        if self._blenders is None:
            raise ClosedEnvironmentError("the environment was closed.")
        return self._blenders


def _checked_mask(mask: Any, num_envs: int) -> np.ndarray:
    if mask is None:
        return np.ones(num_envs, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.shape != (num_envs,) or mask.dtype != np.bool_ or not mask.any():
        raise ConfigError(
            f"reset_mask is {mask!r}, expected a numpy array of bool, ({num_envs},), not all of them False."
        )
    return mask
