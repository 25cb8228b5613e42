"""A simulation that goes on at its frame rate whatever the agent does."""

import time

import numpy as np

from .episodes import Autoreset, Episodes, Infos, StepInfos

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
        num_agents = episodes.num_agents
        # What has happened since the last answer; whose end the client was told; who begins in the step under way.
        self._rewards = np.zeros(num_agents)
        self._terminated, self._truncated = np.zeros(num_agents, np.bool_), np.zeros(num_agents, np.bool_)
        self._infos: Infos = None
        self._told, self._starting = np.zeros(num_agents, np.bool_), np.zeros(num_agents, np.bool_)
        self._missed = 0
        self._said: StepInfos | None = None  # while a step of the client is under way
        self.begin(np.arange(num_agents))

    @property
    def due_s(self) -> float | None:
        """How many seconds it is until the next step of the simulation; None while somebody has begun no episode."""
        return max(0.0, self._next_at - time.perf_counter()) if self._episodes.begun.all() else None

    def begin(self, agents: np.ndarray) -> None:
        """Notes that these agents have begun an episode on the client's word; starts the clock, if all have."""
        for place in (self._rewards, self._terminated, self._truncated, self._told):
            place[agents] = 0
        self._answered_at = time.perf_counter()
        if len(agents) == self._episodes.num_agents:
            self._next_at = self._answered_at + self._period_s
            self._infos, self._missed = None, 0

    def act(self) -> None:
        """Has the client's actions, which are in the arrays of the episodes, take part from the next step on."""
        episodes, self._said = self._episodes, StepInfos()
        over = episodes.done & self._told
        if episodes.autoreset == Autoreset.NEXT_STEP and over.any():
            self._starting[:] = over
            self._told[:] = False
            episodes.begin_next(self._said, np.flatnonzero(over))

    def tick(self) -> StepInfos | None:
        """Plays the step that is due.

        Returns:
            What the client, if it waits, is to be answered besides the arrays: with `lag_steps`, how many steps were
            simulated with its earlier actions since it was answered, and `lag_s`, how old, in seconds, what it had observed
            was when this step began.
        """
        episodes, arrays, began_at = self._episodes, self._episodes.arrays, time.perf_counter()
        active = episodes.begun & ~episodes.done & ~self._starting
        self._keep(episodes.play(active), active)
        self._rewards += arrays.rewards
        self._terminated |= arrays.terminated
        self._truncated |= arrays.truncated
        self._next_at = max(self._next_at + self._period_s, began_at - _MOST_BEHIND_S)
        said = self._said
        if said is None:
            self._missed += bool(active.any())
            return None
        lag = {"lag_steps": self._missed, "lag_s": began_at - self._answered_at}
        if isinstance(self._infos, list):
            said.infos = [{**info, **lag} for info in self._infos]
        else:
            of_all = {name: np.full(episodes.num_agents, value) for name, value in lag.items()}
            said.infos = {**(self._infos or {}), **of_all}
        arrays.rewards[:], arrays.terminated[:], arrays.truncated[:] = self._rewards, self._terminated, self._truncated
        self._told |= self._terminated | self._truncated
        if episodes.autoreset == Autoreset.SAME_STEP and episodes.done.any():
            episodes.begin_next(said, np.flatnonzero(episodes.done))
            self._told[:] = False
        for place in (self._rewards, self._terminated, self._truncated, self._starting):
            place[:] = 0
        self._answered_at, self._said, self._infos, self._missed = time.perf_counter(), None, None, 0
        return said

    def _keep(self, infos: Infos, active: np.ndarray) -> None:
        """Notes what the environment has said; of agents that do not act any more what it said when they did."""
        if not active.any():
            return
        kept = self._infos
        if isinstance(infos, dict) and isinstance(kept, dict):
            for name, values in infos.items():
                if name in kept and not active.all():
                    array = np.array(values)
                    array[~active] = np.asarray(kept[name])[~active]
                    infos[name] = array
        self._infos = infos
