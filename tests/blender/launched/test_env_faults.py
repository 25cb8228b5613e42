"""What a client sees when an environment fails, hangs, is killed, or is used wrongly."""

import os
import signal
import threading
import time

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode

from blendtorch import btt
from blendtorch.errors import InstanceError, PeerTimeout, ScriptError

pytestmark = pytest.mark.one_blender
ACTION = np.array([0.25, 0.5], np.float32)
WAIT_S = 40


def play(env, steps):
    return [env.step(ACTION) for _ in range(steps)]


@pytest.mark.parametrize("fault", ["crash", "hang", "spin"])
def test_a_blender_that_is_lost_is_a_truncated_episode(script, blender, fault):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender, timeout_s=2) as env:
        env.reset(seed=3)
        env.reset()
        observation, _ = env.reset(options={"do": fault, "at": 3})
        play(env, 2)
        last, reward, terminated, truncated, info = env.step(ACTION)
        assert (reward, terminated, truncated, info) == (0.0, False, True, {"restarted": True})
        assert last["count"] == 2
        np.testing.assert_array_equal(last["random"], observation["random"])
        with pytest.raises(ResetNeeded):
            env.step(ACTION)
        observation, info = env.reset()
        assert info == {"episode_begins": True, "restarted": True}
        assert [restart.epoch for restart in env.launcher.restarts] == [1]
        # It goes on with the next episode, not with the first one.
        np.testing.assert_allclose(observation["random"], np.random.default_rng([3, 3]).uniform(0, 1, 2), rtol=1e-6)
        assert play(env, 1)[0][0]["count"] == 1


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_others_notice_nothing(script, blender, mode):
    with btt.env.BlenderVectorEnv(
        script=script("env_faulty"), blend_path=blender, num_envs=3, num_instances=3, autoreset_mode=mode
    ) as env:
        first, _ = env.reset(seed=5, options={"do": "crash", "btid": 1, "at": 4})
        actions = np.tile(ACTION, (3, 1))
        counts, truncated, restarted = [], [], []
        for _ in range(7):
            if mode == AutoresetMode.DISABLED and truncated and truncated[-1][1]:
                env.reset(options={"reset_mask": truncated[-1]})
            observations, rewards, terminated, cut, infos = env.step(actions)
            counts.append(observations["count"].tolist())
            truncated.append(cut)
            restarted.append(infos.get("_restarted", np.zeros(3, bool)).tolist())
            assert not terminated.any()
            np.testing.assert_array_equal(observations["random"][[0, 2]], first["random"][[0, 2]])
            np.testing.assert_array_equal(rewards[[0, 2]], [0.75, 0.75])
            if cut.any() and mode == AutoresetMode.SAME_STEP:
                assert infos["final_obs"][1]["count"] == 3
                assert infos["_final_obs"].tolist() == [False, True, False]
        assert [row[0] for row in counts] == [row[2] for row in counts] == [1, 2, 3, 4, 5, 6, 7]
        assert [cut.tolist() for cut in truncated] == [[False] * 3] * 3 + [[False, True, False]] + [[False] * 3] * 3
        assert restarted[3] == [False, True, False]
        own = {"SameStep": [1, 2, 3, 0, 1, 2, 3], "NextStep": [1, 2, 3, 3, 0, 1, 2], "Disabled": [1, 2, 3, 3, 1, 2, 3]}
        assert [row[1] for row in counts] == own[mode.value]
        assert [restart.btid for restart in env.launcher.restarts] == [1]


def test_a_blender_that_was_killed_between_two_calls(script, blender):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender, render_mode="rgb_array") as env:
        env.reset(seed=1)
        os.kill(env.launcher.launch_info.pids[0], signal.SIGKILL)
        assert env.step(ACTION)[3:] == (True, {"restarted": True})
        env.reset()
        os.kill(env.launcher.launch_info.pids[0], signal.SIGKILL)
        while env.launcher.instances[0].state == "running":
            time.sleep(0.01)
        assert env.render().shape == (4, 6, 3)  # of a new one, in which no episode has begun
        assert env.step(ACTION)[3:] == (True, {"restarted": True})
        assert env.reset()[1]["episode_begins"]


def test_a_blender_that_never_works_is_given_up_on(script, blender):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender, max_restarts=0) as env:
        env.reset(options={"do": "crash"})
        with pytest.raises(InstanceError, match="SIGKILL"):
            env.step(ACTION)
            env.reset()


def test_a_render_that_hangs(script, blender):
    with btt.env.BlenderEnv(
        script=script("env_faulty"), blend_path=blender, render_mode="rgb_array", timeout_s=1
    ) as env:
        env.reset(options={"do": "hang in render"})
        assert env.render().shape == (4, 6, 3)  # of another Blender
        assert env.step(ACTION)[3:] == (True, {"restarted": True})
        assert len(env.launcher.restarts) == 1


def test_an_info_that_cannot_be_sent_is_told_and_the_environment_lives_on(script, blender):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender) as env:
        env.reset(options={"do": "wrong info"})
        with pytest.raises(
            ScriptError, match=r"Faulty has returned an info that cannot be sent: .*Vector.*tuple\(vector\)"
        ):
            env.step(ACTION)
        env.reset()
        assert play(env, 1)[0][0]["count"] == 1
        assert env.launcher.restarts == []


def test_a_script_that_ends_in_a_step(script, blender):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender) as env:
        env.reset(options={"do": "exit"})
        with pytest.raises(InstanceError, match="its script came to its end"):
            env.step(ACTION)


def test_a_step_that_was_given_up_on_holds_up_nothing(script, blender):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender) as env:
        env.reset()
        connection = env._blenders.connections[0]
        for _ in range(3):  # as Ctrl-C leaves them
            connection.begin_step(5)
        started = time.monotonic()
        assert play(env, 1)[0][0]["count"] >= 1
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("where", ["raise", "raise in reset"])
def test_an_exception_arrives_with_its_traceback_and_the_environment_lives_on(script, blender, where):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender) as env:
        with pytest.raises(ScriptError) as caught:
            env.reset(options={"do": where})
            env.step(ACTION)
        text = str(caught.value)
        assert "ValueError: boom" in text or "ValueError: no start today" in text
        assert "env_faulty.py" in text
        with pytest.raises(ResetNeeded):
            env.step(ACTION)
        env.reset()
        assert play(env, 1)[0][0]["count"] == 1
        assert env.launcher.restarts == []


def test_an_exception_in_one_of_many_leaves_the_others_in_step(script, blender):
    with btt.env.BlenderVectorEnv(script=script("env_faulty"), blend_path=blender, num_envs=2, num_instances=2) as env:
        env.reset(options={"do": "raise", "btid": 1, "at": 2})
        actions = np.tile(ACTION, (2, 1))
        env.step(actions)
        with pytest.raises(ScriptError, match="boom"):
            env.step(actions)
        with pytest.raises(ResetNeeded, match=r"\[1\]"):
            env.step(actions)
        env.reset(options={"reset_mask": np.array([False, True])})
        assert env.step(actions)[0]["count"].tolist() == [3, 1]


def test_an_environment_that_cannot_be_made_fails_at_once(script, blender):
    with pytest.raises(ScriptError, match="cannot begin"):
        btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender, env_options={"fails_to_begin": True})
    with pytest.raises(ScriptError, match="no_such"):
        btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender, env_options={"no_such": 1})


def test_a_script_that_ends_without_serving(script, blender):
    with pytest.raises(InstanceError, match="ended"):
        btt.env.BlenderEnv(script=script("exits_well"), blend_path=blender)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (np.zeros(3, np.float32), "shape"),
        (np.zeros(2, np.float64), "float64"),
        (np.array([0, np.nan], np.float32), "NaN"),
        (np.array([0, 1.5], np.float32), "bounds"),
        ("left", "shape"),
    ],
)
def test_a_wrong_action_never_reaches_blender(script, blender, action, why, served):
    with pytest.raises(InvalidAction, match=why) as caught:
        served.step(action)
    assert str(served.action_space) in str(caught.value)


@pytest.fixture(scope="module")
def served():
    from tests.blender.launched.conftest import SCRIPTS
    from tests.blenders import BLENDERS, THIS

    with btt.env.BlenderEnv(script=SCRIPTS / "env_faulty.py", blend_path=BLENDERS[THIS]) as env:
        env.reset()
        yield env
        assert env.step(ACTION)[0]["count"] == 1  # no wrong one has counted


def test_calls_after_closing(script, blender):
    env = btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender)
    with pytest.raises(ResetNeeded):
        env.step(ACTION)
    env.close()
    env.close()
    for call in (env.reset, env.render, lambda: env.step(ACTION)):
        with pytest.raises(ClosedEnvironmentError):
            call()


def test_closing_during_a_step_is_clean(script, blender):
    env = btt.env.BlenderVectorEnv(script=script("env_faulty"), blend_path=blender, num_envs=2, num_instances=2)
    env.reset(options={"do": "hang", "btid": 1})
    env.step_async(np.tile(ACTION, (2, 1)))
    started = time.monotonic()
    env.close()
    assert time.monotonic() - started < 20
    assert env.closed


@pytest.mark.parametrize("what", ["environment", "launcher"])
def test_closing_from_another_thread_ends_a_step(script, blender, what):
    env = btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender)
    env.reset(options={"do": "hang"})
    timer = threading.Timer(0.5, env.close if what == "environment" else env.launcher.close)
    timer.start()
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        env.step(ACTION)
    timer.join()
    env.close()


def test_one_client_at_a_time(script, blender):
    with btt.env.BlenderEnv(script=script("env_faulty"), blend_path=blender, proto="tcp") as env:
        address = env.launcher.launch_info.addresses["ENV"][0]
        env.reset()
        with pytest.raises(PeerTimeout, match="another client"):
            btt.env.BlenderEnv(address=address, timeout_s=0.5)
        assert play(env, 1)[0][0]["count"] == 1
