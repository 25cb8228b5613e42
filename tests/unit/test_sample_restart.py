"""Sample channels whose ends are killed: what was not delivered comes from a successor, and nothing comes twice."""

import multiprocessing
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instances import TRANSPORTS, FakeInstance

from blendtorch.errors import PeerTimeout
from blendtorch.wire import Kind, Message
from blendtorch.wire.owned_folder import make_folder
from blendtorch.wire.receivers import SHARED_MEMORY
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.sample_sender import SampleSender
from blendtorch.wire.sockets import answer

transports = pytest.mark.parametrize("transport", TRANSPORTS)

SAMPLES = 400
# A child made from this one has numpy and zmq in a hundredth of a second.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["blendtorch.wire.sample_sender", "blendtorch.wire.sample_receiver"])


def fields(number: int) -> dict[str, Any]:
    return {"image": np.full((50, 60), number % 256, np.uint8), "number": number}


def send(address: str, folder: Path, epoch: int, shm_bytes: int, explicit: bool) -> None:
    """Two samples of each index where the script tells indices; it counts from 0 again after a restart, as scripts do."""
    sender = SampleSender(address, 3, num_instances=4, epoch=epoch, queue_size=6, shm_bytes=shm_bytes, folder=folder)
    if explicit:
        for number in range(SAMPLES):
            sender.publish(fields(number), number // 2)
    else:
        while sender.made < SAMPLES:
            sender.publish(fields(sender.made))
    sender.close(10)


def take_some(address: str, pipe: Any) -> None:
    """Takes 5 groups, tells of them, and keeps the last one for ever."""
    receiver = SampleReceiver([address], queue_size=4)
    taken: list[int] = []
    for i in range(5):
        group = receiver.receive(3, 20)
        assert group is not None
        taken += group.seq.tolist()
        if i < 4:
            group.release()
    pipe.send(taken)
    time.sleep(100)


def free_address(transport: str, folder: Path) -> str:
    if transport != "tcp":
        return f"ipc://{folder}/s"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class Restarted:
    """An instance that can be killed and started again."""

    def __init__(self, transport: str, explicit: bool) -> None:
        self.folder = make_folder(SHARED_MEMORY)
        self.address = free_address(transport, self.folder.path)
        self._options = (10**7 * (transport == "shm"), explicit)
        self._epoch = 0
        self._process: Any = None
        self._over = threading.Event()
        self._stand_in: threading.Thread | None = None

    def start(self) -> None:
        arguments = (self.address, self.folder.path, self._epoch, *self._options)
        self._process = processes.Process(target=send, args=arguments, daemon=True)
        self._process.start()
        self._epoch += 1

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def stand_in(self) -> None:
        """What the launcher does when the script has ended: it answers those who have not heard."""
        self._stand_in = threading.Thread(target=self._answer)
        self._stand_in.start()

    def _answer(self) -> None:
        self._process.join()
        answer(self.address, Message(Kind.END, {"made": None}, 3), self._over)

    def close(self) -> None:
        self._over.set()
        self.kill()
        if self._stand_in is not None:
            self._stand_in.join()
        self.folder.close()


@pytest.fixture
def restarted() -> Iterator[Callable[..., Restarted]]:
    made: list[Restarted] = []

    def make(*args: Any) -> Restarted:
        made.append(Restarted(*args))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Taker:
    """A receiver on a thread, which notes what it takes."""

    def __init__(self, address: str) -> None:
        self.got: list[tuple[int, int, int, int]] = []
        self.receiver = SampleReceiver([address], queue_size=4)
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(40)
        self._stop = True
        self._thread.join()
        self.receiver.close()

    def _run(self) -> None:
        while not self._stop:
            try:
                group = self.receiver.receive(5, 0.2)
            except PeerTimeout:
                continue
            if group is None:
                return
            for item in group.items():
                assert (item["image"] == item["number"] % 256).all()
                self.got.append((item["btseq"], item["number"], item["btindex"], item["btepoch"]))
            group.release()
            time.sleep(0.0005)


@pytest.mark.parametrize(("receivers", "explicit"), [(1, False), (3, True)])
@transports
def test_a_killed_instance_goes_on_where_it_was(
    restarted: Callable[..., Restarted], transport: str, receivers: int, explicit: bool
) -> None:
    instance = restarted(transport, explicit)
    takers = [Taker(instance.address) for _ in range(receivers)]
    for limit in (SAMPLES // 4, SAMPLES // 2):
        instance.start()
        deadline = time.monotonic() + 20
        while sum(len(taker.got) for taker in takers) < limit and time.monotonic() < deadline:
            time.sleep(0.001)
        instance.kill()
    instance.start()
    instance.stand_in()
    for taker in takers:
        taker.join()
    got = sorted(sample for taker in takers for sample in taker.got)
    twice = [seq for seq, count in Counter(seq for seq, *_ in got).items() if count > 1]
    missing = set(range(SAMPLES)) - {seq for seq, *_ in got}
    assert (twice, missing) == ([], set())
    assert {epoch for *_, epoch in got} == {0, 1, 2}
    for seq, number, index, _ in got:
        assert (number, index) == (seq, seq // 2 if explicit else 3 + 4 * seq)
    if receivers == 1:
        account = takers[0].receiver.sources[0].account
        assert (account.received, account.lost) == (SAMPLES, 0)
        assert takers[0].got == got  # in order


@transports
def test_what_a_killed_receiver_has_not_taken_goes_to_the_next(
    instance: Callable[..., FakeInstance], transport: str
) -> None:
    samples = [{"number": number} for number in range(100)]
    started = instance(samples, transport, queue_size=8, linger_s=10)
    here, there = processes.Pipe()
    process = processes.Process(target=take_some, args=(started.address, there), daemon=True)
    process.start()
    taken = here.recv()
    process.kill()
    process.join()
    receiver = SampleReceiver([started.address])
    got: list[int] = []
    while (group := receiver.receive(10, 10)) is not None:
        got += group.seq.tolist()
        group.release()
    receiver.close()
    assert len(got) == len(set(got))
    assert {*taken, *got} == set(range(100))
    if transport == "shm":  # there it is known what was taken, to the last one
        assert len(taken) + len(got) == 100
