"""Receivers of both kinds at one instance, and receivers that vanish for a moment: each sample comes once."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blendtorch.errors import PeerTimeout, ScriptError
from blendtorch.wire.ledger import Ledger
from blendtorch.wire.owned_folder import make_folder
from blendtorch.wire.receivers import SHARED_MEMORY
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.sample_sender import SampleSender

Take = Callable[..., list[int]]
processes = multiprocessing.get_context("forkserver")


@pytest.fixture
def folder() -> Iterator[Path]:
    owned = make_folder(SHARED_MEMORY)
    yield owned.path
    owned.close()


@pytest.fixture
def take() -> Iterator[Take]:
    """Takes on a thread what comes at an address, until the stream ends; gives the list that it goes to."""
    threads: list[threading.Thread] = []
    stop = threading.Event()

    def run(receiver: SampleReceiver, most: float, pause_s: float, got: list[int]) -> None:
        while len(got) < most and not stop.is_set():
            try:
                group = receiver.receive(1, 0.5)
            except PeerTimeout:
                continue
            if group is None:
                break
            got += group.seq.tolist()
            group.release()
            time.sleep(pause_s)
        receiver.close()

    def start(address: str, *, by_message: bool = False, most: float = np.inf, pause_s: float = 0.0) -> list[int]:
        receiver = SampleReceiver([address])
        if by_message:  # as one that sees another machine's memory
            receiver.sources[0]._host = ""
        got: list[int] = []
        threads.append(threading.Thread(target=run, args=(receiver, most, pause_s, got)))
        threads[-1].start()
        return got

    start.join = lambda: [thread.join(30) for thread in threads]  # type: ignore[attr-defined]
    yield start
    stop.set()
    start.join()  # type: ignore[attr-defined]


def fields(number: int, size: int = 3000) -> dict[str, Any]:
    return {"image": np.full(size, number % 256, np.uint8), "number": number}


def send_sixty(address: str, folder: Path, epoch: int) -> None:
    sender = SampleSender(address, 0, epoch=epoch, folder=folder)
    while sender.made < 60:
        sender.publish(fields(sender.made))
        time.sleep(0.004)
        if epoch == 0 and sender.made == 40:
            os.kill(os.getpid(), signal.SIGKILL)
    sender.close(5)


def test_an_instance_with_both_kinds_of_receivers_is_killed(folder: Path, take: Any) -> None:
    address = f"ipc://{folder}/s"
    by_ring, by_message = take(address), take(address, by_message=True, pause_s=0.05)
    for epoch in (0, 1):
        process = processes.Process(target=send_sixty, args=(address, folder, epoch))
        process.start()
        process.join(30)
    take.join()
    assert Counter(by_ring + by_message) == Counter(range(60))
    assert by_ring
    assert by_message


def test_what_a_guest_leaves_behind_comes_in_its_turn_and_is_not_owed_for_ever(folder: Path, take: Any) -> None:
    address = f"ipc://{folder}/s"
    sender = SampleSender(address, 0, folder=folder)
    by_ring = take(address, most=200, pause_s=0.002)  # slower than the sender: the ring never runs empty
    take(address, by_message=True, most=3)
    for number in range(200):
        sender.publish(fields(number), timeout_s=20)
    deadline = time.monotonic() + 20
    while sender._roster.unconfirmed and time.monotonic() < deadline:
        sender.service(timeout_s=0.01)
    sender.close(0, ended=False)
    ledger = Ledger(folder / "DATA-0.ledger")
    assert ledger.owed == ledger.made
    ledger.close()
    assert len(set(by_ring)) == len(by_ring)
    assert by_ring.index(max(by_ring[:100])) >= 90  # nothing from the beginning comes long after


@pytest.fixture
def relay() -> Iterator[Callable[[int], tuple[int, Callable[[], None]]]]:
    """Passes tcp connections on to a port; gives a port of its own, and what breaks the first connection."""
    sockets: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            end.close()

    def accept(listener: socket.socket, port: int) -> None:
        try:
            while True:
                near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", port))
                sockets.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()
        except OSError:
            return

    def start(port: int) -> tuple[int, Callable[[], None]]:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        threading.Thread(target=accept, args=(listener, port), daemon=True).start()
        return listener.getsockname()[1], lambda: sockets[1].shutdown(socket.SHUT_RDWR)

    yield start
    for one in sockets:
        one.close()


def test_a_connection_that_breaks_once_costs_nothing(relay: Any, take: Any) -> None:
    sender = SampleSender("tcp://127.0.0.1:*", 0, shm_bytes=0)
    port, break_it = relay(int(sender.address.rpartition(":")[2]))
    one, other = take(f"tcp://127.0.0.1:{port}", pause_s=0.005), take(sender.address, pause_s=0.005)
    for number in range(300):
        sender.publish(fields(number), timeout_s=20)
        if number == 150:
            break_it()
    sender.close(10)
    take.join()
    assert Counter(one + other) == Counter(range(300))


def test_a_failure_is_raised_behind_the_samples_of_all_rings(folder: Path) -> None:
    sender = SampleSender(f"ipc://{folder}/s", 0)
    receiver = SampleReceiver([sender.address])

    def run() -> None:
        for number, size in enumerate([3000, 3000, 900_000, 900_000]):  # the last ones do not fit into the first ring
            sender.publish(fields(number, size), timeout_s=20)
        sender.fail({"error": "boom", "traceback": ""}, 2)

    thread = threading.Thread(target=run)
    thread.start()
    got: list[int] = []
    while not got:  # all that follows waits, and the failure is known
        group = receiver.receive(1, 20)
        got += group.seq.tolist()
        group.release()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        receiver.sources[0].listen()
        time.sleep(0.01)
    with pytest.raises(ScriptError, match="boom"):
        while (group := receiver.receive(1, 5)) is not None:
            got += group.seq.tolist()
            group.release()
    assert got == [0, 1, 2, 3]
    thread.join()
    receiver.close()
    sender.close(0)
