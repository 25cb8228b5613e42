"""The episodes of all agents of an environment: their seeds, when they begin, when they are cut off."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...wire.spaces import Leaf, check_space, flatten, leaves, unflatten
from ...wire.step_arrays import StepArrays
from ..sampling import sample_rng
from .base_vector_env import BaseVectorEnv
from .results import has_info, name_of, parts_of

# Of all agents a dict of arrays, as Gymnasium's vector environments have; of one agent a list of its dict.
Infos = dict[str, Any] | list[dict[str, Any]] | None


class Autoreset(StrEnum):
    """When an agent whose episode is over begins the next one; Gymnasium's `AutoresetMode`, by its values."""

    NEXT_STEP = "NextStep"
    SAME_STEP = "SameStep"
    DISABLED = "Disabled"


@dataclass
class StepInfos:
    """What a step has to say besides its arrays.

    Attributes:
        infos: Of the step.
        begun: The agents that have begun an episode within the step.
        begun_infos: What the environment said of these.
    """

    infos: Infos = None
    begun: np.ndarray | None = None
    begun_infos: Infos = None


class Episodes:
    """The episodes of all agents.

    Args:
        env: The environment.

    Raises:
        ConfigError: What it declares (spaces, `num_agents`, `max_episode_steps`) cannot be.

    Attributes:
        env: The environment.
        arrays: What the next step takes and gives.
        autoreset: When the next episode begins.
        begun: Which agents have ever begun an episode, (M,) bool.
        done: Whose episode is over and not followed by another yet, (M,) bool.
        steps: How many steps each agent's episode has had, (M,) int64.
        returns: The sum of the rewards of each agent's episode, (M,) float64.
        finished: How many episodes have come to their end since the client has opened the environment.
        last_return: The return of the last one of them; NaN before.
    """

    def __init__(self, env: BaseVectorEnv) -> None:
        self.env = env
        name = self._name = name_of(env)
        self._observation_space = check_space(getattr(env, "observation_space", None), f"{name}.observation_space")
        self._action_space = check_space(getattr(env, "action_space", None), f"{name}.action_space")
        self.num_agents = getattr(env, "num_agents", 0)
        if type(self.num_agents) is not int or self.num_agents < 1:
            raise ConfigError(f"{name}.num_agents is {self.num_agents!r}, expected a whole number of at least 1.")
        if env.max_episode_steps is not None and env.max_episode_steps < 1:
            raise ConfigError(f"{name}.max_episode_steps is {env.max_episode_steps}, expected at least 1, or None.")
        self.arrays = StepArrays.allocate(self._observation_space, self._action_space, self.num_agents)
        self._paths = [path for path, _ in leaves(self._observation_space)]
        self.autoreset = Autoreset.DISABLED
        self._seeds = [0] * self.num_agents
        self._numbers = [0] * self.num_agents
        self._all = np.ones(self.num_agents, np.bool_)
        self.count_anew()
        self.forget()

    def count_anew(self) -> None:
        """No episode has been finished yet: a client begins."""
        self.finished = 0
        self.last_return = float("nan")

    def forget(self) -> None:
        """Nobody has begun an episode, and nothing is over; those that were finished still count."""
        self.begun = np.zeros(self.num_agents, np.bool_)
        self.done = np.zeros(self.num_agents, np.bool_)
        self.steps = np.zeros(self.num_agents, np.int64)
        self.returns = np.zeros(self.num_agents)

    def reset(self, agents: np.ndarray, seeds: list[int], numbers: list[int], options: dict[str, Any]) -> Infos:
        """Begins given episodes; the observations are then in `arrays`.

        Args:
            agents: Which agents, ascending.
            seeds: The seed of each of them.
            numbers: The number of each one's episode: its generator is `sample_rng(seed, number)`.
            options: For the environment.

        Returns:
            What the environment has to say.
        """
        for agent, seed, number in zip(agents.tolist(), seeds, numbers, strict=True):
            self._seeds[agent], self._numbers[agent] = seed, number
        return self._begin(agents, options)

    def step(self) -> StepInfos:
        """Plays one step of all agents with the actions that are in `arrays`; what comes of it is there, too.

        Raises:
            ConfigError: An agent has begun no episode, or what the environment returns is not of its spaces.
        """
        said = StepInfos()
        waiting = self.done if self.autoreset == Autoreset.NEXT_STEP else None
        any_done = self.done.any()
        if not self.begun.all() or (waiting is None and any_done):
            raise ConfigError(f"agents {np.flatnonzero(~self.begun | self.done).tolist()} need a reset before a step.")
        if waiting is not None and any_done:
            active = ~waiting
            self.begin_next(said, np.flatnonzero(waiting))
            said.infos = self.play(active)
        else:
            said.infos = self.play()
            if self.autoreset == Autoreset.SAME_STEP and self.done.any():
                self.begin_next(said, np.flatnonzero(self.done))
        return said

    def begin_next(self, said: StepInfos, agents: np.ndarray) -> None:
        """Has agents whose episode is over begin the next one; what they have observed last is kept in `arrays`, too."""
        said.begun = agents
        for final, place in zip(self.arrays.final_observations, self.arrays.observations, strict=True):
            final[said.begun] = place[said.begun]
        said.begun_infos = self._begin(said.begun, {})

    def play(self, active: np.ndarray | None = None) -> Infos:
        """Plays one step.

        Args:
            active: Whose actions count, (M,) bool; None for everybody's. Of the others the observations stay as they are,
                and the rest is zeros. Where nobody is active, nothing is played.

        Returns:
            What the environment has to say.
        """
        arrays, env = self.arrays, self.env
        if active is not None and not active.any():
            arrays.rewards[:], arrays.terminated[:], arrays.truncated[:] = 0, False, False
            return None
        actions = unflatten(self._action_space, [leaf.copy() for leaf in arrays.actions])
        expected = "observations, rewards, terminated, truncated, and, if you like, infos"
        result = parts_of(env.step(actions, self._all if active is None else active), self._name, expected)
        self._write_observations(result[0], active)
        self._write(arrays.rewards, result[1], None, "rewards")
        self._write(arrays.terminated, result[2], None, "terminated")
        self._write(arrays.truncated, result[3], None, "truncated")
        if active is None:
            self.steps += 1
        else:
            for place in (arrays.rewards, arrays.terminated, arrays.truncated):
                place[~active] = 0
            self.steps += active
        self.returns += arrays.rewards
        self._judge()
        return result[4] if len(result) == 5 else None

    def _judge(self) -> None:
        """Cuts off episodes that have lasted too long, and notes which are over."""
        arrays, limit = self.arrays, self.env.max_episode_steps
        if limit is not None and (late := self.steps >= limit).any():
            # Whose episode is over already does not step; and one that has ended by itself was not cut off.
            arrays.truncated |= late & ~self.done & ~arrays.terminated
        over = arrays.terminated | arrays.truncated
        if over.any():
            self.finished += int(over.sum())
            self.last_return = float(self.returns[over][-1])
            self.done |= over

    def _begin(self, agents: np.ndarray, options: dict[str, Any]) -> Infos:
        rngs = [sample_rng(self._seeds[agent], self._numbers[agent]) for agent in agents.tolist()]
        found = self.env.reset(agents, rngs, options)
        observations, infos = found if has_info(self._observation_space, found) else (found, None)
        self._write_observations(observations, agents)
        for agent in agents.tolist():
            self._numbers[agent] += 1  # of the next one, if that begins by itself
        self.begun[agents], self.done[agents] = True, False
        self.steps[agents], self.returns[agents] = 0, 0
        return infos

    def _write_observations(self, value: Any, agents: np.ndarray | None) -> None:
        if isinstance(self._observation_space, Leaf):
            self._write(self.arrays.observations[0], value, agents, "an observation")
            return
        try:
            found = flatten(self._observation_space, value)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self._name} returned observations that are not composed as observation_space is: {error}."
            ) from None
        for place, part, path in zip(self.arrays.observations, found, self._paths, strict=True):
            self._write(place, part, agents, f"observation{path}")

    def _write(self, place: np.ndarray, value: Any, agents: np.ndarray | None, what: str) -> None:
        """Writes what the environment returned: of all agents (those of a mask are taken), or of the agents named."""
        array = np.asarray(value)
        if agents is None and array.dtype == place.dtype and array.shape == place.shape:
            place[...] = array
            return
        is_mask = agents is not None and agents.dtype == np.bool_
        rows = self.num_agents if agents is None or is_mask else len(agents)
        expected = (rows, *place.shape[1:])
        if array.shape != expected or not np.can_cast(array.dtype, place.dtype, "same_kind"):
            seen = f"shape {array.shape[1:]} and dtype {array.dtype}"
            if array.shape[:1] != (rows,):
                seen = f"{array.dtype} {array.shape}, in place of {rows} rows"
            raise ConfigError(
                f"{self._name} returned {what} of {seen}, expected shape {place.shape[1:]} and dtype {place.dtype}."
            )
        if agents is None:
            place[...] = array
        else:
            place[agents] = array[agents] if is_mask else array
