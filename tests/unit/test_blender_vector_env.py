"""Several Blenders with several agents each as a vector environment: the order of calls, autoreset, seeds and infos."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from fake_env import FakeEnv
from gymnasium.error import (
    AlreadyPendingCallError,
    ClosedEnvironmentError,
    InvalidAction,
    NoAsyncCallError,
    ResetNeeded,
)
from gymnasium.vector import AutoresetMode
from space_samples import SPACES

from blendtorch.btt.env import BlenderVectorEnv
from blendtorch.errors import ConfigError, PeerTimeout, ProtocolError, ScriptError
from blendtorch.wire import Kind
from blendtorch.wire.mailbox import BY_MESSAGE
from blendtorch.wire.spaces import Box, Discrete

Make = Callable[..., FakeEnv]
ZEROS = np.zeros(4, np.int64)


@pytest.fixture
def make_env() -> Iterator[Callable[..., BlenderVectorEnv]]:
    """Connects to environments."""
    made: list[BlenderVectorEnv] = []

    def start(*fakes: FakeEnv, **options: Any) -> BlenderVectorEnv:
        count = sum(fake.num_agents for fake in fakes)
        options = {"num_envs": count, "timeout_s": 20, **options}
        made.append(BlenderVectorEnv(address=[fake.address for fake in fakes], **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


MakeEnv = Callable[..., BlenderVectorEnv]


@pytest.fixture
def two(fake_env: Make) -> tuple[FakeEnv, FakeEnv]:
    """Two environments of two agents each, of which the second sends its steps by message."""
    return fake_env(num_agents=2), fake_env(num_agents=2, mailbox=False)


def first(observations: np.ndarray) -> list[int]:
    return observations[:, 0].astype(int).tolist()


def test_all_agents_play_at_once(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    env = make_env(*two)
    assert (env.num_envs, env.num_instances, env.launcher) == (4, 2, None)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert env.single_action_space.n == 5
    assert (env.observation_space.shape, env.action_space.shape) == ((4, 2), (4,))
    observations, infos = env.reset(seed=10)
    assert env.observation_space.contains(observations)
    assert infos == {}
    observations, rewards, terminated, truncated, infos = env.step(np.arange(4))
    assert first(observations) == [1, 1, 1, 1]
    assert_exact(rewards, np.arange(4.0))
    assert_exact(terminated, np.zeros(4, np.bool_))
    assert_exact(truncated, np.zeros(4, np.bool_))
    assert infos == {}
    assert [fake.begun for fake in two] == [[(0, 10, 0), (1, 11, 0)], [(0, 12, 0), (1, 13, 0)]]


@pytest.mark.parametrize("name", [name for name in SPACES if "of all" not in name])
def test_spaces_are_batched(fake_env: Make, make_env: MakeEnv, name: str) -> None:
    fakes = [fake_env(num_agents=2, observation_space=SPACES[name], action_space=SPACES[name]) for _ in range(2)]
    env = make_env(*fakes)
    assert env.single_observation_space == env.single_action_space
    env.reset()
    for _ in range(4):
        assert env.step(env.action_space.sample())[0] is not None


def test_the_next_episode_begins_with_the_next_step(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    for fake in two:
        fake.say = lambda call, agents: {call: agents, "d": {"n": agents * 2}}
    env = make_env(*two)
    env.reset(seed=10)
    env.step(ZEROS)
    env.step(ZEROS)
    observations, _, terminated, truncated, infos = env.step(ZEROS)
    assert first(observations) == [3, 3, 3, 3]
    assert (terminated.tolist(), truncated.tolist()) == ([True, False] * 2, [False, True] * 2)
    assert infos.keys() == {"step", "_step", "d", "_d"}
    observations, rewards, terminated, truncated, infos = env.step(ZEROS + 3)
    assert first(observations) == [10, 10, 10, 10]
    assert rewards.tolist() == [0, 0, 0, 0]
    assert not (terminated | truncated).any()
    assert infos.keys() == {"reset", "_reset", "d", "_d"}  # nobody has stepped
    assert_exact(infos["reset"], np.array([0, 1, 0, 1]))
    assert_exact(infos["d"]["n"], np.array([0, 2, 0, 2]))
    assert infos["_d"].all()
    assert infos["d"]["_n"].all()
    assert two[1].begun == [(0, 12, 0), (1, 13, 0), (0, 12, 1), (1, 13, 1)]
    # The numbers go on, as if the next episode had been asked for.
    env.reset()
    assert two[0].begun[-2:] == [(0, 10, 2), (1, 11, 2)]
    env.reset(seed=[None, 5, None, None])
    assert [fake.begun[-2:] for fake in two] == [[(0, 10, 3), (1, 5, 0)], [(0, 12, 3), (1, 13, 3)]]


def test_the_next_episode_begins_within_the_step(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    two[0].say = lambda call, agents: [{call: int(agent), "d": {"n": 1}, "s": f"{call} {agent}"} for agent in agents]
    env = make_env(*two, autoreset_mode="SameStep")
    env.reset(seed=10)
    env.step(ZEROS)
    assert "final_obs" not in env.step(ZEROS)[4]
    observations, rewards, terminated, truncated, infos = env.step([1, 2, 3, 4])
    assert first(observations) == [10, 10, 10, 10]
    assert rewards.tolist() == [1, 2, 3, 4]
    assert (terminated | truncated).all()
    assert [one.tolist() for one in infos["final_obs"]] == [[3, 3]] * 4
    assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == [True] * 4
    assert infos["reset"].tolist() == [0, 1, 0, 0]
    assert infos["_reset"].tolist() == [True, True, False, False]
    assert infos["s"].tolist() == ["reset 0", "reset 1", None, None]
    final = infos["final_info"]
    assert final["step"].tolist() == [0, 1, 0, 0]
    assert final["_step"].tolist() == [True, True, False, False]
    assert final["s"].tolist() == ["step 0", "step 1", None, None]
    assert final["d"]["n"].tolist() == [1, 1, 0, 0]
    assert first(env.step(ZEROS)[0]) == [11, 11, 11, 11]


def test_only_whose_episode_is_over_begins_another_one(fake_env: Make, make_env: MakeEnv) -> None:
    fakes = fake_env(length=2), fake_env(length=3)
    env = make_env(*fakes, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    env.step([0, 0])
    observations, _, terminated, _, infos = env.step([0, 0])
    assert first(observations) == [10, 2]
    assert terminated.tolist() == infos["_final_obs"].tolist() == [True, False]
    assert infos["final_obs"][1] is None
    assert infos["final_info"] == {}
    env = make_env(*(fake_env(length=length) for length in (2, 3)))
    env.reset(seed=0)
    assert [first(env.step([0, 0])[0]) for _ in range(5)] == [[1, 1], [2, 2], [10, 3], [11, 10], [12, 11]]


def test_without_autoreset_a_mask_says_who_begins(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    env = make_env(*two, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=10)
    for _ in range(3):
        env.step(ZEROS)
    with pytest.raises(ResetNeeded, match=r"environments \[0, 1, 2, 3\] have no episode that goes on"):
        env.step(ZEROS)
    for fake in two:
        fake.say = lambda call, agents: {"n": agents + 1}
    mask = np.array([False, True, True, True])
    observations, infos = env.reset(options={"reset_mask": mask, "wind": 2})
    assert first(observations) == [3, 10, 10, 10]
    assert infos["n"].tolist() == [0, 2, 1, 2]
    assert_exact(infos["_n"], mask)
    assert two[0].calls[-1]["options"] == {"wind": 2}
    assert two[0].calls[-1]["agents"].tolist() == [1]
    with pytest.raises(ResetNeeded, match=r"environments \[0\]"):
        env.step(ZEROS)
    env.reset(seed=50, options={"reset_mask": ~mask})
    assert two[0].begun[-2:] == [(1, 11, 1), (0, 50, 0)]
    assert len(two[1].calls) == 6  # opened, two resets, three steps
    assert first(env.step(ZEROS)[0]) == [1, 11, 11, 11]


@pytest.mark.parametrize(
    "mask",
    [[True] * 4, np.ones(3, np.bool_), np.ones(4, np.int64), np.ones((4, 1), np.bool_), np.zeros(4, np.bool_), 1, "x"],
)
def test_what_is_no_mask_is_refused(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv, mask: Any) -> None:
    env = make_env(*two)
    with pytest.raises(ConfigError, match=r"(?s)reset_mask is .* expected a numpy array of bool, \(4,\)"):
        env.reset(options={"reset_mask": mask})
    assert not two[0].begun


def test_the_order_of_calls_is_checked(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    env = make_env(*two, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match=r"environments \[0, 1, 2, 3\]"):
        env.step(ZEROS)
    with pytest.raises(NoAsyncCallError):
        env.step_wait()
    env.reset()
    env.step_async(ZEROS)
    for call in (env.reset, env.render, lambda: env.step_async(ZEROS), lambda: env.step(ZEROS)):
        with pytest.raises(AlreadyPendingCallError, match="a step is under way"):
            call()
    assert first(env.step_wait()[0]) == [1, 1, 1, 1]
    with pytest.raises(NoAsyncCallError):
        env.step_wait()
    assert [image.shape for image in env.render()] == [(2, 3, 3)] * 4  # one for each agent
    env.close()
    env.close()
    for call in (env.reset, env.render, env.step_wait, lambda: env.step(ZEROS)):
        with pytest.raises(ClosedEnvironmentError):
            call()


def test_seeds_are_checked(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    env = make_env(*two)
    for seed in ([1, 2, 3], [1, 2, 3, -4], [1, 2, 3, "4"], 1.5):
        with pytest.raises(ConfigError, match="seed"):
            env.reset(seed=seed)
    env.reset(seed=np.int64(4))
    assert [fake.begun for fake in two] == [[(0, 4, 0), (1, 5, 0)], [(0, 6, 0), (1, 7, 0)]]


def test_what_are_no_actions_reach_nobody(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    env = make_env(*two)
    env.reset()
    for actions in ([0, 0, 0], [0, 0, 0, 5], [0, 0, 0, 1.0], None, np.zeros(4, np.float32), [[0], [0], [0], [0]]):
        with pytest.raises(InvalidAction, match=r"actions is .* The action space is MultiDiscrete"):
            env.step(actions)
    assert first(env.step(ZEROS)[0]) == [1, 1, 1, 1]


def answer_wrongly(fake: FakeEnv, how: str) -> Callable[[int, Any], None]:
    def answer(number: int, body: Any) -> None:
        if how == "error":
            fake.send(Kind.ERROR, {"error": "ValueError: no cart", "traceback": "line 7 of cart.py"}, number)
            fake.post(number, BY_MESSAGE)
        elif how == "malformed":
            fake.reply(number, {"infos": [3]})

    return answer


@pytest.mark.parametrize(
    ("how", "error"), [("error", ScriptError), ("malformed", ProtocolError), ("nothing", PeerTimeout)]
)
@pytest.mark.parametrize("which", [0, 1])
def test_when_one_blender_fails_the_others_are_waited_for(
    two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv, how: str, error: type[Exception], which: int
) -> None:
    env = make_env(*two, timeout_s=0.3 if how == "nothing" else 20, autoreset_mode="Disabled")
    env.reset(seed=0)
    two[which].instead["step"] = answer_wrongly(two[which], how)
    for _ in range(2):
        with pytest.raises(error):
            env.step(ZEROS)
        with pytest.raises(NoAsyncCallError):
            env.step_wait()
        with pytest.raises(ResetNeeded, match=rf"environments \[{2 * which}, {2 * which + 1}\]"):
            env.step(ZEROS)
        mask = np.arange(4) // 2 == which
        env.reset(options={"reset_mask": mask})
    two[which].instead.clear()
    observations, _, terminated, truncated, _ = env.step(ZEROS)
    expected = [3, 3, 3, 3]
    expected[2 * which : 2 * which + 2] = [21, 21]
    assert first(observations) == expected
    assert ((terminated | truncated) == ~mask).all()


def test_episodes_that_ended_while_another_blender_failed_are_over(
    two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv
) -> None:
    env = make_env(*two, autoreset_mode="Disabled")
    env.reset()
    env.step(ZEROS)
    env.step(ZEROS)
    two[1].instead["step"] = answer_wrongly(two[1], "error")
    with pytest.raises(ScriptError):
        env.step(ZEROS)
    env.reset(options={"reset_mask": np.arange(4) >= 2})
    with pytest.raises(ResetNeeded, match=r"environments \[0, 1\]"):
        env.step(ZEROS)


def test_a_reset_or_a_picture_that_fails_asks_for_a_reset_of_the_whole_blender(
    two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv
) -> None:
    env = make_env(*two, render_mode="rgb_array", autoreset_mode="Disabled")
    mask = np.arange(4) == 3
    for call, ask in {"reset": lambda: env.reset(options={"reset_mask": mask}), "render": env.render}.items():
        env.reset()
        two[1].instead[call] = answer_wrongly(two[1], "error")
        with pytest.raises(ScriptError, match=r"line 7 of cart\.py"):
            ask()
        with pytest.raises(ResetNeeded, match=r"environments \[2, 3\]"):
            env.step(ZEROS)
        two[1].instead.clear()


def test_closing_during_a_step_takes_no_time(two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv) -> None:
    for fake in two:
        fake.instead["step"] = lambda number, body: None
    env = make_env(*two)
    env.reset()
    env.step_async(ZEROS)
    started = time.monotonic()
    env.close()
    assert time.monotonic() - started < 2
    with pytest.raises(ClosedEnvironmentError):
        env.step_wait()


@pytest.mark.parametrize("copy", [True, False])
def test_observations_are_copied_unless_one_does_not_care(
    two: tuple[FakeEnv, FakeEnv], make_env: MakeEnv, copy: bool
) -> None:
    with make_env(*two, copy=copy, autoreset_mode="SameStep") as env:
        kept = env.reset()[0]
        results = [env.step(ZEROS) for _ in range(3)]
        env.step(ZEROS + 1)
        assert first(kept) == [0 if copy else 11] * 4
        assert results[0][1].tolist() == [0] * 4
        assert not results[1][2].any()
        assert results[2][4]["final_obs"][0].tolist() == [3, 3]
    with pytest.raises(ClosedEnvironmentError):
        env.reset()


def test_environments_have_to_be_alike(fake_env: Make, make_env: MakeEnv) -> None:
    with pytest.raises(ConfigError, match="Blender instance 1 serves 3 agents, expected 2"):
        make_env(fake_env(num_agents=2), fake_env(num_agents=3), num_envs=4)
    for other in ({"observation_space": Box(0, 1, (2,))}, {"action_space": Discrete(4)}):
        with pytest.raises(ConfigError, match="instance 1 has other spaces than instance 0"):
            make_env(fake_env(), fake_env(**other))
    for count in (0, 1, 3):
        with pytest.raises(ConfigError, match="expected a multiple"):
            make_env(fake_env(), fake_env(), num_envs=count)
    with pytest.raises(ValueError, match="is not a valid AutoresetMode"):
        make_env(fake_env(), autoreset_mode="sometimes")
