"""The vector environment as Stable-Baselines3's `VecEnv`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_env import FakeEnv

from blendtorch.btt.env import BlenderVectorEnv, to_sb3
from blendtorch.errors import ConfigError
from blendtorch.wire.spaces import Box, Dict, Discrete, MultiBinary

pytest.importorskip("stable_baselines3")
Make = Callable[..., FakeEnv]


@pytest.fixture
def make_env(fake_env: Make) -> Iterator[Callable[..., Any]]:
    """Connects to an environment of two agents; gives it and the adapter."""
    made: list[Any] = []

    def start(**options: Any) -> tuple[FakeEnv, Any]:
        fake = fake_env(num_agents=2, **options)
        env = BlenderVectorEnv(address=fake.address, num_envs=2, autoreset_mode="SameStep", timeout_s=20)
        made.append(to_sb3(env))
        return fake, made[-1]

    yield start
    for one in made:
        one.close()


MakeEnv = Callable[..., tuple[FakeEnv, Any]]


def test_episodes_are_played_as_stable_baselines_wants_them(make_env: MakeEnv) -> None:
    fake, env = make_env()
    fake.say = lambda call, agents: [{call: int(agent), "d": {"n": 1}} for agent in agents]
    env.seed(10)
    assert env.reset().tolist() == [[0, 0], [0, 0]]
    assert env.reset_infos == [{"reset": agent, "d": {"n": 1}} for agent in (0, 1)]
    assert fake.begun == [(0, 10, 0), (1, 11, 0)]
    for turn in (1, 2):
        observations, rewards, dones, infos = env.step(np.array([1, 2]))
        assert observations[:, 0].tolist() == [turn, turn]
        assert (rewards.tolist(), rewards.dtype) == ([1, 2], np.float32)
        assert not dones.any()
        assert infos == [{"step": agent, "d": {"n": 1}} for agent in (0, 1)]
    observations, _, dones, infos = env.step(np.array([1, 2]))
    assert observations[:, 0].tolist() == [10, 10]
    assert dones.tolist() == [True, True]
    for agent, info in enumerate(infos):
        assert info.pop("terminal_observation").tolist() == [3, 3]
        assert info == {"step": agent, "d": {"n": 1}, "TimeLimit.truncated": agent == 1}
    assert env.reset_infos == [{"reset": agent, "d": {"n": 1}} for agent in (0, 1)]
    env.reset()
    assert fake.begun[-2:] == [(0, 10, 2), (1, 11, 2)]


def test_options_reach_the_environment(make_env: MakeEnv) -> None:
    fake, env = make_env()
    env.set_options({"wind": 3})
    env.reset()
    env.reset()
    assert [call["options"] for call in fake.calls[1:]] == [{"wind": 3}, {}]


def test_bits_that_come_as_floats_are_converted(make_env: MakeEnv) -> None:
    _, env = make_env(action_space=MultiBinary(3))
    env.reset()
    assert env.step(np.array([[1, 0, 1], [0, 0, 1]], np.float32))[1].tolist() == [2, 1]


def test_what_scaling_has_put_beyond_a_bound_is_clipped(make_env: MakeEnv) -> None:
    _, env = make_env(action_space=Box(-0.1, 0.3, (1,)))
    env.reset()
    high = np.float32(0.3)
    actions = np.array([[np.nextafter(high, np.float32(1))], [-0.1]], np.float64)
    assert env.step(actions)[1].tolist() == pytest.approx([0.3, -0.1])


def test_observations_may_be_dicts(make_env: MakeEnv) -> None:
    _, env = make_env(observation_space=Dict({"b": Discrete(99), "a": Box(0, 99, (2,))}), length=1)
    assert env.reset().keys() == {"a", "b"}
    infos = env.step(np.array([0, 0]))[3]
    last = infos[1]["terminal_observation"]
    assert (last["a"].tolist(), last["b"]) == ([1, 1], 1)


def test_attributes_are_read_and_nothing_in_blender_is_set(make_env: MakeEnv) -> None:
    _, env = make_env()
    assert env.get_attr("num_instances") == [1, 1]
    assert env.get_attr("num_instances", 0) == [1]
    assert env.env_is_wrapped(object) == [False, False]
    for call in (lambda: env.set_attr("x", 1), lambda: env.env_method("x")):
        with pytest.raises(AttributeError, match="the environments are in Blender"):
            call()
    with pytest.warns(UserWarning, match="without a render mode"):
        assert list(env.get_images()) == []


def test_episodes_have_to_begin_within_the_step(fake_env: Make) -> None:
    fake = fake_env()
    with BlenderVectorEnv(address=fake.address, timeout_s=20) as env:
        with pytest.raises(ConfigError, match="expected SAME_STEP"):
            to_sb3(env)
