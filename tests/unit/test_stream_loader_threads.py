"""`StreamLoader` where several threads use it, and where nobody refers to it any more."""

import threading
import time
from typing import Any

import pytest
from loader_samples import Start, in_thread, numbers, samples, threads

from blendtorch.btt import StreamLoader
from blendtorch.btt.stream_connection import StreamConnection
from blendtorch.errors import ConfigError
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)


@pytest.mark.parametrize("copy", [True, False])
def test_close_ends_an_iteration_in_another_thread(instance: Start, copy: bool) -> None:
    loader = StreamLoader(instance(samples(8), then="stay").address, 4, copy=copy)
    thread, done = in_thread(lambda: numbers(loader))
    while loader.state_dict()["batches"] < 2:
        time.sleep(0.01)
    time.sleep(0.1)  # it waits
    loader.close()
    thread.join(5)
    assert done == [list(range(8))]
    assert threads() == []


def test_close_ends_an_iteration_amid_its_body(instance: Start) -> None:
    with StreamLoader(instance(samples()).address, 4) as loader:
        for count, _ in enumerate(loader):
            assert count == 0
            loader.close()
        assert next(iter(loader)) is not None


def test_a_batch_that_close_overtakes_is_counted(instance: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = StreamLoader(instance(samples(8), "tcp").address, 4)
    get = StreamConnection.get

    def get_late(self: StreamConnection) -> Any:
        delivery = get(self)
        threading.Thread(target=loader.close).start()
        time.sleep(0.5)
        return delivery

    monkeypatch.setattr(StreamConnection, "get", get_late)
    assert list(loader) == []
    stats = loader.stats()
    assert stats.received == stats.dropped >= 4


def test_two_threads_at_once_are_refused(instance: Start) -> None:
    with StreamLoader(instance(samples(4), then="stay").address, 4) as loader:
        thread, _ = in_thread(lambda: list(loader))
        while loader.state_dict()["batches"] < 1:
            time.sleep(0.01)
        time.sleep(0.1)
        with pytest.raises(ConfigError, match="one thread at a time"):
            next(iter(loader))
        loader.close()
        thread.join(5)
        assert not thread.is_alive()


def test_the_account_can_be_asked_for_while_the_loader_is_closed(instance: Start) -> None:
    loader = StreamLoader(instance(samples()).address, 4)
    stop = threading.Event()

    def ask() -> int:
        asked = 0
        while not stop.is_set():
            asked += loader.stats().received >= 0
        return asked

    thread, done = in_thread(ask)
    for _ in range(5):
        next(iter(loader))
        loader.close()
    stop.set()
    thread.join(5)
    assert isinstance(done[0], int)


def test_the_wait_under_way_is_told(instance: Start) -> None:
    with StreamLoader(instance(samples(4), then="stay").address, 4) as loader:
        thread, _ = in_thread(lambda: list(loader))
        while loader.state_dict()["batches"] < 1:
            time.sleep(0.01)
        time.sleep(0.1)
        before = loader.stats().trainer_waited_s
        time.sleep(0.3)
        assert loader.stats().trainer_waited_s >= before + 0.3
        loader.close()
        thread.join(5)


@pytest.mark.parametrize("then", ["end", "stay"])
def test_a_loader_that_is_dropped_takes_no_more(instance: Start, then: str) -> None:
    """Its thread ends, and the stream is left to others."""
    started = instance(samples(400), then=then)
    loader = StreamLoader(started.address, 4)
    first = numbers([next(iter(loader))])
    del loader
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == []
    with StreamLoader(started.address, 4, num_batches=20) as other:
        assert min(numbers(other)) > max(first)


def test_a_loader_that_is_dropped_at_the_streams_end_lets_go(instance: Start) -> None:
    started = instance(samples(4))
    loader = StreamLoader(started.address, 4)
    assert numbers(loader) == [0, 1, 2, 3]
    sources = loader._connection.receiver.sources  # type: ignore[union-attr]
    del loader
    assert all(source._closed for source in sources)


def test_a_loader_that_is_dropped_with_batches_ready_lets_go(instance: Start) -> None:
    """And is not taken for one that is slow: for such a one an instance waits as long as it is connected."""
    started = instance(samples(400), then="stay")
    loader = StreamLoader(started.address, 4)
    next(iter(loader))
    connection = loader._connection
    assert connection is not None
    while not connection.queue.full():
        time.sleep(0.01)
    time.sleep(0.1)  # the thread waits for room
    del loader
    deadline = time.monotonic() + 3  # sooner than the instance itself would look
    while (threads() or started.sender.receivers) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == []
    assert started.sender.receivers == 0
    assert connection.queue.empty()
