"""What is on its way to a receiver by message: as much as stays in the processor's cache, confirmed as it is taken."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from blendtorch.errors import PeerTimeout
from blendtorch.wire import Kind, Message
from blendtorch.wire.receivers import BYTES_ON_THEIR_WAY, Ready
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.sample_sender import SampleSender
from blendtorch.wire.sockets import MessageSocket
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

MB = 1 << 20


@pytest.fixture
def sender() -> Iterator[SampleSender]:
    sender = SampleSender("tcp://127.0.0.1:*", 7, queue_size=1000, shm_bytes=0)
    yield sender
    sender.close(0)


@pytest.fixture
def dealer(sender: SampleSender) -> Iterator[MessageSocket]:
    """A receiver that says what it is told to."""
    dealer = MessageSocket("dealer", sender.address, bind=False)
    yield dealer
    dealer.close()


def say(dealer: MessageSocket, sender: SampleSender, **options: Any) -> None:
    ready = Ready("one", **{"window": 1000, **options})
    dealer.send(Message(Kind.READY, ready.to_body()), 5)
    for _ in range(10):
        sender.service(timeout_s=0.02)


@pytest.mark.parametrize(("size", "most"), [(1 * MB, 16), (5 * MB, 4), (20 * MB, 2)])
def test_no_more_bytes_are_on_their_way(sender: SampleSender, dealer: MessageSocket, size: int, most: int) -> None:
    """Two samples are, however large: one is sent while the other is used."""
    image = np.zeros(size, np.uint8)
    say(dealer, sender)
    sent = 0
    with pytest.raises(PeerTimeout):
        while sent < 100:
            sender.publish({"image": image}, timeout_s=0.05)
            sent += 1
    assert sent == most
    say(dealer, sender, taken=most - 1)
    sender.publish({"image": image}, timeout_s=5)


@pytest.mark.parametrize(
    "wrap",
    [lambda data: np.frombuffer(data, np.uint8), lambda data: data, lambda data: [{"png": data}]],
    ids=["array", "bytes", "nested"],
)
def test_whatever_is_large_is_confirmed_as_it_is_taken(sender: SampleSender, wrap: Callable[[bytes], Any]) -> None:
    """Not twice a second: the sender would wait for each half."""
    sample = {"x": wrap(bytes(BYTES_ON_THEIR_WAY // 4))}
    receiver = SampleReceiver([sender.address], queue_size=1000)
    receiver.sources[0].say_ready()
    receiver._say_ready_at = time.monotonic() + 60  # it says no more than it has to

    def publish() -> None:
        for _ in range(12):
            sender.publish(sample, timeout_s=10)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        assert [int(receiver.receive(1, 10).seq[0]) for _ in range(12)] == list(range(12))
    finally:
        thread.join(20)
        receiver.close()


def test_a_confirmation_is_no_question(sender: SampleSender, dealer: MessageSocket) -> None:
    """Who reads no ring is welcomed once; answers would wait at a receiver that is slow to read."""
    say(dealer, sender)
    assert dealer.recv(5).kind == Kind.WELCOME
    for _ in range(3):
        say(dealer, sender)
    with pytest.raises(PeerTimeout):
        dealer.recv(0.2)


def test_what_is_known_of_another_stream_counts_for_nothing(sender: SampleSender, dealer: MessageSocket) -> None:
    say(dealer, sender, stream="another", owed=(50, 50, 0), have=(0, 1, 2), taken=2)
    sender.publish({"number": 1}, timeout_s=5)
    messages = [dealer.recv(5), dealer.recv(5)]
    assert [message.kind for message in messages] == [Kind.WELCOME, Kind.SAMPLE]
    assert messages[0].body["stream"]
    assert messages[1].seq == 0
