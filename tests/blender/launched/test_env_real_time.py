"""A simulation that goes on at its frame rate whatever the agent does."""

import time

import gymnasium
import numpy as np
import pytest

from blendtorch import btt

pytestmark = pytest.mark.one_blender
ACTION = np.array([0.25, 0.5], np.float32)
STEP_S = 1 / 24  # Blender's default frame rate


@pytest.fixture
def env(script, blender):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender, real_time=True) as env:
        yield env


def test_steps_come_at_the_frame_rate(env):
    env.reset()
    env.step(ACTION)
    started = time.perf_counter()
    counts = [env.step(ACTION)[0]["count"] for _ in range(24)]
    assert time.perf_counter() - started > 23 * STEP_S - 0.1
    assert counts[-1] >= 24


def test_what_happens_while_the_agent_thinks_is_counted(env):
    env.reset()
    before, *_ = env.step(ACTION)
    time.sleep(6 * STEP_S)
    observation, reward, terminated, truncated, info = env.step(2 * ACTION)
    missed = info["lag_steps"]
    assert missed >= 5
    assert info["lag_s"] >= 6 * STEP_S
    assert observation["count"] == before["count"] + missed + 1
    assert reward == pytest.approx(0.75 * missed + 1.5)  # the old action's, then the new one's
    assert not terminated
    assert not truncated
    assert info["twice"] == 2 * observation["count"]


def test_an_episode_that_ends_meanwhile_is_over(env):
    env.reset()
    env.step(ACTION)
    time.sleep(45 * STEP_S)
    observation, _, terminated, truncated, _ = env.step(ACTION)
    assert (observation["count"], terminated, truncated) == (40, True, False)
    observation, _ = env.reset()
    assert observation["count"] == 0


def test_an_exception_meanwhile_arrives_with_the_next_step(env):
    env.reset(options={"do": "raise", "at": 3})
    env.step(ACTION)
    time.sleep(5 * STEP_S)
    with pytest.raises(btt.ScriptError, match="boom"):
        env.step(ACTION)
    env.reset()
    env.step(ACTION)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_many_agents(blender, mode):
    with gymnasium.make_vec(
        "blendtorch/CartPole-v0", 4, autoreset_mode=mode, real_time=True, blend_path=blender
    ) as env:
        observations, _ = env.reset(seed=1)
        actions = np.zeros((4, 1), np.float32)
        started = time.perf_counter()
        over = 0
        for _ in range(100):
            observations, _, terminated, truncated, infos = env.step(actions)
            over += (terminated | truncated).sum()
            assert infos["lag_steps"].shape == infos["lag_s"].shape == (4,)
            assert observations in env.observation_space
        assert time.perf_counter() - started > 99 / 50 - 0.1
        assert over >= 4


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_ends_while_the_agent_thinks_are_told_once(script, blender, mode):
    """Agents 0 and 1 end after 5 and 12 steps."""
    with btt.env.BlenderVectorEnv(
        script=script("env_counting"), num_envs=2, autoreset_mode=mode, real_time=True, blend_path=blender
    ) as env:
        env.reset()
        actions = np.zeros(2, np.int64)
        env.step(actions)
        time.sleep(8 * STEP_S)
        observations, rewards, terminated, _, infos = env.step(actions)
        assert terminated.tolist() == [True, False]
        assert rewards[0] == 4  # after the first step
        last = infos["final_obs"][0] if mode == "SameStep" else observations[0]
        info = infos["final_info"] if mode == "SameStep" else infos
        assert (last[0], info["count"][0]) == (5, 5)
        if mode == "Disabled":
            time.sleep(8 * STEP_S)
            env.reset(options={"reset_mask": np.array([True, False])})
            observations, _, terminated, *_ = env.step(actions)
            assert terminated.tolist() == [False, True]
            assert observations[:, 0].tolist() == [1, 12]
        elif mode == "NextStep":
            observations, rewards, terminated, *_ = env.step(actions)
            assert (observations[0, 0], rewards[0], terminated[0]) == (0, 0, False)
            assert env.step(actions)[0][0, 0] >= 1


def test_a_simulation_that_cannot_keep_up_still_answers(script, blender):
    with btt.env.BlenderVectorEnv(
        script=script("env_counting"),
        env_options={"step_s": 2 * STEP_S},
        real_time=True,
        blend_path=blender,
        timeout_s=3,
    ) as env:
        env.reset()
        counts = [int(env.step(np.zeros(1, np.int64))[0][0, 0]) for _ in range(3)]
        assert counts == sorted(counts)
        assert counts[-1] <= 5
