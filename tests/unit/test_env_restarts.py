"""Blenders that crash or hang, and are started again by a stand-in for the launcher."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_env import FakeEnv

from blendtorch.btt.env import BlenderEnv, BlenderVectorEnv
from blendtorch.errors import InstanceError


@dataclass
class State:
    """As of an instance of `BlenderLauncher`."""

    state: str = "running"
    detail: str = "has crashed"
    epoch: int = 0


class StandIn:
    """Starts another environment where one has crashed.

    Args:
        folder: Where their sockets lie.
        num_instances: How many there are.
        **options: More for `FakeEnv`.
    """

    def __init__(self, folder: Path, num_instances: int, **options: Any) -> None:
        self._start = lambda btid: FakeEnv(folder, btid=btid, **options)
        self.fakes = [self._start(btid) for btid in range(num_instances)]
        self.instances = [State() for _ in self.fakes]
        self.reasons: list[str] = []

    def crash(self, btid: int = 0) -> None:
        """Ends an environment without a word, and starts another one."""
        self.fakes[btid].close()
        self.fakes[btid] = self._start(btid)
        self.instances[btid].epoch += 1

    def restart(self, btid: int, reason: str) -> None:
        self.reasons.append(reason)
        self.crash(btid)

    def assert_alive(self) -> None:
        pass

    def close(self) -> None:
        for fake in self.fakes:
            fake.close()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., tuple[Any, StandIn]]]:
    """Starts an environment that is launched, as it believes; `num_instances` makes it a vector environment."""
    made: list[tuple[Any, StandIn]] = []

    def start(num_instances: int = 0, num_agents: int = 1, **options: Any) -> tuple[Any, StandIn]:
        stand_in = StandIn(tmp_path, num_instances or 1, num_agents=num_agents)
        addresses = [fake.address for fake in stand_in.fakes]
        options = {"timeout_s": 5, "render_mode": "rgb_array", **options}
        env: Any
        if num_instances:
            env = BlenderVectorEnv(address=addresses, num_envs=num_instances * num_agents, **options)
        else:
            env = BlenderEnv(address=addresses[0], **options)
        env._blenders.launcher = stand_in
        made.append((env, stand_in))
        return made[-1]

    yield start
    for env, stand_in in made:
        env.close()
        stand_in.close()


Launch = Callable[..., tuple[Any, StandIn]]


def test_a_crash_cuts_the_episode_off_and_the_next_one_is_the_next(launch: Launch) -> None:
    env, stand_in = launch()
    env.reset(seed=4)
    last = env.step(1)[0]
    stand_in.crash()
    observation, reward, terminated, truncated, info = env.step(1)
    assert observation is last
    assert (reward, terminated, truncated, info) == (0.0, False, True, {"restarted": True})
    assert env.reset()[1] == {"restarted": True}
    assert stand_in.fakes[0].begun == [(0, 4, 1)]
    assert env.step(1)[0].tolist() == [11, 11]


def test_who_hangs_is_started_again(launch: Launch) -> None:
    env, stand_in = launch(timeout_s=0.2)
    env.reset(seed=4)
    stand_in.fakes[0].instead["step"] = lambda number, body: None
    assert env.step(1)[3:] == (True, {"restarted": True})
    assert stand_in.reasons == ["has not answered in time (timeout_s is 0.2): it hangs"]
    env.reset()
    stand_in.fakes[0].instead["reset"] = lambda number, body: None
    env.reset()
    assert len(stand_in.reasons) == 2
    assert stand_in.fakes[0].begun == [(0, 4, 2)]


def test_a_crash_that_a_picture_reveals_is_told_by_the_next_step(launch: Launch) -> None:
    env, stand_in = launch()
    env.reset(seed=4)
    stand_in.crash()
    for _ in range(3):
        assert env.render().shape == (2, 3, 3)
    assert env.step(1)[3:] == (True, {"restarted": True})
    env.reset()
    assert env.step(1)[0].tolist() == [11, 11]


def test_a_blender_that_cannot_be_started_again_is_told(launch: Launch) -> None:
    env, stand_in = launch()
    env.reset()
    stand_in.instances[0] = State("died", "no memory", 1)
    stand_in.fakes[0].instead["step"] = lambda number, body: None
    for call in (lambda: env.step(0), env.reset, env.render):
        with pytest.raises(InstanceError, match="Blender instance 0 has died: no memory"):
            call()
    env.close()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_the_other_blenders_notice_nothing(launch: Launch, mode: str) -> None:
    env, stand_in = launch(2, num_agents=2, autoreset_mode=mode)
    env.reset(seed=10)
    env.step([1, 1, 1, 1])
    stand_in.crash(1)
    observations, rewards, terminated, truncated, infos = env.step([1, 1, 1, 1])
    is_new = np.array([False, False, True, True])
    assert rewards.tolist() == [1, 1, 0, 0]
    assert not terminated.any()
    assert (truncated == is_new).all()
    assert (infos["restarted"] == is_new).all()
    assert (infos["_restarted"] == is_new).all()
    if mode == "SameStep":
        assert (infos["_final_obs"] == is_new).all()
        assert infos["final_obs"][3].tolist() == [1, 1]
        assert infos["final_info"]["restarted"].tolist() == is_new.tolist()
        assert observations[:, 0].tolist() == [2, 2, 10, 10]
    else:
        assert observations[:, 0].tolist() == [2, 2, 1, 1]
    if mode == "Disabled":
        env.reset(options={"reset_mask": is_new})
    expected = {"NextStep": [3, 3, 10, 10], "SameStep": [10, 10, 11, 11], "Disabled": [3, 3, 11, 11]}
    assert env.step([1, 1, 1, 1])[0][:, 0].tolist() == expected[mode]
    assert stand_in.fakes[1].begun == [(0, 12, 1), (1, 13, 1)]


def test_a_crash_that_pictures_reveal_is_told_by_the_next_step_of_all(launch: Launch) -> None:
    env, stand_in = launch(2)
    env.reset(seed=10)
    stand_in.crash(1)
    for _ in range(2):
        assert len(env.render()) == 2
    assert env.step([1, 1])[3].tolist() == [False, True]
    for _ in range(2):
        assert len(env.render()) == 2
    assert env.step([1, 1])[0][:, 0].tolist() == [2, 10]
    assert env.step([1, 1])[0][:, 0].tolist() == [3, 11]


def test_a_mask_does_not_revive_the_other_agents_of_a_new_blender(launch: Launch) -> None:
    env, stand_in = launch(1, num_agents=2, autoreset_mode="Disabled")
    env.reset(seed=10)
    stand_in.crash()
    env.render()
    env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(Exception, match=r"environments \[1\] have no episode that goes on"):
        env.step([1, 1])


def test_closing_after_a_crash_raises_nothing(launch: Launch) -> None:
    env, stand_in = launch(2)
    env.reset()
    env.step_async([0, 0])
    stand_in.crash(1)
    stand_in.instances[0] = State("died", "no memory", 1)
    env.close()
