"""What Gymnasium and Stable-Baselines3 ask of environments, asked of all that come with BlendTorch."""

import logging
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from blendtorch import btt

NAMES = ["blendtorch/CartPole-v0", "blendtorch/CartPolePixels-v0"]
VECTOR = {"blendtorch/CartPole-v0": (4, 2), "blendtorch/CartPolePixels-v0": (2, 2)}  # environments and Blenders


each = pytest.mark.parametrize("name", NAMES, ids=[name.split("/")[1] for name in NAMES])


@each
def test_gymnasiums_checker(name, blender):
    with gymnasium.make(name, blend_path=blender, disable_env_checker=True) as env:
        with warnings.catch_warnings():
            # A cart may be anywhere and move at any speed; and pictures are not scaled to 0 .. 1.
            warnings.filterwarnings("ignore", message=".*infinity.*")
            # Rendering modes are looked at below; "human" wants a display.
            check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.one_blender
@each
def test_an_environment_as_one_uses_it(name, blender):
    with gymnasium.make(name, blend_path=blender, render_mode="rgb_array") as env:
        assert env.spec.id == name
        assert env.metadata["render_fps"] == 50
        env.action_space.seed(1)
        observation, info = env.reset(seed=7)
        for _ in range(200):
            assert observation in env.observation_space
            assert info == {}
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
            assert not truncated
            if terminated:
                observation, info = env.reset()
        picture = env.render()
        assert (picture.shape, picture.dtype) == ((240, 320, 3), np.uint8)
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3  # track, cart, pole and what is behind them


@each
def test_a_vector_environment_as_one_uses_it(name, blender):
    use_vector_environment(name, AutoresetMode.NEXT_STEP, blender)


@pytest.mark.one_blender
@each
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_the_other_autoreset_modes(name, mode, blender):
    use_vector_environment(name, mode, blender)


def use_vector_environment(name, mode, blender):
    num_envs, num_instances = VECTOR[name]
    options = {"num_instances": num_instances, "autoreset_mode": mode, "blend_path": blender}
    with gymnasium.make_vec(name, num_envs, **options) as env:
        assert env.metadata["autoreset_mode"] == mode
        assert (env.num_envs, env.spec.id) == (num_envs, name)
        assert env.observation_space == gymnasium.vector.utils.batch_space(env.single_observation_space, num_envs)
        env.action_space.seed(1)
        observations, _ = env.reset(seed=[11, 22, 33, 44][:num_envs])
        over = np.zeros(num_envs, bool)
        episodes = 0
        for _ in range(120):
            assert observations in env.observation_space
            before, was_over = observations, over
            if mode == AutoresetMode.DISABLED and over.any():
                observations, _ = env.reset(options={"reset_mask": over})
                np.testing.assert_array_equal(observations[~over], before[~over])
            observations, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
            over = terminated | truncated
            episodes += over.sum()
            assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
            expected = np.where(was_over, 0.0, 1.0) if mode == AutoresetMode.NEXT_STEP else 1.0
            np.testing.assert_array_equal(rewards, expected)
            assert not (over & was_over).any() or mode != AutoresetMode.NEXT_STEP
            if mode == AutoresetMode.SAME_STEP and over.any():
                np.testing.assert_array_equal(infos["_final_obs"], over)
                final = infos["final_obs"][np.flatnonzero(over)[0]]
                assert final in env.single_observation_space
                assert (final != observations[np.flatnonzero(over)[0]]).any()
        assert episodes > num_envs
        assert not env.unwrapped.launcher.restarts


@pytest.mark.one_blender
@each
def test_stable_baselines_checker(name, blender):
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    with gymnasium.make(name, blend_path=blender) as env, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*recommend.*")
        check_for_sb3(env.unwrapped, warn=True, skip_render_check=True)


@pytest.mark.one_blender
def test_stable_baselines_learns_through_the_adapter(blender):
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    env = btt.env.to_sb3(
        gymnasium.make_vec(NAMES[0], 8, num_instances=2, autoreset_mode="SameStep", blend_path=blender).unwrapped
    )
    env.seed(3)
    env = VecMonitor(env)
    observations = env.reset()
    assert (observations.shape, observations.dtype) == ((8, 4), np.float32)
    ended = 0
    for _ in range(150):
        before = observations
        observations, rewards, dones, infos = env.step(np.ones((8, 1), np.float32))
        assert rewards.dtype == np.float32
        for k in np.flatnonzero(dones):
            ended += 1
            assert infos[k]["TimeLimit.truncated"] is False
            # The pole falls against the cart's way; the next episode begins upright.
            assert infos[k]["terminal_observation"][2] < before[k, 2]
            assert abs(observations[k, 2]) <= 0.05
            assert infos[k]["episode"]["l"] == infos[k]["episode"]["r"]
    assert ended > 8
    PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=1).learn(256)
    env.close()
    with pytest.raises(btt.ConfigError, match="SameStep"):
        with gymnasium.make_vec(NAMES[0], 2, blend_path=blender) as wrong:
            btt.env.to_sb3(wrong.unwrapped)


@pytest.mark.one_blender
def test_ten_thousand_resets(blender):
    """Neither memory nor the time of a reset grows."""
    import time

    from blendtorch.launch.usage import meter_of

    with gymnasium.make(NAMES[0], blend_path=blender) as env:
        pid = env.unwrapped.launcher.launch_info.pids[0]
        meter = meter_of(pid, pid)
        action = np.zeros(1, np.float32)
        times, memory_mb = [], []
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(2000):
                env.reset()
                env.step(action)
            times.append(time.perf_counter() - started)
            memory_mb.append(meter.read().memory_mb)
        logging.getLogger(__name__).info("2000 resets in %s s, %s MB", times, memory_mb)
        assert memory_mb[-1] - memory_mb[2] < 2  # a block of 7 MB is taken once
        assert min(times[2:]) < 2 * times[0]
