"""The client's end of an environment: requests and replies, by message and through the mailbox, and what goes wrong."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from fake_env import WAIT_S, FakeEnv, begin, step
from space_samples import SPACES

from blendtorch.btt.env.connection import EnvConnection
from blendtorch.errors import InstanceError, PeerTimeout, ScriptError
from blendtorch.wire import Kind, Message
from blendtorch.wire.mailbox import BY_MESSAGE, REST_BYTES

SHORT_S = 0.15
Make = Callable[..., FakeEnv]
TRANSPORTS = pytest.mark.parametrize("mailbox", [True, False], ids=["mailbox", "messages"])


Connect = Callable[..., EnvConnection]


def assert_rows(leaf: np.ndarray, values: list[int]) -> None:
    for row, value in zip(leaf, values, strict=True):
        assert (row == np.array(value).astype(leaf.dtype)).all()


def raise_error(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("name", SPACES)
def test_the_spaces_come_from_the_environment(fake_env: Make, connect: Connect, name: str) -> None:
    connection = connect(fake_env(observation_space=SPACES[name], action_space=SPACES["nested"], num_agents=3))
    found = connection.description
    assert found.observation_space == SPACES[name]
    assert found.action_space == SPACES["nested"]
    assert (found.num_agents, found.max_episode_steps, found.real_time) == (3, None, False)
    assert found.metadata == {"render_fps": 30.0}


@TRANSPORTS
@pytest.mark.parametrize("name", [name for name in SPACES if "of all" not in name])
def test_steps_by_message_and_by_mailbox_give_the_same(
    fake_env: Make, connect: Connect, mailbox: bool, name: str
) -> None:
    fake = fake_env(num_agents=2, mailbox=mailbox, observation_space=SPACES[name], action_space=SPACES["nested"])
    fake.say = lambda call, agents: {"n": agents + 5} if call == "step" else [{"agent": int(a)} for a in agents]
    connection = connect(fake, "SameStep")
    connection.begin_reset(np.array([0, 1]), [4, 5], [6, 9], {"a": 1}, WAIT_S)
    observations, infos = connection.end_reset(2, WAIT_S)
    assert infos == [{"agent": 0}, {"agent": 1}]
    assert fake.begun == [(0, 4, 6), (1, 5, 9)]
    assert fake.calls[-1]["options"] == {"a": 1}
    for leaf in observations:
        assert_rows(leaf, [60, 90])
    for turn in (1, 2, 3):
        said = step(connection)
        arrays = connection.arrays
        assert_exact(said["infos"], {"n": np.array([5, 6])})
        assert arrays.rewards.tolist() == [float(sum(leaf[0].size for leaf in arrays.actions))] * 2
        assert (arrays.terminated.tolist(), arrays.truncated.tolist()) == ([turn == 3, False], [False, turn == 3])
        for leaf in arrays.observations:
            assert_rows(leaf, [70, 100] if turn == 3 else [60 + turn, 90 + turn])
        assert (said.get("begun") is not None) == (turn == 3)
    assert said["begun"].tolist() == [0, 1]
    assert said["begun_infos"] == [{"agent": 0}, {"agent": 1}]
    for leaf in arrays.final_observations:
        assert_rows(leaf, [63, 93])
    assert fake.steps_by_mailbox == (3 if mailbox else 0)


def test_a_reply_that_is_too_long_for_the_mailbox_comes_by_message(fake_env: Make, connect: Connect) -> None:
    fake = fake_env()
    text = "x" * (REST_BYTES + 1)
    fake.instead["step"] = lambda number, body: fake.reply(number, {"infos": [{"s": text}]}, by_message=True)
    connection = connect(fake)
    begin(connection)
    assert step(connection)["infos"] == [{"s": text}]
    fake.instead.clear()
    assert step(connection) == {}
    assert fake.steps_by_mailbox == 2


def test_a_mailbox_that_cannot_be_opened_here_is_done_without(fake_env: Make, connect: Connect) -> None:
    fake = fake_env()
    fake.opened["mailbox"] = {"path": "/dev/shm/blendtorch-is-not-there", "token": 3}
    connection = connect(fake)
    assert [call["host"] != "" for call in fake.calls] == [True, False]
    begin(connection)
    step(connection)
    assert fake.steps_by_mailbox == 0


@TRANSPORTS
def test_many_steps_and_resets_lose_nothing(fake_env: Make, connect: Connect, mailbox: bool) -> None:
    fake = fake_env(length=20, mailbox=mailbox)
    connection = connect(fake)
    for episode in range(15):
        connection.begin_reset(np.array([0]), [0], [episode], None, WAIT_S)
        connection.end_reset(1, WAIT_S)
        for turn in range(1, 21):
            step(connection, turn % 5)
            assert connection.arrays.observations[0][0, 0] == 10 * episode + turn
            assert connection.arrays.rewards[0] == turn % 5


def test_numbers_begin_anywhere(fake_env: Make) -> None:
    # An environment may still answer to a client that has left, and this one must not take that for its own.
    first, second = (EnvConnection(fake_env().address, 0, None, lambda: None) for _ in range(2))
    assert first.number != second.number
    first.close()
    second.close()


@TRANSPORTS
@pytest.mark.parametrize("call", ["open", "reset", "step", "render"])
def test_an_error_in_blender_is_raised_with_its_traceback(
    fake_env: Make, connect: Connect, mailbox: bool, call: str
) -> None:
    fake = fake_env(mailbox=mailbox)
    body = {"error": "ValueError: no cart", "traceback": "line 7 of cart.py"}

    def fail(number: int, asked: dict[str, Any]) -> None:
        fake.send(Kind.ERROR, body, number)
        fake.post(number, BY_MESSAGE)

    connection = connect(fake)
    begin(connection)
    fake.instead[call] = fail
    ask = {
        "open": lambda: connection.open("Disabled", None, WAIT_S),
        "reset": lambda: begin(connection),
        "step": lambda: step(connection),
        "render": lambda: connection.render(WAIT_S),
    }[call]
    with pytest.raises(ScriptError, match=r"instance 0 failed: ValueError: no cart\n.*\nline 7 of cart\.py"):
        ask()
    fake.instead.clear()
    ask()


@TRANSPORTS
def test_an_instance_that_fails_or_ends_is_told(fake_env: Make, connect: Connect, mailbox: bool) -> None:
    fake = fake_env(mailbox=mailbox)
    connection = connect(fake)
    begin(connection)
    fake.instead["step"] = lambda number, body: fake.send(Kind.ERROR, {"error": "x", "traceback": "y"}, 0)
    with pytest.raises(ScriptError, match="instance 0 failed: x"):
        step(connection)
    fake.instead["step"] = lambda number, body: fake.send(Kind.END, {}, 0)
    with pytest.raises(InstanceError, match="the script of Blender instance 3 has ended"):
        step(connection)


def answer_late(fake: FakeEnv, number: int, body: dict[str, Any]) -> None:
    """Answers first what others have asked for, then this; and rings the bell, for nothing, in between."""
    for kind, seq in [(Kind.REPLY, number - 1), (Kind.ERROR, number - 1), (Kind.REPLY, number + 10**6), ("?", number)]:
        fake.send(kind, {"error": "an old one", "observations": [], "image": 3}, seq)
        fake.send(Kind.BELL, None, number)
    name = "step" if not body else body["call"]
    getattr(fake, f"_{name}")(number, body)


@TRANSPORTS
def test_late_replies_are_passed_over(fake_env: Make, connect: Connect, mailbox: bool) -> None:
    fake = fake_env(mailbox=mailbox, length=100)
    late = partial(answer_late, fake)
    fake.instead = {"open": late, "reset": late, "step": late, "render": late}
    connection = connect(fake)
    for _ in range(3):
        begin(connection)
        for turn in range(1, 4):
            step(connection)
            assert connection.arrays.observations[0][0, 0] == turn
        assert connection.render(WAIT_S)[0, 0, 0] == 3


@TRANSPORTS
def test_a_request_that_was_given_up_on_does_not_disturb_the_next(
    fake_env: Make, connect: Connect, mailbox: bool
) -> None:
    fake = fake_env(mailbox=mailbox, length=100)
    connection = connect(fake)
    begin(connection)
    held: list[tuple[int, dict[str, Any]]] = []
    fake.instead["render"] = lambda number, body: held.append((number, body))
    with pytest.raises(PeerTimeout):
        connection.render(SHORT_S)

    def answer_both(number: int, body: dict[str, Any]) -> None:
        fake._render(*held[0])  # now, after so long
        fake._step(number, body)

    fake.instead = {"step": answer_both}
    step(connection)
    assert connection.arrays.observations[0][0, 0] == 1


@TRANSPORTS
@pytest.mark.parametrize("call", ["reset", "step", "render"])
def test_who_does_not_answer_is_given_up_on_in_time(fake_env: Make, connect: Connect, mailbox: bool, call: str) -> None:
    fake = fake_env(mailbox=mailbox)
    checks: list[int] = []
    connection = connect(fake, check=lambda: checks.append(1))
    begin(connection)
    fake.instead[call] = lambda number, body: None
    started = time.monotonic()
    with pytest.raises(PeerTimeout, match=r"instance 3 at .* has not answered for 0\.15 s"):
        {
            "reset": lambda: connection.call("reset", SHORT_S, agents=np.zeros(0, int)),
            "step": lambda: step(connection, timeout_s=SHORT_S),
            "render": lambda: connection.render(SHORT_S),
        }[call]()
    assert SHORT_S <= time.monotonic() - started < 10
    assert checks  # that its Blender lives


@TRANSPORTS
def test_who_babbles_without_answering_is_given_up_on_in_time(fake_env: Make, connect: Connect, mailbox: bool) -> None:
    fake = fake_env(mailbox=mailbox)
    connection = connect(fake)
    begin(connection)

    def babble(number: int, body: dict[str, Any]) -> None:
        until = time.monotonic() + 4 * SHORT_S
        while time.monotonic() < until:
            fake._socket.try_send(Message(Kind.BELL, None, 0, seq=number))
            fake._socket.try_send(Message(Kind.REPLY, {}, 0, seq=number - 1))

    fake.instead["step"] = babble
    with pytest.raises(PeerTimeout):
        step(connection, timeout_s=SHORT_S)


def test_a_client_waits_until_the_last_one_has_left(fake_env: Make) -> None:
    fake = fake_env()
    first, second = (EnvConnection(fake.address, 0, None, lambda: None) for _ in range(2))
    first.open("Disabled", None, WAIT_S)
    with pytest.raises(PeerTimeout, match="is another client connected"):
        second.open("Disabled", None, SHORT_S)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(second.open, "Disabled", None, WAIT_S)
        begin(first)
        step(first)
        first.close()
        opening.result(WAIT_S)
    begin(second)
    step(second)
    second.close()


def test_nobody_there_is_given_up_on_in_time(tmp_path: Any) -> None:
    connection = EnvConnection(f"ipc://{tmp_path}/nobody", 0, None, lambda: None)
    with pytest.raises(PeerTimeout):
        connection.open("Disabled", None, SHORT_S)
    connection.close()


def test_the_check_ends_the_wait(fake_env: Make, connect: Connect) -> None:
    fake = fake_env()
    connection = connect(fake, check=lambda: raise_error(InstanceError("it has died")))
    fake.instead["render"] = lambda number, body: None
    with pytest.raises(InstanceError, match="it has died"):
        connection.render(None)
    connection.close()  # raises nothing, whatever the check says
    connection.close()


@TRANSPORTS
def test_who_closes_says_farewell_and_does_not_wait(fake_env: Make, mailbox: bool) -> None:
    fake = fake_env(mailbox=mailbox)
    connection = EnvConnection(fake.address, 0, None, lambda: None)
    connection.open("Disabled", None, WAIT_S)
    fake.instead["close"] = lambda number, body: None
    connection.close()
    deadline = time.monotonic() + WAIT_S
    while fake.calls[-1]["call"] != "close" and time.monotonic() < deadline:
        time.sleep(0.005)
    assert fake.calls[-1] == {"call": "close"}
