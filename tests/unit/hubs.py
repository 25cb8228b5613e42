"""What the tests of the hub share: samples, a window that makes them, and clients on threads."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from blendtorch.errors import BlendTorchError, ConfigError, PeerTimeout
from blendtorch.hub import HubStats, SampleHub
from blendtorch.wire.sample_receiver import SampleReceiver

WAIT_S = 60.0


def fields(index: int, side: int = 16) -> dict[str, Any]:
    """A sample that no other index has: arrays, a boolean one, a table, a number, a text."""
    rng = np.random.default_rng(index)
    return {
        "image": rng.integers(0, 256, (side, side, 3), np.uint8),
        "depth": rng.random((side, side), np.float32),
        "seen": rng.random(5) > 0.5,
        "labels": {"id": np.arange(index % 4, dtype=np.uint32), "object": ["Cube"] * (index % 4)},
        "frameid": index,
        "note": f"n° {index}",
    }


class Window:
    """A thread that puts samples where the hub wants them, as the window's timer does."""

    def __init__(self, hub: SampleHub, first: int = 0, count: int | None = None, step: int = 1, per_index: int = 1):
        self.hub = hub
        self.put = 0
        self._stop = threading.Event()
        self._places = (first, count, step, per_index)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        first, count, step, per_index = self._places
        while not self._stop.is_set() and (count is None or self.put < count):
            if self.hub.wants_sample():
                index = first + self.put // per_index * step
                rank = self.put % per_index
                try:
                    self.hub.put(index, fields(index) | {"rank": rank})
                except ConfigError:
                    if not self.hub.wants_sample():
                        return  # it was closed in this moment
                    raise
                self.put += 1
            else:
                time.sleep(0.0005)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)


class Client:
    """A thread that takes all samples that come."""

    def __init__(self, address: str, **options: Any) -> None:
        self.items: list[dict[str, Any]] = []
        self.dones: list[int] = []
        self.error: BlendTorchError | None = None
        self.ended = False
        self.paused = threading.Event()
        self._stop = threading.Event()
        self._receiver = SampleReceiver([address], **options)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set() and not self.ended:
            if self.paused.is_set():
                time.sleep(0.001)
                continue
            with contextlib.suppress(PeerTimeout):
                group = self._receiver.receive(1, 0.02)
                self.ended = group is None
                if group is not None:
                    self.items += group.items()
                    self.dones += group.done.tolist()
                    group.release()
        self._receiver.close()

    @property
    def indices(self) -> list[int]:
        return [item["btindex"] for item in self.items]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)


def wait_for(hub: SampleHub, done: Callable[[HubStats], bool]) -> HubStats:
    """Waits until the hub's state is as wanted."""
    deadline = time.monotonic() + WAIT_S
    while not done(stats := hub.stats()):
        assert time.monotonic() < deadline, stats
        time.sleep(0.002)
    return stats


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def hub_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "blendtorch hub"]
