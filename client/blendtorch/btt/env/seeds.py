"""Which episode each agent is at: what its random numbers depend on."""

import operator
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import ConfigError


class Seeds:
    """The seed of each agent, and the number of its next episode.

    The random numbers of an episode are those of `btb.sample_rng(seed, number)`, so that a Blender that was started again
    goes on with the next episode, and not with the first one.

    Args:
        num_agents: How many there are, over all Blenders.
    """

    def __init__(self, num_agents: int) -> None:
        # Who never gives a seed gets another run each time.
        self._seeds = [secrets.randbits(31) for _ in range(num_agents)]
        self._numbers = np.zeros(num_agents, np.int64)

    def set(self, seed: int | Sequence[int | None] | None, agents: Iterable[int]) -> None:
        """Takes what `reset` was given: a number, from which each agent's is counted, or one for each agent.

        Raises:
            ConfigError: It is negative, of another length, or no whole number. Then no seed was taken.
        """
        count = len(self._seeds)
        if seed is None:
            return
        given: list[int | None]
        try:
            given = [operator.index(seed) + agent for agent in range(count)]  # type: ignore[arg-type]
        except TypeError:
            given = _as_list(seed)
        if len(given) != count:
            raise ConfigError(f"seed has {len(given)} numbers, expected one for each of the {count} environments.")
        wanted = {agent: number for agent in agents if (number := given[agent]) is not None}
        if wrong := [number for number in wanted.values() if number < 0]:
            raise ConfigError(f"seed is {wrong[0]}, expected 0 or more.")
        for agent, number in wanted.items():
            self._seeds[agent], self._numbers[agent] = number, 0

    def next(self, agents: Sequence[int]) -> tuple[list[int], list[int]]:
        """Seed and number of the next episode of some agents."""
        return [self._seeds[agent] for agent in agents], self._numbers[list(agents)].tolist()

    def begun(self, agents: Sequence[int] | np.ndarray) -> None:
        """Notes that these agents have begun their next episode."""
        self._numbers[agents] += 1


def _as_list(seed: Any) -> list[int | None]:
    try:
        return [None if number is None else operator.index(number) for number in seed]
    except TypeError:
        raise ConfigError(f"seed is {str(seed)[:200]}, expected a whole number, or one for each environment.") from None
