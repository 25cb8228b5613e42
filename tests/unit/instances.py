"""Instances without Blender: they speak the wire by `SampleSender`, on threads of the test."""

import contextlib
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blendtorch.errors import AddressError, PeerTimeout
from blendtorch.wire import Kind, Message
from blendtorch.wire.sample_sender import SampleSender
from blendtorch.wire.sockets import answer

# Fields, or the index that they belong to and the fields.
Sample = dict[str, Any] | tuple[int, dict[str, Any]]

TRANSPORTS = ("shm", "ipc", "tcp")
ERROR = {"error": "ValueError: boom", "traceback": "line 1 of cube.py"}


class FakeInstance:
    """Publishes what it is given, then says that it has ended or failed, or stays silent.

    Args:
        samples: What it publishes.
        folder: Where its socket lies, if it has a file.
        transport: One of `TRANSPORTS`.
        btid: Its id.
        then: "end", "error" or "stay".
        delay_s: How long it takes for each sample.
        linger_s: How long it waits at its end until all is fetched.
        **options: More for `SampleSender`.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        folder: Path,
        transport: str = "shm",
        btid: int = 7,
        then: str = "end",
        delay_s: float = 0,
        linger_s: float = 3,
        **options: Any,
    ) -> None:
        address = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{folder}/{btid}"
        if transport != "shm":
            options["shm_bytes"] = 0
        self.sender = SampleSender(address, btid, **options)
        self.address = self.sender.address
        self.published = 0
        self._btid = btid
        self._samples = samples
        self._then = then
        self._delay_s = delay_s
        self._linger_s = linger_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it; what was not fetched is dropped."""
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        for sample in self._samples:
            index, fields = sample if isinstance(sample, tuple) else (None, sample)
            while not self._stop.is_set():
                with contextlib.suppress(PeerTimeout):
                    self.sender.publish(fields, index, timeout_s=0.01)
                    break
            else:
                break
            self.published += 1
            time.sleep(self._delay_s)
        while self._then == "stay" and not self._stop.is_set():
            self.sender.service(timeout_s=0.01)
        if self._then == "error" and not self._stop.is_set():
            self.sender.fail(ERROR, 1.0)
            while not self._stop.is_set():
                self.sender.service(timeout_s=0.01)
        ended = not self._stop.is_set()
        self.sender.close(self._linger_s if ended else 0, ended)
        if ended:  # as the launcher does
            while not self._stop.is_set():
                try:
                    answer(self.address, Message(Kind.END, {"made": None}, self._btid), self._stop)
                except AddressError:  # the sender lets go of it in the background
                    time.sleep(0.01)
