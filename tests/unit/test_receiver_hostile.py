"""A receiver whose instance sends garbage: it is refused and counted, the samples among it come, memory is bounded."""

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from impostors import Impostor
from test_codec_hostile import MUTATIONS

from blendtorch.errors import PeerTimeout, PickleNotAllowedError, ProtocolError, ProtocolVersionError, ScriptError
from blendtorch.wire import Kind, Message, encode
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.source import Source

WINDOW = 4
GOOD = 10_000_000  # the number of the first good sample: mutations do not make any of so many digits
MB = 1 << 20


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    impostor = Impostor(f"ipc://{tmp_path}/s")
    yield impostor
    impostor.close()


@pytest.fixture
def receiver(impostor: Impostor) -> Iterator[SampleReceiver]:
    receiver = SampleReceiver([impostor.address], queue_size=WINDOW)
    impostor.meet(receiver)
    yield receiver
    receiver.close()


@pytest.fixture
def source(receiver: SampleReceiver) -> Source:
    return receiver.sources[0]


def good(number: int) -> list[Any]:
    body = {"image": np.full((4, 4), number % 256, np.uint8), "text": str(number), "good": number}
    return encode(Message(Kind.SAMPLE, body, 7, 0, GOOD + number, index=number, time_us=1, waited_us=1))


def until(receiver: SampleReceiver, last: int) -> tuple[list[int], int]:
    """Takes until the good sample of this number has come; the good ones, and how often a documented error came instead."""
    got: list[int] = []
    raised = 0
    while not got or got[-1] != last:
        try:
            group = receiver.receive(5, 10)
        except (ProtocolVersionError, PickleNotAllowedError):
            raised += 1
            continue
        assert group is not None
        for item in group.items():
            if "good" in item and item["btseq"] >= GOOD:
                assert (item["image"] == item["good"] % 256).all()
                got.append(item["good"])
        group.release()
    return got, raised


def rss() -> int:
    return psutil.Process().memory_info().rss


def bait() -> list[list[bytes]]:
    """Honest messages to mutate."""
    bodies = [
        {"image": np.zeros((3, 5, 4), np.uint8), "name": "cube", "boxes": [(1, 2.5), (3, None)], "id": np.int32(7)},
        {f"x{i}": np.arange(i, dtype=np.float32) for i in range(12)},
        {"raw": b"abc", "long": 2**90, "nested": {"a": {1: np.arange(4)}}, "empty": np.empty((0, 7))},
    ]
    messages = [Message(Kind.SAMPLE, body, 7, 0, 5, index=3, time_us=10**15, waited_us=7) for body in bodies]
    return [[bytes(frame) for frame in encode(message)] for message in messages]


@pytest.mark.parametrize("seed", range(2))
def test_good_samples_come_through_mutated_ones(
    impostor: Impostor, receiver: SampleReceiver, source: Source, seed: int
) -> None:
    rng, baits = random.Random(seed), bait()
    mutated = 0
    for number in range(100):
        for _ in range(5):
            frames = list(rng.choice(baits))
            for _ in range(rng.choice([1, 1, 2, 3])):
                if frames:
                    rng.choice(MUTATIONS)(rng, frames)
            if frames:
                impostor.send(frames)
                mutated += 1
        impostor.send(good(number))
    got, raised = until(receiver, 99)
    assert got == list(range(100))
    counted = source.refused + raised + source.account.received - len(got) + source.account.duplicated
    assert counted == mutated
    assert source.refused > mutated / 2


def test_ten_thousand_garbage_messages_cost_little(
    impostor: Impostor, receiver: SampleReceiver, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(1)
    before = rss()
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            for _ in range(100):
                impostor.send([rng.randbytes(rng.randrange(100)) for _ in range(rng.randint(1, 3))])
            impostor.send(good(number))
        assert until(receiver, 99)[0] == list(range(100))
    assert source.refused == 10_000
    assert rss() - before < 50 * MB
    assert 0 < len(caplog.records) < 20
    assert "8192 so far" in caplog.text


def test_a_flood_is_not_taken_in(impostor: Impostor, receiver: SampleReceiver, source: Source) -> None:
    """An instance that does not mind the window: what waits here is bounded, and each call returns."""
    for number in range(700):
        impostor.send(good(number))
    time.sleep(0.1)
    for _ in range(20):
        source.listen()
        assert source.queued <= 2 * WINDOW + 64
    assert until(receiver, 699)[0] == list(range(700))


def test_garbage_without_end_does_not_hold_up_a_timeout(
    receiver: SampleReceiver, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def garbage() -> None:
        raise ProtocolError("garbage")

    monkeypatch.setattr(source.socket, "try_recv", garbage)
    with pytest.raises(PeerTimeout):
        receiver.receive(1, 0.05)
    assert source.refused


def test_a_header_of_a_gigabyte_is_refused(impostor: Impostor, receiver: SampleReceiver, source: Source) -> None:
    before = rss()
    impostor.send([bytes(1 << 30)], copy=False)
    impostor.send([good(0)[0], *[b"x"] * 100_000])
    impostor.send(good(1))
    assert until(receiver, 1)[0] == [1]
    assert source.refused == 2
    assert rss() - before < 200 * MB


STRANGE_SAMPLES = {
    "keys are bytes": {b"a": 1},
    "keys are numbers": {1: np.arange(3), 2.5: 1},
    "keys are tuples": {(1, 2): 1},
    "key is none": {None: np.arange(3)},
    "no dict": [1, 2],
    "nothing": None,
}


@pytest.mark.parametrize("name", STRANGE_SAMPLES)
def test_a_sample_that_is_none_is_refused(
    impostor: Impostor, receiver: SampleReceiver, source: Source, name: str
) -> None:
    impostor.say(Kind.SAMPLE, STRANGE_SAMPLES[name], 5)
    impostor.send(good(0))
    assert until(receiver, 0)[0] == [0]
    assert (source.refused, source.account.received) == (1, 1)


def test_a_sample_may_be_called_as_what_is_added(impostor: Impostor, receiver: SampleReceiver) -> None:
    impostor.say(Kind.SAMPLE, {"btid": "mine", "btseq": -1, "x": np.zeros((1,) * 32)}, 5)
    group = receiver.receive(1, 5)
    assert group is not None
    (item,) = group.items()
    assert (item["btid"], item["btseq"], item["x"].ndim) == (7, 5, 32)


@pytest.mark.parametrize("kind", ["ready", "hello", "beat", "duplex", "", "x" * 100_000, "sample "])
def test_other_kinds_are_refused(impostor: Impostor, receiver: SampleReceiver, source: Source, kind: str) -> None:
    impostor.send(encode(Message(kind, {"window": 1}, 7)))
    impostor.send(good(0))
    assert until(receiver, 0)[0] == [0]
    assert source.refused == 1


LONG = 1 << 16_000  # too long for str()
PATHS = [
    None,
    5,
    LONG,
    [LONG],
    {},
    b"/dev/shm/x",
    np.zeros(3),
    "",
    "/",
    "/dev/shm",
    "/etc/passwd",
    "/dev/shm/../../etc/passwd",
    "/dev/shmx/y",
    "dev/shm/x",
    "/dev/shm/a\0b",
    "/dev/shm/a\nb",
    "/dev/shm/\ud800",
    "/dev/shm" + "/a" * 100_000,
    "/dev/shm/" + "a" * 500_000,
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_shared_memory_elsewhere_is_refused(
    impostor: Impostor, receiver: SampleReceiver, source: Source, path: Any
) -> None:
    impostor.say(Kind.WELCOME, {"stream": "s", "path": path, "token": 1})
    impostor.send(good(0))
    assert until(receiver, 0)[0] == [0]
    source.listen()
    assert source.refused == 1
    assert not source.reads_ring
    assert source._host  # it still takes shared memory


@pytest.mark.parametrize("token", [None, "1", 1.0, True, [1], LONG, -LONG, b"1", np.int64(1)], ids=range(9))
def test_a_token_of_another_type_is_refused(
    impostor: Impostor, receiver: SampleReceiver, source: Source, token: Any
) -> None:
    impostor.say(Kind.WELCOME, {"stream": "s", "path": "/dev/shm/none", "token": token})
    impostor.say(Kind.WELCOME, [1, "path"])
    impostor.send(good(0))
    assert until(receiver, 0)[0] == [0]
    source.listen()
    assert source.refused in (1, 2)  # a long number is a number, for a file that is not there
    assert source.refused == 2 or type(token) is int


def test_a_ring_that_is_gone_is_asked_for_again_and_not_for_ever(
    impostor: Impostor, receiver: SampleReceiver, source: Source
) -> None:
    """It may have been read out by others, and removed, while the message was on its way."""
    for _ in range(4):
        impostor.say(Kind.WELCOME, {"stream": "s", "path": "/dev/shm/none", "token": 1})
        time.sleep(0.02)
        source.listen()
    assert source._host
    impostor.say(Kind.WELCOME, {"stream": "s", "path": "/dev/shm/none", "token": 1})
    time.sleep(0.02)
    source.listen()
    assert not source._host  # by message, then


@pytest.mark.parametrize("body", [None, [], {}, {"error": LONG, "traceback": [LONG]}, {"error": "x", "traceback": 1}])
def test_an_error_of_any_shape_is_a_script_error(impostor: Impostor, receiver: SampleReceiver, body: Any) -> None:
    impostor.say(Kind.ERROR, body)
    with pytest.raises(ScriptError):
        receiver.receive(1, 5)


@pytest.mark.parametrize("body", [None, [], {}, {"made": LONG}, {"made": "1"}, {"made": -1, "final": []}])
def test_an_end_of_any_shape_is_an_end(impostor: Impostor, receiver: SampleReceiver, body: Any) -> None:
    impostor.send(good(0))
    impostor.say(Kind.END, body)
    assert until(receiver, 0)[0] == [0]
    assert receiver.receive(1, 5) is None
