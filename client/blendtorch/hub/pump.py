"""The hub's thread: takes samples from the window and from workers, and passes them on."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from ..errors import BlendTorchError, ConfigError, EncodeError, PickleNotAllowedError, RecordingWriteError
from ..wire.pause import Pause
from .sinks import RecordingSink, StreamSink
from .sources import HandOver, Sample, Worker
from .stats import Rate

log = logging.getLogger(__name__)

_HANDOVER = 2  # samples of the window that wait for the thread: one is passed on while the next is made
_IDLE_S = 0.5  # how long the thread sleeps while there is nothing to do; it is woken when there is
_LINGER_S = 0.5  # how long clients may take at the end to fetch what waits for them


class Pump:
    """A thread that passes samples on. Other threads set `stream` and `recording`, and read; all else is by `post`.

    Attributes:
        window: Where the window puts its samples.
        stream: Where samples are sent; None for nowhere.
        recording: Where they are recorded; None for nowhere. The thread sets it to None when it is complete or has failed.
        has_takers: Whether a sample that comes now is taken.
        pending: The sample that is on its way.
        is_taking: Whether a sample of the window is being taken, and may be neither in it nor `pending` yet.
        next_index: The greatest index that was passed on, or taken of a worker, plus 1.
        errors: What is wrong with the "stream", the "recording" and the "workers", in words.
        window_rate, worker_rate: How many samples were passed on.
    """

    def __init__(self) -> None:
        self.window = HandOver(_HANDOVER)
        self.stream: StreamSink | None = None
        self.recording: RecordingSink | None = None
        self.has_takers = False
        self.pending: Sample | None = None
        self.is_taking = False
        self.next_index = 0
        self.errors: dict[str, str | None] = {"stream": None, "recording": None, "workers": None}
        self.window_rate, self.worker_rate = Rate(), Rate()
        self._workers: list[Worker] = []
        self._turn = 0
        self._linger_s = _LINGER_S
        self._commands: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blendtorch hub", daemon=True)
        self._thread.start()

    @property
    def num_workers(self) -> int:
        """How many workers there are, as far as the thread has taken note."""
        return len(self._workers)

    @property
    def waiting(self) -> int:
        """How many samples wait, here or with the stream; 0 only where none does."""
        stream = self.stream
        # In the order in which the thread moves a sample on, so that none is missed that moves meanwhile.
        here = len(self.window) or int(self.is_taking)
        here += self.pending is not None
        return here + (stream.waiting if stream is not None else 0)

    @property
    def stopped(self) -> bool:
        """Whether the thread has ended, or is told to."""
        return self._stop.is_set()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def close_stream(self, stream: StreamSink) -> "Future[None]":
        """Has the thread close a stream that is no longer its own."""
        return self._post(lambda: stream.close(self._linger_s))

    def close_recording(self, recording: RecordingSink) -> "Future[None]":
        """Has the thread close a recording that is no longer its own."""
        return self._post(lambda: self._close_recording(recording))

    def add_workers(self, workers: list[Worker]) -> None:
        """Gives the thread workers to take samples of."""
        self._post(lambda: self._workers.extend(workers))

    def remove_workers(self) -> "Future[None]":
        """Has the thread leave all workers."""
        return self._post(self._leave_workers)

    def close(self, timeout_s: float) -> bool:
        """Ends the thread, and closes all that it has; whether that was done in time."""
        self._linger_s = min(self._linger_s, timeout_s / 2)
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _post(self, work: Callable[[], None]) -> "Future[None]":
        """Has the thread do something."""
        done: Future[None] = Future()
        self._commands.put((work, done))
        self._wake.set()
        return done

    # The thread

    def _run(self) -> None:
        try:
            pause = Pause()
            while not self._stop.is_set():
                self._obey()
                if self._step():
                    pause = Pause()
                    continue
                busy = self.stream or self.recording or self._workers
                self._wake.wait(pause.next_s if busy else _IDLE_S)
                if self._wake.is_set():
                    self._wake.clear()
                    pause = Pause()
        except Exception as error:
            log.exception("the hub has failed")
            self._tell_all(f"the hub has failed: {error!r}. This is a bug; report it.")
            self._stop.set()
        finally:
            self._close_all()

    def _tell_all(self, error: str) -> None:
        """Notes an error that ends everything, with all that runs; with the stream in any case, for somebody to see it."""
        self.errors["stream"] = error
        if self.recording is not None:
            self.errors["recording"] = error
        if self._workers:
            self.errors["workers"] = error

    def _obey(self) -> None:
        while True:
            try:
                work, done = self._commands.get_nowait()
            except queue.Empty:
                return
            try:
                work()
            except Exception as error:
                log.exception("the hub could not do what it was told")
                done.set_exception(error)
            else:
                done.set_result(None)

    def _step(self) -> bool:
        """Passes one sample on; false when there is none, or nobody takes it now."""
        stream, recording = self.stream, self.recording
        has_room = stream is not None and self._has_room(stream)
        self.has_takers = recording is not None or (has_room and self.pending is None)
        if self.pending is None and (recording is not None or has_room):
            self.pending = self._next_sample()
            self.is_taking = False
        sample = self.pending
        if sample is None:
            return False
        if self.window.is_stale(sample):
            self._drop_pending()
            return True
        if recording is not None and not sample.is_recorded:
            sample.is_recorded = self._record(sample, recording)
        if has_room and stream is not None:
            done = self._send(sample, stream)
        else:  # it waits for clients, if there are any, or nobody else has it
            done = sample.is_recorded and not (stream and stream.clients)
        if not done:
            return False
        self.next_index = max(self.next_index, sample.index + 1)
        (self.worker_rate if sample.of_worker else self.window_rate).count()
        self._drop_pending()
        return True

    def _next_sample(self) -> Sample | None:
        """The next sample, of the window and the workers in turn."""
        count = len(self._workers) + 1
        for i in range(count):
            turn = (self._turn + i) % count
            sample = self._take_of_window() if turn == 0 else self._take_of(self._workers[turn - 1])
            if sample is not None:
                if sample.of_worker:
                    self.next_index = max(self.next_index, sample.index + 1)
                self._turn = turn + 1
                self._leave_ended_workers()
                return sample
        self._leave_ended_workers()
        return None

    def _take_of_window(self) -> Sample | None:
        # What is put after this look is left for the next one: taken now, it would be missed in `waiting` on its way.
        self.is_taking = len(self.window) > 0
        return self.window.take() if self.is_taking else None

    def _take_of(self, worker: Worker) -> Sample | None:
        try:
            return worker.take()
        except PickleNotAllowedError as error:
            self.errors["workers"] = str(error)  # that sample is gone, others may follow
        except BlendTorchError as error:
            log.warning("the stream of a worker at %s is over: %s", worker.address, error)
            self.errors["workers"] = str(error)
            worker.failed = True
        return None

    def _leave_ended_workers(self) -> None:
        if over := [worker for worker in self._workers if worker.failed or worker.ended]:
            self._workers = [worker for worker in self._workers if worker not in over]
            for worker in over:
                worker.close()

    def _leave_workers(self) -> None:
        if self.pending is not None and self.pending.of_worker:
            self.pending.keep()  # it was taken from the worker, which does not make it again
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.close()

    def _has_room(self, stream: StreamSink) -> bool:
        try:
            return stream.has_room()
        except Exception as error:
            self._lose(stream, error)
            return False

    def _send(self, sample: Sample, stream: StreamSink) -> bool:
        """Sends a sample; whether that is done, or will never be."""
        try:
            return stream.send(sample)
        except (EncodeError, PickleNotAllowedError) as error:
            self.errors["stream"] = str(error)
            return True  # no client will ever take it
        except Exception as error:
            self._lose(stream, error)
            return sample.is_recorded

    def _lose(self, stream: StreamSink, error: Exception) -> None:
        """Closes a stream that has failed; the recording goes on."""
        log.error("the stream at %s has failed", stream.address, exc_info=error)
        self.errors["stream"] = f"the stream at {stream.address} has failed and is closed: {error!r}"
        if self.stream is stream:
            self.stream = None
        with contextlib.suppress(Exception):
            stream.close(0)

    def _record(self, sample: Sample, recording: RecordingSink) -> bool:
        """Records a sample, and ends the recording when it is complete or has failed; whether it was recorded."""
        try:
            recording.record(sample)
        except (RecordingWriteError, EncodeError, ConfigError) as error:
            self.errors["recording"] = str(error)
            self._end_recording(recording)
            return False
        if recording.over:
            self._end_recording(recording)
        return True

    def _end_recording(self, recording: RecordingSink) -> None:
        self._close_recording(recording)
        if self.recording is recording:
            self.recording = None

    def _close_recording(self, recording: RecordingSink) -> None:
        try:
            recording.close()
        except RecordingWriteError as error:
            self.errors["recording"] = self.errors["recording"] or str(error)

    def _drop_pending(self) -> None:
        sample, self.pending = self.pending, None
        if sample is not None:
            sample.release()

    def _close_all(self) -> None:
        self._stop.set()
        self.has_takers = False
        # One after the other, whatever becomes of the one before.
        with contextlib.ExitStack() as stack:
            if (stream := self.stream) is not None:
                stack.callback(stream.close, self._linger_s)
            if (recording := self.recording) is not None:
                stack.callback(self._close_recording, recording)
            self.stream = self.recording = None
            stack.callback(self._leave_workers)
            stack.callback(self._obey)
            stack.callback(self._drop_pending)
