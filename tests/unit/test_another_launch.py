"""A receiver that outlives a launch, and finds another one at the same address: the panel's Stop and Start."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from instances import TRANSPORTS
from loader_samples import fields, numbers

from blendtorch.btt import StreamLoader
from blendtorch.errors import AddressError, PeerTimeout
from blendtorch.wire import Kind, Message, encode
from blendtorch.wire.ledger import Position
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.sample_sender import SampleSender
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

Launch = Callable[[int], None]


@pytest.fixture(params=TRANSPORTS)
def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Launch, str]]:
    """Ends the launch before, without a farewell, and starts one at the same address; and the address."""
    address = "tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{tmp_path}/DATA"
    options = {} if request.param == "shm" else {"shm_bytes": 0}
    senders = [SampleSender(address, 7, **options)]
    address = senders[0].address
    leave = threading.Event()
    threads: list[threading.Thread] = []

    def bind() -> SampleSender:
        while True:
            with contextlib.suppress(AddressError):  # ZeroMQ lets go of it in the background
                return SampleSender(address, 7, **options)

    def publish(first: int) -> None:
        sender = senders.pop() if senders else bind()
        number = first
        while number < first + 10 and not leave.is_set():
            with contextlib.suppress(PeerTimeout):
                sender.publish(fields(number), timeout_s=0.01)
                number += 1
        while not leave.is_set():
            sender.service(timeout_s=0.01)
        sender.close(0, ended=False)

    def end() -> None:
        leave.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        leave.clear()

    def start(first: int) -> None:
        end()
        threads.append(threading.Thread(target=publish, args=(first,), daemon=True))
        threads[-1].start()

    yield start, address
    end()


@pytest.mark.parametrize("copy", [True, False])
def test_the_next_launch_is_delivered_too(launch: tuple[Launch, str], copy: bool) -> None:
    """Its samples have the numbers of those before: they are not taken for these again."""
    start, address = launch
    got: list[list[int]] = []
    views = []
    with StreamLoader(address, 4, copy=copy, timeoutms=20_000) as loader:
        batches = iter(loader)
        for first in (0, 100, 200):
            start(first)
            while not got or first + 7 not in got[-1]:
                got.append(numbers([next(batches)]))
                views.append(loader._held is not None)
        stats = loader.stats()
    # No batch has samples of two launches. What was not fetched of the last ones goes with a launch.
    whole = [list(range(i, i + 4)) for first in (0, 100, 200) for i in (first, first + 4)]
    assert [batch for batch in got if len(batch) == 4] == whole
    assert all(batch in ([8], [8, 9], [108], [108, 109]) for batch in got if batch not in whole)
    assert (stats.lost, stats.duplicated, stats.refused) == (0, 0, 0)
    assert stats.received >= sum(map(len, got))
    if not copy and address.startswith("ipc") and any(views):
        assert views == [batch in whole for batch in got]


def test_a_loader_that_was_closed_meanwhile_begins_anew(launch: tuple[Launch, str]) -> None:
    """Where it was in the stream of the launch before says nothing of this one."""
    start, address = launch
    loader = StreamLoader(address, 4, timeoutms=20_000)
    for first in (0, 100):
        start(first)
        with loader:
            assert numbers([next(iter(loader))]) == list(range(first, first + 4))


def test_a_state_is_of_whichever_launch_is_there(launch: tuple[Launch, str]) -> None:
    """Of the same seed: it goes on where that one was."""
    start, address = launch
    loader = StreamLoader(address, 4, timeoutms=20_000)
    start(0)
    with loader:
        assert numbers([next(iter(loader))]) == [0, 1, 2, 3]
        state = loader.state_dict()
    loader.load_state_dict(state)
    start(100)
    with loader:  # 100 .. 103 are not made for it: the script's numbers go on from what is published
        batch = next(iter(loader))
        assert batch["btseq"].tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("has_ended", [False, True])
def test_by_index_all_begin_the_next_launch_together(tmp_path: Path, has_ended: bool) -> None:
    """Also where the script of one has ended before."""
    addresses = [f"ipc://{tmp_path}/{btid}" for btid in (0, 1)]
    leave = threading.Event()

    def publish(btid: int, first: int, count: int) -> None:
        sender = SampleSender(addresses[btid], btid, num_instances=2)
        for number in range(count):
            with contextlib.suppress(PeerTimeout):
                sender.publish(fields(first + number), timeout_s=10)
        if has_ended and btid == 1 and first == 0:
            sender.close(5)
            return
        while not leave.wait(0.01):
            sender.service()
        sender.close(0, ended=False)

    def start(first: int, counts: tuple[int, int]) -> list[threading.Thread]:
        threads = [threading.Thread(target=publish, args=(i, first, counts[i]), daemon=True) for i in (0, 1)]
        for thread in threads:
            thread.start()
        return threads

    with StreamLoader(addresses, 1, order="index", timeoutms=20_000) as loader:
        batches = iter(loader)
        threads = start(0, (6, 3))
        got = [next(batches) for _ in range(6)]  # what instance 1 has not made holds those after
        leave.set()
        for thread in threads:
            thread.join(20)
        leave.clear()
        threads = start(100, (4, 4))
        while len(got) < 8 or numbers(got[-1:]) != [103]:
            got.append(next(batches))
        leave.set()
        for thread in threads:
            thread.join(20)
    indices = [int(batch["btindex"][0]) for batch in got]
    before = [index for index, number in zip(indices, numbers(got), strict=True) if number < 100]
    after = indices[len(before) :]
    assert before == sorted(before)
    assert before[:6] == [0, 1, 2, 3, 4, 5]
    assert after == [0, 1, 2, 3, 4, 5, 6][: len(after)]


def test_what_the_launch_before_had_offered_last_is_taken(tmp_path: Path) -> None:
    """A receiver of whole batches that has not opened the last ring yet when it hears of another launch."""
    address = f"ipc://{tmp_path}/DATA"
    old = SampleSender(address, 7)
    receiver = SampleReceiver([address], batch=4)
    source = receiver.sources[0]
    source.say_ready()
    for _ in range(20):
        old.service(timeout_s=0.01)
    for number in range(4):
        old.publish({"image": np.full(10_000, number, np.uint8)}, timeout_s=5)
    group = receiver.receive(4, 5)
    # One comes by message, as from a receiver that has left, and the ring after it is for larger ones.
    old._roster.give(
        source._id, Position(4, 4), encode(Message(Kind.SAMPLE, {"image": np.zeros(10_000, np.uint8)}, 7, 0, 4))
    )
    old._next = Position(5, 5)
    for number in range(5, 10):
        old.publish({"image": np.full(40_000, number, np.uint8)}, timeout_s=5)
    time.sleep(0.1)
    source.listen()
    group.release()
    assert source._offered
    old._router.close()  # as when it is killed: its files stay
    new = None
    while new is None:
        with contextlib.suppress(AddressError):
            new = SampleSender(address, 7)
    deadline = time.monotonic() + 20
    while not source._is_another and time.monotonic() < deadline:
        source.say_ready()
        new.service(timeout_s=0.05)
        source.listen()
    seqs = []
    while receiver.sources[0] is source and time.monotonic() < deadline:
        with contextlib.suppress(PeerTimeout):
            taken = receiver.receive(4, 0.1)
            seqs += taken.seq.tolist()
            taken.release()
    assert seqs == [4, 5, 6, 7, 8, 9]
    assert receiver.sources[0].received == 10
    receiver.close()
    old._rings.close()
    new.close(0, ended=False)
