"""What an environment can answer that is none: ProtocolError, never a hang, and the next answer is read again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_env import WAIT_S, FakeEnv, begin, step, without

from blendtorch.btt.env.connection import EnvConnection
from blendtorch.errors import ProtocolError
from blendtorch.wire import Kind, Message, encode
from blendtorch.wire.mailbox import REST_BYTES
from blendtorch.wire.rest import pack
from blendtorch.wire.spaces import Box, Dict, Discrete, MultiBinary, Tuple

Make = Callable[..., FakeEnv]
Connect = Callable[..., EnvConnection]

OPENED: list[dict[str, Any]] = [
    *({name: "-"} for name in ("observation_space", "action_space", "num_agents", "metadata", "real_time")),
    *({"num_agents": number} for number in (0, -1, 1 << 20, 1.0, "1", None, True, 16**4095)),
    *({"observation_space": space} for space in (None, {}, "Box", {"space": "Box"}, [], np.zeros(2))),
    *({"max_episode_steps": number} for number in (0, -3, 1.5, "9", 2**60)),
    *({"metadata": metadata} for metadata in (None, [], "m")),
    *({"real_time": real_time} for real_time in (None, 0, "yes")),
    {"num_agents": 1 << 19, "observation_space": Box(0, 1, (10**4,)).to_body()},
    {"action_space": Tuple([Discrete(2)] * 31).to_body()},
    {"mailbox": {}},
    {"mailbox": {"path": "/etc/passwd", "token": 3}},
    {"mailbox": {"path": "/dev/shm/../../etc/passwd", "token": 3}},
    {"mailbox": {"path": "/dev/shm/x", "token": "3"}},
]


@pytest.mark.parametrize("opened", OPENED, ids=[str(number) for number in range(len(OPENED))])
def test_what_an_environment_cannot_say_of_itself_is_refused(
    fake_env: Make, connect: Connect, opened: dict[str, Any]
) -> None:
    fake = fake_env()
    fake.opened = opened
    with pytest.raises(ProtocolError) as caught:
        connect(fake)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("body", [None, [], 3, "x", np.zeros(2), {}])
@pytest.mark.parametrize("call", ["open", "reset", "render"])
def test_an_answer_that_is_none_is_refused(fake_env: Make, connect: Connect, call: str, body: Any) -> None:
    fake = fake_env()
    connection = connect(fake)
    fake.instead[call] = lambda number, asked: fake.send(Kind.REPLY, body, number)
    with pytest.raises(ProtocolError):
        {
            "open": lambda: connection.open("Disabled", None, WAIT_S),
            "reset": lambda: begin(connection),
            "render": lambda: connection.render(WAIT_S),
        }[call]()


@pytest.mark.parametrize(
    "image",
    [None, 3, [[[1, 2, 3]]], np.zeros((2, 3), np.uint8), np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 3))],
)
def test_a_picture_that_is_none_is_refused(fake_env: Make, connect: Connect, image: Any) -> None:
    fake = fake_env()
    connection = connect(fake)
    fake.instead["render"] = lambda number, body: fake.send(Kind.REPLY, {"image": image}, number)
    with pytest.raises(ProtocolError, match=r"picture .* expected uint8 \(height, width, 3\)"):
        connection.render(WAIT_S)


COMPOSED = Dict({"a": Box(-9, 99, (2,)), "b": MultiBinary(3)})


@pytest.fixture
def opened(fake_env: Make, connect: Connect, request: pytest.FixtureRequest) -> tuple[FakeEnv, EnvConnection]:
    """An environment of two agents, in an episode."""
    fake = fake_env(num_agents=2, mailbox=request.param, observation_space=COMPOSED)
    connection = connect(fake, "SameStep")
    begin(connection)
    return fake, connection


def changed(fake: FakeEnv, **changes: Any) -> dict[str, Any]:
    names = ("observations", "rewards", "terminated", "truncated", "final_observations")
    return without({name: getattr(fake.arrays, name) for name in names} | changes)


A, B = np.zeros((2, 2), np.float32), np.zeros((2, 3), np.int8)
STEPS: list[dict[str, Any]] = [
    *({name: "-"} for name in ("observations", "rewards", "terminated", "truncated")),
    *({"observations": value} for value in (None, [], {}, [A], [A, B, B], [B, A], [A, None], [A, B.tolist()], A)),
    *({"observations": [value, B]} for value in (A[:1], A.astype("f8"), A[:, :1], A[None], 3, np.float32(3))),
    *({"rewards": value} for value in (None, [0, 0], 0.0, np.zeros(2, "f4"), np.zeros(3), np.zeros((2, 1)), {})),
    *({"terminated": value} for value in (None, [True, False], np.zeros(2), np.zeros(2, np.int8), False)),
    *({"begun": value} for value in ([0], 0, "a", np.array([2]), np.array([-1]), np.array([0.0]), np.array([True]))),
    *({"begun": value} for value in (np.array([1, 0]), np.array([0, 0]), np.array([[0]]), np.array(0))),
    *({"begun": np.array([0]), "final_observations": value} for value in ("-", None, [], [A, A], [A[:1], B])),
    *({"begun": np.array([0]), "begun_infos": value} for value in ([{}, {}], {"n": np.zeros(2)}, 3, "x", [3])),
    *({"infos": value} for value in (3, "x", [{}], [{}, None], [{}, 3], {"n": 3}, {"n": np.zeros(3)}, np.zeros(2))),
    *({"infos": {"n": value}} for value in (np.array(1), [1], (1, 2, 3), "ab", {"m": [1]}, {"m": {"k": 2}}, None)),
]


@pytest.mark.parametrize("opened", [False], indirect=True)
@pytest.mark.parametrize("changes", STEPS, ids=[str(number) for number in range(len(STEPS))])
def test_a_step_that_came_malformed_by_message_is_refused(
    opened: tuple[FakeEnv, EnvConnection], changes: dict[str, Any]
) -> None:
    fake, connection = opened
    fake.instead["step"] = lambda number, body: fake.send(Kind.REPLY, changed(fake, **changes), number)
    with pytest.raises(ProtocolError) as caught:
        step(connection)
    assert len(str(caught.value)) < 1000
    fake.instead.clear()
    step(connection)


def put(fake: FakeEnv, number: int, rest: bytes, rest_bytes: int | None = None) -> None:
    assert fake.mailbox is not None
    fake.mailbox.rest[: len(rest)] = rest
    fake.post(number, len(rest) if rest_bytes is None else rest_bytes)


def rest_of(body: Any, **options: Any) -> bytes:
    return pack(encode(Message(Kind.REPLY, body), **options))


RESTS: list[tuple[bytes, int | None]] = [
    *((rest_of({}), size) for size in (-5, -(2**63), 10**9, REST_BYTES + 1, REST_BYTES, 1, 7, 8, 2**62, 2**63 - 1)),
    (b"\xff" * 64, None),
    (b"\0" * 64, None),
    (b"\0" * REST_BYTES, None),
    (rest_of({})[:-1], None),
    (rest_of({}) + b"x", None),
    *((rest_of(body), None) for body in (None, [], 3, "x", [{}], np.zeros(3))),
    (rest_of({"infos": [{"z": 1j}, {}]}, allow_pickle=True), None),
    *((rest_of(changes), None) for changes in STEPS if changes.keys() & {"infos", "begun_infos"}),
    *((rest_of(changes), None) for changes in STEPS if changes.keys() == {"begun"}),
]


@pytest.mark.parametrize("opened", [True], indirect=True)
@pytest.mark.parametrize(("rest", "size"), RESTS, ids=[str(number) for number in range(len(RESTS))])
def test_a_step_that_came_malformed_through_the_mailbox_is_refused(
    opened: tuple[FakeEnv, EnvConnection], rest: bytes, size: int | None
) -> None:
    fake, connection = opened
    fake.instead["step"] = lambda number, body: put(fake, number, rest, size)
    with pytest.raises(ProtocolError) as caught:
        step(connection)
    assert len(str(caught.value)) < 1000
    fake.instead.clear()
    step(connection)


@pytest.mark.parametrize("opened", [True], indirect=True)
def test_what_is_no_bool_in_the_mailbox_becomes_one(opened: tuple[FakeEnv, EnvConnection]) -> None:
    fake, connection = opened

    def forge(number: int, body: dict[str, Any]) -> None:
        assert fake.mailbox is not None
        fake.mailbox.arrays.terminated.view(np.uint8)[:] = 2, 0
        fake.mailbox.arrays.truncated.view(np.uint8)[:] = 255, 0
        put(fake, number, b"")

    fake.instead["step"] = forge
    step(connection)
    assert connection.arrays.terminated.view(np.uint8).tolist() == [1, 0]
    assert connection.arrays.truncated.view(np.uint8).tolist() == [1, 0]


@pytest.mark.parametrize("mailbox", [True, False], ids=["mailbox", "messages"])
def test_garbage_on_the_socket_is_refused(fake_env: Make, connect: Connect, mailbox: bool) -> None:
    fake = fake_env(mailbox=mailbox)
    connection = connect(fake)
    begin(connection)
    fake.instead["step"] = lambda number, body: fake._socket._socket.send(b"garbage")
    with pytest.raises(ProtocolError, match="not a BlendTorch message"):
        step(connection)
    fake.instead.clear()
    step(connection)
