"""Instances without Blender: they speak the wire by `SampleSender`, on threads of the test."""

import contextlib
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blendtorch.errors import PeerTimeout
from blendtorch.wire import Kind
from blendtorch.wire.sample_sender import SampleSender

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
        self._thread.join(20 + self._linger_s)
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
        if not self._stop.is_set():
            self._say_end()
        self.sender.close(0, ended=False)

    def _say_end(self) -> None:
        """Ends, as `close` would, and stays to answer those who come later, as the launcher does at its address.

        A stand-in could not bind that here: workers of a `DataLoader`, which are forked, have this process's sockets open.
        """
        made = self.sender.made
        self.sender._part(Kind.END, {"made": made, "final": False}, min(self._linger_s, 1))
        self.sender._part(Kind.END, {"made": made, "final": True}, self._linger_s)
        while not self._stop.is_set():
            self.sender.service(timeout_s=0.01)
