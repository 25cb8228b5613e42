"""One Blender as a Gymnasium environment: in which order calls may come, and what reaches the environment."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from fake_env import FakeEnv
from gymnasium.error import ClosedEnvironmentError, InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from space_samples import SPACES

from blendtorch.btt.env import BlenderEnv
from blendtorch.btt.env.gym_spaces import to_gymnasium
from blendtorch.errors import ConfigError, InstanceError, PeerTimeout, ProtocolError, ScriptError
from blendtorch.wire import Kind
from blendtorch.wire.mailbox import BY_MESSAGE
from blendtorch.wire.spaces import Tuple

Make = Callable[..., FakeEnv]


@pytest.fixture
def make_env() -> Iterator[Callable[..., BlenderEnv]]:
    """Connects to an environment."""
    made: list[BlenderEnv] = []

    def start(fake: FakeEnv, **options: Any) -> BlenderEnv:
        made.append(BlenderEnv(address=fake.address, **{"timeout_s": 20, **options}))
        return made[-1]

    yield start
    for one in made:
        one.close()


MakeEnv = Callable[..., BlenderEnv]


def fail(fake: FakeEnv) -> Callable[[int, Any], None]:
    def answer(number: int, body: Any) -> None:
        fake.send(Kind.ERROR, {"error": "ValueError: no cart", "traceback": "line 7 of cart.py"}, number)
        fake.post(number, BY_MESSAGE)

    return answer


@pytest.mark.filterwarnings("error")  # what Gymnasium finds odd
@pytest.mark.parametrize("name", [name for name in SPACES if "of all" not in name])
def test_observations_and_actions_are_of_the_spaces(fake_env: Make, make_env: MakeEnv, name: str) -> None:
    space = Tuple([SPACES["nested"], SPACES["box of no dimensions"]])
    env = make_env(fake_env(observation_space=space, action_space=SPACES[name]))
    assert env.observation_space == to_gymnasium(space)
    assert env.action_space == to_gymnasium(SPACES[name])
    assert env.metadata == {"render_modes": ["human", "rgb_array"], "render_fps": 30.0}
    observation, info = env.reset(seed=1)
    assert info == {}
    assert env.observation_space.contains(observation)
    result = env.step(env.action_space.sample())
    assert env.observation_space.contains(result[0])
    assert [type(value) for value in result[1:]] == [float, bool, bool, dict]


@pytest.mark.filterwarnings("ignore:.*A Box observation space m..imum value is -?infinity")
def test_gymnasium_itself_finds_nothing_wrong(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env(length=10**6)
    check_env(make_env(fake), skip_render_check=True, skip_close_check=True)


def test_an_episode_is_played(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env()
    fake.say = lambda call, agents: [{"call": call, "d": {"n": 1}}]
    env = make_env(fake)
    observation, info = env.reset(seed=3, options={"wind": 2.5})
    assert observation.tolist() == [0, 0]
    assert info == {"call": "reset", "d": {"n": 1}}
    assert fake.calls[-1]["options"] == {"wind": 2.5}
    kept = [observation, *(env.step(turn)[0] for turn in (1, 2))]
    observation, reward, terminated, truncated, info = env.step(np.int64(4))
    assert [one.tolist()[0] for one in [*kept, observation]] == [0, 1, 2, 3]  # none of them written to later
    assert (reward, terminated, truncated, info) == (4.0, True, False, {"call": "step", "d": {"n": 1}})
    with pytest.raises(ResetNeeded, match=r"the last one is over: call env\.reset\(\)"):
        env.step(0)
    env.reset()
    assert env.step(1)[:3] == (pytest.approx([11, 11]), 1.0, False)


def test_seeds_and_numbers_of_episodes_reach_the_environment(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env()
    env = make_env(fake)
    for seed in (7, None, None, 7, 9, None):
        env.reset(seed=seed)
    assert fake.begun == [(0, 7, 0), (0, 7, 1), (0, 7, 2), (0, 7, 0), (0, 9, 0), (0, 9, 1)]
    for wrong in (-1, 1.5, "3"):
        with pytest.raises((ConfigError, gymnasium.error.Error)):
            env.reset(seed=wrong)
    env.reset()
    assert fake.begun[-1] == (0, 9, 2)


def test_who_gives_no_seed_gets_another_run_each_time(fake_env: Make, make_env: MakeEnv) -> None:
    seeds = []
    for _ in range(2):
        fake = fake_env()
        make_env(fake).reset()
        seeds.append(fake.begun[0][1])
    assert seeds[0] != seeds[1]


def test_what_is_no_action_does_not_reach_the_environment(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env()
    env = make_env(fake)
    env.reset()
    for action in (5, -1, 1.0, [1], None, "1"):
        with pytest.raises(InvalidAction, match=r"action is .* The action space is Discrete"):
            env.step(action)
    assert env.step(1)[0][0] == 1  # the first step, nevertheless
    assert fake.steps_by_mailbox == 1


def test_the_order_of_calls_is_checked(fake_env: Make, make_env: MakeEnv) -> None:
    env = make_env(fake_env())
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(0), env.render):
        with pytest.raises(ClosedEnvironmentError, match="the environment was closed"):
            call()


def test_an_error_asks_for_a_reset(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env(length=100)
    env = make_env(fake, render_mode="rgb_array")
    for call, ask in {"step": lambda: env.step(0), "render": env.render, "reset": env.reset}.items():
        fake.instead.clear()
        env.reset()
        env.step(0)
        fake.instead = {call: fail(fake)}
        with pytest.raises(ScriptError, match=r"line 7 of cart\.py"):
            ask()
        with pytest.raises(ResetNeeded):
            env.step(0)
    fake.instead.clear()
    env.reset()
    fake.instead["step"] = lambda number, body: fake.post(number, -5)
    with pytest.raises(ProtocolError, match="the rest of a step has -5 bytes"):
        env.step(0)
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_nobody_who_answers_is_given_up_on_in_time(fake_env: Make, make_env: MakeEnv, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(PeerTimeout, match=r"has not answered for 0\.1 s"):
        BlenderEnv(address=f"ipc://{tmp_path}/nobody", timeout_s=0.1)
    fake = fake_env()
    env = make_env(fake, timeout_s=0.1)
    env.reset()
    fake.instead["step"] = lambda number, body: None
    with pytest.raises(PeerTimeout):
        env.step(0)
    with pytest.raises(ResetNeeded):  # for nobody knows whether the step will still be played
        env.step(0)
    fake.instead["reset"] = lambda number, body: None
    with pytest.raises(PeerTimeout):
        env.reset()
    fake.instead.clear()
    assert env.reset()[0][0] == 10  # the second episode: nobody has seen the first of these two
    assert env.step(0)[0][0] == 11
    assert time.monotonic() - started < 10


def test_a_script_that_has_ended_is_told(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env()
    env = make_env(fake)
    env.reset()
    fake.instead["step"] = lambda number, body: fake.send(Kind.END, {}, 0)
    with pytest.raises(InstanceError, match="has ended"):
        env.step(0)


def test_closing_while_nobody_answers_takes_no_time(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env()
    env = make_env(fake, timeout_s=0.1)
    env.reset()
    fake.instead["step"] = lambda number, body: None
    with pytest.raises(PeerTimeout):
        env.step(0)
    started = time.monotonic()
    env.close()
    assert time.monotonic() - started < 2


def test_the_next_client_is_served(fake_env: Make, make_env: MakeEnv) -> None:
    fake = fake_env()
    for seed in range(3):
        env = make_env(fake)
        env.reset(seed=seed)
        assert env.step(2)[1] == 2
        env.close()
    assert fake.begun == [(0, seed, 0) for seed in range(3)]


def test_pictures_are_rendered_where_they_were_asked_for(fake_env: Make, make_env: MakeEnv) -> None:
    env = make_env(fake_env(), render_mode="rgb_array")
    env.reset()
    env.step(0)
    image = env.render()
    assert (image.shape, image.dtype, image[0, 0, 0]) == ((2, 3, 3), np.uint8, 1)
    env = make_env(fake_env())
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"render_mode": "ansi"}, "render_mode is 'ansi', expected None or one of"),
        ({"script": "x.py"}, "address is given, and so is script"),
        ({"scene": "x.blend", "env_options": {"a": 1}}, "so is scene, env_options"),
        ({"blend_path": "/b"}, "so is blend_path"),
        ({"address": None}, r"script is missing: what each Blender runs"),
        ({"address": None, "script": "x.py", "env_options": {"a": object()}}, "expected what JSON can say"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BlenderEnv(**{"address": "tcp://127.0.0.1:1", "timeout_s": 0.1, **options})


def test_several_agents_are_refused(fake_env: Make) -> None:
    with pytest.raises(ConfigError, match="serves 2 agents, expected 1: use BlenderVectorEnv"):
        BlenderEnv(address=fake_env(num_agents=2).address, timeout_s=20)
