"""A receiver that outlives a launch, and finds another one at the same address: the panel's Stop and Start."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from instances import TRANSPORTS
from loader_samples import fields, numbers

from blendtorch.btt import StreamLoader
from blendtorch.errors import AddressError
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
        for number in range(first, first + (12 if first else 10)):
            sender.publish(fields(number), timeout_s=20)
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
    got: list[int] = []
    with StreamLoader(address, 4, copy=copy, timeoutms=20_000) as loader:
        batches = iter(loader)
        for first in (0, 100, 200):
            start(first)
            while first + 7 not in got:
                got += numbers([next(batches)])
        stats = loader.stats()
    # The last ones of a launch wait for more, and go with it if they were not fetched.
    assert got == sorted(set(got))
    for first in (0, 100, 200):
        assert {first + i for i in range(8)} <= set(got)
    assert (stats.duplicated, stats.refused) == (0, 0)
    assert stats.received >= len(got)
