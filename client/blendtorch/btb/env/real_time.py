"""A simulation that goes on at its frame rate whatever the agent does."""

import time

import numpy as np

from .episodes import Autoreset, Episodes, StepInfos

# A simulation that cannot keep up is not made to catch up on more than this.
_MOST_BEHIND_S = 0.5


class RealTime:
    """Steps an environment by the clock, with the actions that came last.

    A step of the client is answered by the first step of the simulation that its actions take part in. What has happened
    since the last answer is in it: rewards are summed up, and an episode that has ended meanwhile is over. Whose episode is
    over does not act any more until the next one begins.

    Args:
        episodes: The episodes.
        period_s: How long a step is, in seconds.
    """

    def __init__(self, episodes: Episodes, period_s: float) -> None:
        self._episodes = episodes
        self._period_s = period_s
        self.begin()

    @property
    def due_s(self) -> float | None:
        """How many seconds it is until the next step of the simulation; None while nobody has begun an episode."""
        return max(0.0, self._next_at - time.perf_counter()) if self._episodes.begun.all() else None

    def begin(self) -> None:
        """Starts the clock: episodes have begun on the client's word."""
        self._answered_at = time.perf_counter()
        self._next_at = self._answered_at + self._period_s
        self._said: StepInfos | None = None
        self._clear()

    def act(self) -> None:
        """Has the client's actions, which are in the arrays of the episodes, take part from the next step on."""
        episodes, self._said = self._episodes, StepInfos()
        if episodes.autoreset == Autoreset.NEXT_STEP and episodes.done.any():
            self._starting[:] = episodes.done
            episodes.begin_next(self._said)

    def tick(self) -> StepInfos | None:
        """Plays the step that is due.

        Returns:
            What the client, if it waits, is to be answered besides the arrays: with `lag_steps`, how many steps were
                simulated with its earlier actions since it was answered, and `lag_s`, how old, in seconds, what it had
                observed was when this step began.
        """
        episodes, arrays, began_at = self._episodes, self._episodes.arrays, time.perf_counter()
        active = episodes.begun & ~episodes.done & ~self._starting
        infos = episodes.play(active)
        self._rewards += arrays.rewards
        self._terminated |= arrays.terminated
        self._truncated |= arrays.truncated
        self._next_at = max(self._next_at + self._period_s, began_at - _MOST_BEHIND_S)
        said = self._said
        if said is None:
            self._missed += bool(active.any())
            return None
        lag = {"lag_steps": self._missed, "lag_s": began_at - self._answered_at}
        if isinstance(infos, list):
            said.infos = [{**info, **lag} for info in infos]
        else:
            said.infos = {**(infos or {}), **{name: np.full(episodes.num_agents, value) for name, value in lag.items()}}
        arrays.rewards[:], arrays.terminated[:], arrays.truncated[:] = self._rewards, self._terminated, self._truncated
        if episodes.autoreset == Autoreset.SAME_STEP and episodes.done.any():
            episodes.begin_next(said)
        self._answered_at, self._said = time.perf_counter(), None
        self._clear()
        return said

    def _clear(self) -> None:
        num_agents = self._episodes.num_agents
        self._missed = 0
        self._starting = np.zeros(num_agents, np.bool_)
        self._rewards = np.zeros(num_agents)
        self._terminated = np.zeros(num_agents, np.bool_)
        self._truncated = np.zeros(num_agents, np.bool_)
