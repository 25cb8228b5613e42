"""An instance whose receivers send garbage, or ask for the impossible: it is refused, and the stream to others goes on."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from impostors import Guest
from instances import TRANSPORTS, FakeInstance
from test_codec_hostile import MUTATIONS

from blendtorch.errors import PeerTimeout, ProtocolError
from blendtorch.wire import Kind, Message, encode
from blendtorch.wire.receivers import MAX_HAVE, MAX_WINDOW, Ready
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.sample_sender import SampleSender

Start = Callable[..., FakeInstance]
transports = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def guest() -> Iterator[Callable[[FakeInstance], Guest]]:
    made: list[Guest] = []

    def make(instance: FakeInstance) -> Guest:
        made.append(Guest(instance.address))
        return made[-1]

    yield make
    for one in made:
        one.close()


def samples(number: int) -> list[dict[str, Any]]:
    return [{"number": i, "text": "x"} for i in range(number)]


def take_all(instance: FakeInstance) -> list[int]:
    receiver = SampleReceiver([instance.address])
    got: list[int] = []
    while (group := receiver.receive(10, 20)) is not None:
        got += group.seq.tolist()
        group.release()
    receiver.close()
    return got


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


READY = Ready("guest", 4).to_body()
HUGE = 1 << 16_000
ABSURD = [
    *({**READY, name: value} for name in READY for value in (None, -2 if name != "taken" else 1.5, [HUGE], b"x", {})),
    *({key: value for key, value in READY.items() if key != name} for name in READY),
    *({**READY, name: value} for name in ("window", "batch", "epoch") for value in (True, HUGE, MAX_WINDOW + 1, 0.5)),
    *({**READY, "owed": value} for value in ((0, 0), (0, 0, 0, 0), (2**53, 0, 0), (0, HUGE, 0), (True, 0, 0))),
    *({**READY, "have": value} for value in ((-1,), (HUGE,), tuple(range(MAX_HAVE + 1)), "abc")),
    *({**READY, name: "x" * 1000} for name in ("receiver", "host", "ring")),
    {**READY, "receiver": ""},
    [],
    None,
    "ready",
]


@transports
def test_absurd_messages_are_refused_and_counted(instance: Start, guest: Any, transport: str) -> None:
    started = instance(samples(300), transport)
    one = guest(started)
    for body in ABSURD:
        one.send(encode(Message(Kind.READY, body)))
    for kind in (Kind.SAMPLE, Kind.WELCOME, "", "x" * 1000):
        one.send(encode(Message(kind, READY)))
    until(lambda: started.sender.refused == len(ABSURD) + 4)
    assert not started.sender._roster.there
    assert take_all(started) == list(range(300))


@pytest.mark.parametrize("seed", range(2))
def test_mutated_messages_do_not_disturb_the_stream(instance: Start, guest: Any, seed: int) -> None:
    rng = random.Random(seed)
    started = instance(samples(500), "shm", linger_s=5)
    one = guest(started)
    good = [bytes(frame) for frame in encode(Message(Kind.READY, {**READY, "window": 0, "owed": (1, 2, 3)}))]
    for _ in range(800):
        frames = list(good)
        for _ in range(rng.choice([1, 1, 2])):
            if frames:
                rng.choice(MUTATIONS)(rng, frames)
        if frames:
            one.send(frames)
    until(lambda: started.sender.refused > 500)
    one.close()  # what was mistaken for a receiver is gone, and what was on its way to it goes to another
    assert sorted(take_all(started)) == list(range(500))


def test_ten_thousand_garbage_messages_are_a_few_lines_in_the_log(
    instance: Start, guest: Any, caplog: pytest.LogCaptureFixture
) -> None:
    started = instance(samples(300), "tcp")
    one = guest(started)
    with caplog.at_level(logging.WARNING):
        for i in range(10_000):
            one.send([b"garbage", b"%d" % i])
        assert take_all(started) == list(range(300))
        until(lambda: started.sender.refused == 10_000)
    assert 0 < len(caplog.records) < 20
    assert "8192 so far" in caplog.text


def test_garbage_without_end_does_not_stop_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = SampleSender(f"ipc://{tmp_path}/s", 0)

    def garbage(timeout_s: float) -> None:
        raise ProtocolError("garbage")

    monkeypatch.setattr(sender._router, "recv", garbage)
    with pytest.raises(PeerTimeout):
        sender.publish({}, timeout_s=0.05)
    assert sender.refused
    sender.close(0)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_who_wants_all_and_leaves_keeps_nothing(instance: Start, guest: Any, transport: str) -> None:
    started = instance(samples(500), transport, linger_s=10)
    one = guest(started)
    one.say_ready(window=MAX_WINDOW)
    until(lambda: started.published > 100)
    one.close()
    assert sorted(take_all(started)) == list(range(500))


@transports
def test_who_wants_the_stream_from_its_very_end_on_gets_it(instance: Start, guest: Any, transport: str) -> None:
    """And the script does not fail for it."""
    last = (1 << 48) - 1
    started = instance(samples(20), transport, num_instances=16)
    guest(started).say_ready(owed=(last, last, last), host="elsewhere", window=1)
    until(lambda: started.sender.resumed.seq == last)
    receiver = SampleReceiver([started.address])
    group = receiver.receive(1, 10)
    assert group is not None
    assert group.seq[0] >= last
    assert group.index[0] == 7 + 16 * group.seq[0]
    group.release()
    receiver.close()


def test_confirming_what_was_not_sent_changes_nothing(instance: Start, guest: Any) -> None:
    started = instance(samples(100), "tcp", linger_s=10)
    one = guest(started)
    for taken in (0, 99, 2**60, -1, HUGE):
        one.say_ready(receiver="other", window=0, taken=taken)
        one.say_ready(receiver="other", taken=taken)
    until(lambda: started.published > 5)
    one.close()
    assert sorted(take_all(started)) == list(range(100))
