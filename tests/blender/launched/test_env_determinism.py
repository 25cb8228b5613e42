"""The same seeds and actions give the same trajectories, bit for bit."""

import gymnasium
import numpy as np
import pytest

from blendtorch import btt  # noqa: F401  (makes the environments known)

GAINS = np.array([0.3, 0.6, 4, 0.6], np.float32)  # of position, speed, angle and angular speed
NAME = "blendtorch/CartPole-v0"


def balance(observations):
    """Keeps poles up, whichever they are."""
    return np.clip(observations @ GAINS, -1, 1)[..., None].astype(np.float32)


def fall(observations):
    """Lets poles fall, so that episodes end at different times."""
    return np.sign(observations[..., 2:3] + 1e-3).astype(np.float32) * np.float32(-0.2)


def trajectory(env, policy, steps, seed=5):
    observations, _ = env.reset(seed=seed)
    found = [observations]
    for _ in range(steps):
        observations, _, terminated, truncated, _ = env.step(policy(observations))
        found.append(observations)
        if isinstance(env, gymnasium.Env) and (terminated or truncated):
            found.append(env.reset()[0])
    return np.array(found)


def made(num_envs, num_instances, blender, mode="NextStep"):
    return gymnasium.make_vec(NAME, num_envs, num_instances=num_instances, autoreset_mode=mode, blend_path=blender)


def test_across_resets_and_processes(blender):
    runs = []
    for _ in range(2):
        with gymnasium.make(NAME, blend_path=blender) as env:
            runs += [trajectory(env, fall, 150), trajectory(env, fall, 150)]
    assert len(runs[0]) > 153  # some episodes
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])


@pytest.mark.one_blender
def test_many_agents_whose_episodes_end_at_different_times(blender):
    runs = []
    for num_envs, num_instances in [(4, 1), (4, 1), (8, 2)]:
        with made(num_envs, num_instances, blender, "SameStep") as env:
            runs += [trajectory(env, fall, 150)[:, :4] for _ in range(2)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])


@pytest.mark.one_blender
def test_across_layouts(blender):
    """Each agent is the same whatever the number of Blenders, and whatever agents those have."""
    with made(4, 4, blender) as env:
        together = trajectory(env, fall, 150)
    with gymnasium.make(NAME, blend_path=blender) as env:
        for k in range(2):
            # A vector environment begins the next episode in a step of its own.
            np.testing.assert_array_equal(trajectory(env, fall, 150, seed=5 + k)[:151], together[:, k])
    with made(4, 2, blender) as env:
        by_twos = trajectory(env, fall, 150)
    with made(2, 1, blender) as env:
        for k in (0, 2):
            np.testing.assert_array_equal(trajectory(env, fall, 150, seed=5 + k), by_twos[:, k : k + 2])


@pytest.mark.one_blender
def test_with_another_number_of_agents_the_last_digits_differ(blender):
    """Bullet solves constraints in another order then, see `PhysicsAgents`."""
    runs = []
    for num_envs, num_instances in [(4, 1), (4, 4)]:
        with made(num_envs, num_instances, blender) as env:
            runs.append(trajectory(env, balance, 400))
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-5)


@pytest.mark.one_blender
def test_pictures_are_the_same(blender):
    runs = []
    for _ in range(2):
        with gymnasium.make("blendtorch/CartPolePixels-v0", blend_path=blender) as env:
            runs.append(trajectory(env, lambda _: np.full(1, 0.3, np.float32), 40))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][5] != runs[0][15]).any()


@pytest.mark.one_blender
def test_seeds_of_many(blender):
    """Environment k has the seed seed + k, alone as among others."""
    with made(3, 3, blender) as env:
        first, _ = env.reset(seed=40)
        again, _ = env.reset(seed=[40, 41, 42])
        np.testing.assert_array_equal(first, again)
        following, _ = env.reset()
        assert (following != first).any(1).all()
        env.reset(seed=40)
        np.testing.assert_array_equal(env.reset()[0], following)
    with gymnasium.make(NAME, blend_path=blender) as env:
        np.testing.assert_array_equal(env.reset(seed=41)[0], first[1])
