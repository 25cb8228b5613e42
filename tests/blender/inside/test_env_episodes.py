"""Episodes of all agents: seeds, limits, autoreset, and what an environment may return."""

import numpy as np
import pytest

from blendtorch import btb
from blendtorch.btb.env import spaces
from blendtorch.btb.env.episodes import Autoreset, Episodes
from blendtorch.btb.env.single_agent import SingleAgent
from blendtorch.errors import ConfigError


class Counting(btb.env.BaseVectorEnv):
    """Agent k counts, begins at 100 k, and is over after `lengths[k]` steps."""

    observation_space = spaces.Box(0, 1000, (1,), np.int64)
    action_space = spaces.Discrete(3)

    def __init__(self, lengths):
        self.lengths = np.array(lengths)
        self.num_agents = len(lengths)
        self.counts = np.zeros(self.num_agents, np.int64)
        self.draws, self.acted = [], []

    def reset(self, agents, rngs, options):
        self.counts[agents] = 0
        self.draws += [(int(agent), rng.integers(1 << 30)) for agent, rng in zip(agents, rngs, strict=True)]
        return self.look()[agents], {"begun": agents * 10}

    def step(self, actions, active):
        self.acted.append(active.tolist())
        self.counts += active
        return self.look(), actions * 1.0, self.counts >= self.lengths, np.zeros(self.num_agents, bool)

    def look(self):
        return (self.counts + 100 * np.arange(self.num_agents))[:, None]


def begun(env, autoreset):
    episodes = Episodes(env)
    episodes.autoreset = autoreset
    everyone = np.arange(env.num_agents)
    episodes.reset(everyone, [7] * env.num_agents, [0] * env.num_agents, {})
    episodes.arrays.actions[0][:] = 2
    return episodes


def observed(episodes):
    return episodes.arrays.observations[0][:, 0].tolist()


def test_the_next_step_begins_the_next_episode():
    env = Counting([2, 3])
    episodes = begun(env, Autoreset.NEXT_STEP)
    rows = []
    for _ in range(6):
        said = episodes.step()
        arrays = episodes.arrays
        rows.append((observed(episodes), arrays.terminated.tolist(), arrays.rewards.tolist()))
        if said.begun is not None:
            assert said.begun_infos["begun"].tolist() == [10 * agent for agent in said.begun]
    assert [row[0] for row in rows] == [[1, 101], [2, 102], [0, 103], [1, 100], [2, 101], [0, 102]]
    assert [row[1] for row in rows] == [
        [False, False],
        [True, False],
        [False, True],
        [False, False],
        [True, False],
        [False, False],
    ]
    assert rows[2][2] == [0, 2]
    assert env.acted[2:4] == [[False, True], [True, False]]
    assert episodes.finished == 3
    assert episodes.last_return == 4.0


def test_nothing_is_played_while_everyone_begins():
    env = Counting([1, 1])
    episodes = begun(env, Autoreset.NEXT_STEP)
    episodes.step()
    episodes.step()
    assert observed(episodes) == [0, 100]
    assert len(env.acted) == 1


def test_the_same_step_begins_the_next_episode():
    episodes = begun(Counting([2, 3]), Autoreset.SAME_STEP)
    episodes.step()
    said = episodes.step()
    assert said.begun.tolist() == [0]
    assert observed(episodes) == [0, 102]
    assert episodes.arrays.final_observations[0][0, 0] == 2
    assert episodes.arrays.terminated.tolist() == [True, False]
    said = episodes.step()
    assert (said.begun.tolist(), observed(episodes)) == ([1], [1, 100])


def test_without_autoreset_a_reset_is_needed():
    episodes = begun(Counting([1, 3]), Autoreset.DISABLED)
    episodes.step()
    with pytest.raises(ConfigError, match=r"\[0\] need a reset"):
        episodes.step()
    episodes.reset(np.array([0]), [9], [4], {})
    episodes.step()
    assert observed(episodes) == [1, 102]


def test_random_numbers_are_those_of_seed_and_number():
    env = Counting([1, 2])
    episodes = begun(env, Autoreset.SAME_STEP)
    episodes.step()
    episodes.step()
    episodes.reset(np.array([1]), [5], [3], {})
    expected = [(0, 7, 0), (1, 7, 0), (0, 7, 1), (0, 7, 2), (1, 7, 1), (1, 5, 3)]
    assert env.draws == [(agent, btb.sample_rng(*address).integers(1 << 30)) for agent, *address in expected]


def test_what_is_returned_for_who_begins_is_ignored():
    env = Counting([1, 3])
    step = env.step

    def step_with_nan(actions, active):
        observations, rewards, *rest = step(actions, active)
        return observations, np.where(active, rewards, np.nan), *rest

    env.step = step_with_nan
    episodes = begun(env, Autoreset.NEXT_STEP)
    episodes.step()
    episodes.step()
    assert episodes.arrays.rewards.tolist() == [0, 2]
    assert episodes.returns.tolist() == [0, 4]


def test_episodes_are_cut_off():
    env = Counting([2, 9])
    env.max_episode_steps = 2
    episodes = begun(env, Autoreset.NEXT_STEP)
    episodes.step()
    episodes.step()
    assert episodes.arrays.terminated.tolist() == [True, False]
    assert episodes.arrays.truncated.tolist() == [False, True]  # the other has ended by itself


class Wrong(btb.env.BaseEnv):
    observation_space = spaces.Dict({"a": spaces.Box(0, 1, (2,)), "b": spaces.Discrete(3)})
    action_space = spaces.Discrete(2)

    def __init__(self, first, then=None):
        self.first, self.then = first, then

    def reset(self, rng, options):
        return self.first

    def step(self, action):
        return self.then


GOOD = {"a": [0, 1], "b": 2}


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"a": [0, 1]}, "'b'"),
        ({**GOOD, "c": 1}, r"\['c'\]"),
        ({"a": [0, 1, 2], "b": 1}, r"observation\['a'\] of shape \(3,\).*expected shape \(2,\)"),
        ({"a": [0, 1], "b": 1.5}, r"observation\['b'\].*float64.*int64"),
        ({"a": ["x", "y"], "b": 1}, r"observation\['a'\]"),
        (None, "observation_space"),
    ],
)
def test_a_wrong_observation_is_told(observation, message):
    episodes = Episodes(SingleAgent(Wrong(observation)))
    with pytest.raises(ConfigError, match=message):
        episodes.reset(np.arange(1), [0], [0], {})


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (GOOD, "tuple"),
        ((GOOD, 1.0, False), "tuple"),
        ((GOOD, "much", False, False), "rewards"),
        ((GOOD, 1.0, 2, False), "terminated"),
        ((GOOD, [1.0, 2.0], False, False), "rewards"),
    ],
)
def test_a_wrong_result_of_a_step_is_told(result, message):
    episodes = Episodes(SingleAgent(Wrong((GOOD, {"info": 1}), result)))
    assert episodes.reset(np.arange(1), [0], [0], {}) == [{"info": 1}]
    with pytest.raises(ConfigError, match=message):
        episodes.step()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation_space": None}, "Counting.observation_space is not set"),
        ({"action_space": 3}, "3 is no space"),
        ({"num_agents": 0}, "num_agents"),
        ({"max_episode_steps": 0}, "max_episode_steps"),
        ({"observation_space": spaces.Tuple([spaces.Discrete(2)] * 31)}, "31 parts"),
    ],
)
def test_what_is_declared_is_checked(changes, message):
    env = Counting([1])
    for name, value in changes.items():
        setattr(env, name, value)
    with pytest.raises(ConfigError, match=message):
        Episodes(env)
