"""The hub: gives samples of a window and of workers to clients and to a recording."""

import atexit
import contextlib
import errno
import logging
import os
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from ..errors import AddressError, BlendTorchError, ConfigError
from ..recording import RecordingSettings
from ..wire.curve import CurveKeys
from ..wire.launch_args import DEFAULT_SHM_BYTES
from ..wire.sample_sender import SampleSender
from .pump import Pump
from .sinks import RecordingSink, StreamSink
from .sources import Worker
from .stats import HubStats

log = logging.getLogger(__name__)

_REOPEN_S = 3.0  # how long it may take until what was closed can be opened again
_LEAVE_S = 0.2  # how long the thread's present sample is waited for
_hubs: "weakref.WeakSet[SampleHub]" = weakref.WeakSet()


class SampleHub:
    """Gives the samples of this window and of workers to clients and to a recording. Its methods are for one thread.

    A thread of the hub's own has all sockets and files. `put` and `wants_sample` never wait, so they can be called by what
    draws the window; opening and starting take as long as binding a port or looking through a folder.

    While a recording runs, each sample is recorded, and is sent, too, where clients are there; then it waits for them.
    Without a recording samples wait for clients: workers stop at full queues, and `wants_sample` is false. Each sample goes
    to one client, and is told by `btindex`, the index that it was made with; `btid` and `btseq` are the hub's own. Clients
    on this machine know how many samples of an index come before one (`Group.done`) also where the episodes of several
    workers mingle; those that get messages take each stretch of samples of one index for a whole one. Whoever comes again
    gets all that is made from then on: a low index does not tell that it was delivered.

    Args:
        btid: The id that samples get.
    """

    def __init__(self, *, btid: int = 0) -> None:
        self._btid = btid
        self._last_stream: StreamSink | None = None
        self._last_recording: RecordingSink | None = None
        self._closings: dict[str, Future[None]] = {}
        self._process = os.getpid()
        self._pump = Pump()
        _hubs.add(self)

    # The stream

    def open_stream(
        self, address: str, *, queue_size: int = 10, shm: bool = True, curve: CurveKeys | None = None
    ) -> str:
        """Binds an address, for clients to connect to.

        Args:
            address: Such as "tcp://127.0.0.1:11000", "tcp://127.0.0.1:*" for any free port, or "ipc:///PATH".
            queue_size: How many samples may wait for clients, in shared memory or on their way to each.
            shm: Whether clients on this machine get samples by shared memory, which is faster.
            curve: Keys, the ones of an instance; an address that other machines reach needs them.

        Returns:
            The address that is bound, with its port.

        Raises:
            AddressError: The address is in use, malformed, or not of this machine.
            ConfigError: There is a stream already, the address needs keys, `queue_size` is not positive, or the hub is
                closed.
        """
        if queue_size < 1:
            raise ConfigError(f"queue_size is {queue_size}, expected at least 1.")
        self._check_open()
        if (open_one := self._pump.stream) is not None:
            raise ConfigError(f"a stream is open at {open_one.address} already. Close it first.")
        self._await_closing("stream")
        stream = StreamSink(self._bind(address, queue_size, shm, curve))
        self._pump.errors["stream"] = None
        self._pump.stream = self._last_stream = stream
        self._pump.wake()
        return stream.address

    def close_stream(self) -> None:
        """Closes the stream: clients are told that it has ended. Returns at once; nothing happens when there is none."""
        stream, self._pump.stream = self._pump.stream, None
        if stream is not None:
            self._closings["stream"] = self._pump.close_stream(stream)

    def _bind(self, address: str, queue_size: int, shm: bool, curve: CurveKeys | None) -> SampleSender:
        """Binds an address, which the stream before may still be about to leave."""
        deadline = time.monotonic() + _REOPEN_S
        was_here = self._last_stream is not None and self._last_stream.address == address
        while True:
            try:
                return SampleSender(
                    address,
                    self._btid,
                    queue_size=queue_size,
                    shm_bytes=DEFAULT_SHM_BYTES if shm else 0,
                    curve=curve,
                )
            except AddressError as error:
                if error.errno != errno.EADDRINUSE or not was_here or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    # The recording

    def start_recording(self, settings: RecordingSettings, num_samples: int | None = None) -> int:
        """Begins to record, or goes on with the recording that the folder holds, where it is of the same stream.

        Args:
            settings: Where and how; `metadata` says of which stream it is (`seed`, `scene`, `script`, see
                `blendtorch.recording.origin`). `num_instances` in it is left out: samples come in any order.
            num_samples: How many samples the recording is to have, with those that are there: then it ends by itself. None
                until it is stopped.

        Returns:
            The first index that it does not hold in full: go on with that one. Samples that are there are passed over.

        Raises:
            ConfigError: The folder holds a recording of another stream; one runs already; an argument is out of range; the
                hub is closed.
            RecordingError: The folder holds tar files that are no recording.
            RecordingWriteError: The folder cannot be written to.
        """
        self._check_open()
        if num_samples is not None and num_samples < 1:
            raise ConfigError(
                f"num_samples is {num_samples}, expected at least 1, or None to record until it is stopped."
            )
        if self._pump.recording is not None:
            raise ConfigError("a recording runs already. Stop it first.")
        self._await_closing("recording")
        recording = RecordingSink(settings, num_samples, self._btid)
        self._pump.errors["recording"] = None
        self._last_recording = recording
        if recording.over:
            recording.close()
        else:
            self._pump.recording = recording
            self._pump.wake()
        return recording.first_index

    def stop_recording(self) -> None:
        """Ends the recording, which can be gone on with. Returns at once; nothing happens when none runs."""
        recording, self._pump.recording = self._pump.recording, None
        if recording is not None:
            self._closings["recording"] = self._pump.close_recording(recording)

    # Sources

    def add_workers(self, addresses: Sequence[str], curve: CurveKeys | None = None) -> None:
        """Takes the samples of workers, too.

        Args:
            addresses: Where they publish, such as `launcher.launch_info.addresses["DATA"]`.
            curve: The keys of their launch, where it has some.

        Raises:
            AddressError: An address is malformed.
            ConfigError: The hub is closed.
        """
        self._check_open()
        workers: list[Worker] = []
        try:
            for address in addresses:
                workers.append(Worker(address, curve))
        except BlendTorchError:
            for worker in workers:
                worker.close()
            raise
        self._pump.errors["workers"] = None
        self._pump.add_workers(workers)

    def remove_workers(self) -> None:
        """Leaves all workers. What was taken of them is passed on; `next_index` lies behind it when this returns.

        Waits for that, but not for a disk that takes its time.
        """
        self._pump.errors["workers"] = None
        left = self._pump.remove_workers()
        if not self._pump.stopped:
            with contextlib.suppress(FutureTimeout):
                left.exception(_LEAVE_S)

    def wants_sample(self) -> bool:
        """Whether the window is to make a sample now: somebody takes it, and there is room. Never waits."""
        return self._pump.window.has_room and self._pump.has_takers and not self._pump.stopped

    def put(self, index: int, fields: Mapping[str, Any]) -> None:
        """Hands a sample of the window over. Never waits.

        Those that are put one after the other with the same index are its first, second, ... sample: by that a recording
        knows what it has. So `discard` before an index is made once more.

        Args:
            index: The index that it was made with.
            fields: The sample. Arrays are not copied: they must not be written to any more.

        Raises:
            ConfigError: There is no room, as `wants_sample` would have told; the index is none; the name of a field is
                taken; the hub is closed.
        """
        self._check_open()
        self._pump.window.put(index, fields)
        self._pump.wake()

    def discard(self) -> None:
        """Drops what `put` has handed over and nobody has taken. Never waits.

        For when the window begins anew: what waits was made with what was set up before, or will be made once more. What is
        put next is the first sample of its index.
        """
        self._pump.window.discard()
        self._pump.wake()

    def stats(self) -> HubStats:
        """How it stands now. Never waits."""
        pump, stream, recording = self._pump, self._last_stream, self._last_recording
        is_open, runs = pump.stream is not None, pump.recording is not None
        return HubStats(
            address=stream.address if stream and is_open else None,
            clients=stream.clients if stream and is_open else 0,
            sent=stream.sent if stream else 0,
            recording=runs,
            num_samples=recording.num_samples if recording else None,
            recorded=recording.recorded if recording else 0,
            recorded_bytes=recording.nbytes if recording else 0,
            seconds_left=recording.seconds_left if recording and runs else None,
            workers=pump.num_workers,
            window_per_s=pump.window_rate.per_s(),
            workers_per_s=pump.worker_rate.per_s(),
            waiting=pump.waiting,
            next_index=pump.next_index,
            stream_error=pump.errors["stream"],
            recording_error=pump.errors["recording"],
            workers_error=pump.errors["workers"],
        )

    def close(self, timeout_s: float = 2.0) -> None:
        """Ends the stream, the recording and the thread; samples that wait are dropped. Nothing happens when that is done.

        Args:
            timeout_s: How many seconds that may take; clients get half of it, at most, to fetch what was sent.
        """
        if self._process != os.getpid():
            return  # a fork: all of it is its parent's
        if not self._pump.close(timeout_s):
            log.warning("the hub still writes to its disk after %g s; it ends when that is done", timeout_s)

    def _check_open(self) -> None:
        if self._pump.stopped:
            raise ConfigError("this hub is closed. Make another one.")

    def _await_closing(self, what: str) -> None:
        """Waits until what was closed last is closed."""
        closing = self._closings.pop(what, None)
        if closing is not None:
            try:
                closing.exception(_REOPEN_S)  # which was logged
            except FutureTimeout:
                self._closings[what] = closing
                raise ConfigError(f"the {what} before is still being closed. Try again in a moment.") from None


@atexit.register
def _close_hubs() -> None:
    """Ends the hubs of this process that nobody has closed."""
    for hub in list(_hubs):
        hub.close()
