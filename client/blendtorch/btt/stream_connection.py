"""The background thread of a `StreamLoader`: takes samples from the stream, puts batches together, and queues them."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..errors import PeerTimeout
from ..launch.launcher import BlenderLauncher
from ..recording.settings import Record
from ..wire.group import Group
from ..wire.sample_receiver import SampleReceiver
from ..wire.source import Source
from .batch import Batch, BatchBuilder, Delivery, of_views
from .buffer_pool import BufferPool
from .device import to_device
from .kept_batch import keep
from .pinning import Pinner
from .queues import TURN_S, put
from .stream_recorder import StreamRecorder

log = logging.getLogger(__name__)


class _End:
    """In the queue: there are no more batches."""


_Queued = Delivery | _End | BaseException


class StreamConnection:
    """What the background thread of a `StreamLoader` works on, from one `close` to the next.

    It does not refer to the loader, so that the stream ends with a loader that nobody refers to any more.

    Attributes:
        receiver: Where samples come from.
        queue: What waits for the trainer.
        dropped: How many samples came that are in no batch that was delivered.
    """

    def __init__(
        self,
        addresses: list[str],
        batch_size: int,
        *,
        prefetch: int,
        device: torch.device | None,
        transform: Callable[[Batch], Any] | None,
        drop_last: bool,
        copy: bool,
        whole: bool,
        timeout_s: float,
        pool: BufferPool,
        pinner: Pinner,
        receive_options: dict[str, Any],
        owed: list[tuple[int, int, int]] | None,
        streams: list[str],
        launcher: BlenderLauncher | None,
        record: Record | None,
    ) -> None:
        self._addresses = addresses
        self._batch_size = batch_size
        self._device = device
        self._transform = transform
        self._drop_last = drop_last
        self._copy = copy
        self._whole = whole
        self._timeout_s = timeout_s
        self._launcher = launcher
        self._pool = pool
        self._pinner = pinner
        origin = {"num_instances": len(addresses)} if launcher is None else launcher.origin
        self._recorder = None if record is None else StreamRecorder(record, origin)
        self.receiver = SampleReceiver(addresses, owed=owed, streams=streams, **receive_options)
        self.queue: queue.Queue[_Queued] = queue.Queue(prefetch)
        self.dropped = 0
        self._builder = BatchBuilder(batch_size, pool)
        self._taken_from: dict[int, Source] = {}  # by the number of the source: it changes with the launch
        self._views: set[int] = set()  # batches that lie in shared memory and were not released yet
        self._told_of_copies = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()  # of the two below; a finalizer may run wherever
        self._running = self._abandoned = False

    def start(self) -> None:
        """Sees to it that the thread runs."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="blendtorch stream loader", daemon=True)
            self._running = True
            try:
                thread.start()
            except BaseException:
                self._running = False
                raise
            self._thread = thread

    def get(self) -> _Queued | None:
        """Waits for what comes next; None when the connection was ended."""
        while not self._stop.is_set():
            try:
                what = self.queue.get(timeout=TURN_S)
            except queue.Empty:
                continue
            if not isinstance(what, Delivery) and self._thread is not None:  # the last it has to say
                self._thread.join()
                self._thread = None
            return what
        return None

    def end(self) -> None:
        """Ends the thread and drops what is ready."""
        self._stop.set()
        thread = self._thread
        while thread is not None and thread.is_alive():
            self._take_back()
            thread.join(TURN_S / 10)
        self._take_back()
        self._drop_unfinished()

    def close(self) -> None:
        """To be called after `end`."""
        try:
            self.receiver.close()
        finally:
            if self._recorder is not None:
                self._recorder.close()

    def abandon(self) -> None:
        """Ends all this, soon: in the background thread, if that runs, for any thread may happen to call this."""
        with self._lock:
            self._abandoned = True
            self._stop.set()
            if self._running:
                return
        self._take_back()
        self.close()

    def _take_back(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                delivery = self.queue.get_nowait()
                if isinstance(delivery, Delivery):
                    self._drop(delivery)

    def _drop(self, delivery: Delivery) -> None:
        delivery.release()
        self.dropped += delivery.count

    def _drop_unfinished(self) -> None:
        self.dropped += self._builder.count
        self._builder = BatchBuilder(self._batch_size, self._pool)

    # The background thread

    def _run(self) -> None:
        try:
            self._queue_all()
        except BaseException as error:
            self._put(error)
        with self._lock:
            self._running = False
            if not self._abandoned:
                return
        self._take_back()
        self.close()

    def _queue_all(self) -> None:
        """Queues batches to the end of the stream, or of this connection."""
        for delivery in self._assemble():
            passed_on = False
            try:
                if self._transform is not None:
                    delivery.batch = self._transform(delivery.batch)
                if self._device is not None:
                    delivery.batch = to_device(delivery.batch, self._device)
                passed_on = self._put(delivery)
            finally:
                if not passed_on:
                    self._drop(delivery)
            if not passed_on:
                return
            del delivery  # the trainer's from now on: its memory is used again when that does not use it any more
        if self._recorder is not None and not self._stop.is_set():
            self._recorder.close()
        self._put(_End())

    def _put(self, what: _Queued) -> bool:
        return put(self.queue, what, self._stop)

    def _assemble(self) -> Iterator[Delivery]:
        while not self._stop.is_set():
            # Whole batches of one instance are not taken apart to fill up a batch that another one has begun.
            group = self._receive(self._batch_size if self._whole else self._builder.missing)
            if group is None:
                break
            if self._recorder is not None:
                try:
                    self._recorder.record(group)
                except BaseException:
                    group.release()
                    self.dropped += len(group)
                    raise
            source = self.receiver.sources[group.source]
            if self._taken_from.get(group.source, source) is not source and self._builder.count:
                # Samples of two launches in one batch could not be told apart.
                try:
                    yield from self._finish_early()
                except GeneratorExit:
                    group.release()
                    self.dropped += len(group)
                    raise
            self._taken_from[group.source] = source
            # What came before it from the same instance is delivered before it.
            if _is_batch(group, self._batch_size) and not self._builder.has_of(group.source):
                if not self._copy:
                    for values in group.fields.values():
                        self._pinner.pin(values)
                    yield self._of_views(group)
                    continue
                if group.keep is not None:
                    yield self._in_streams(keep(group, group.keep))
                    continue
            self._tell_of_copies(group)
            full: list[Delivery] = []
            added = 0
            try:
                while added < len(group):  # there may be more than are missing
                    added += self._builder.add(group, added)
                    if not self._builder.missing:
                        full.append(self._finish())
            finally:
                group.release()  # before the batches are used: that may take its time
            yield from full
        if not self._stop.is_set():
            yield from self._finish_early()

    def _finish_early(self) -> Iterator[Delivery]:
        """The batch that is not full, where that is wanted."""
        if self._drop_last:
            self._drop_unfinished()
        elif self._builder.count:
            yield self._finish()

    def _finish(self) -> Delivery:
        # Kept here: what is collected when no sample comes in time is not lost.
        builder, self._builder = self._builder, BatchBuilder(self._batch_size, self._pool)
        return self._in_streams(builder.finish())

    def _in_streams(self, delivery: Delivery) -> Delivery:
        delivery.streams = {source: self._taken_from[source].stream for source in delivery.positions}
        return delivery

    def _of_views(self, group: Group) -> Delivery:
        delivery = of_views(group)
        self._views.add(id(group))

        def release() -> None:
            group.release()
            self._views.discard(id(group))

        delivery.release = release
        return self._in_streams(delivery)

    def _tell_of_copies(self, group: Group) -> None:
        if self._copy or self._told_of_copies:
            return
        self._told_of_copies = True
        if not group.in_shared_memory:
            why = "samples come by message"
        elif group.rests is not None:
            why = "samples have fields that do not stack"
        elif not self._whole:
            why = "samples of several instances come by index"
        else:
            why = "they do not lie side by side: a stream has ended, or another receiver has begun a batch"
        log.info("batches from %s are copied, although copy=False: %s.", self._addresses[group.source], why)

    def _receive(self, most: int) -> Group | None:
        """The next samples; None at the end of the stream, or of this connection."""
        waited_s = 0.0
        queued = 0
        while not self._stop.is_set():
            turn_s = min(TURN_S, self._timeout_s - waited_s)
            started = time.monotonic()
            excused = self._is_excused()
            try:
                return self.receiver.receive(most, turn_s)
            except PeerTimeout:
                before, queued = queued, sum(source.queued for source in self.receiver.sources)
                # Some have come, if not as many as are taken at a time.
                goes_on = queued > before or excused or self._is_excused()
                waited_s = 0.0 if goes_on else waited_s + time.monotonic() - started
                if waited_s >= self._timeout_s:
                    seen = f"no sample came from {', '.join(self._addresses)} for {self._timeout_s:g} s."
                    if any(source.btid is not None for source in self.receiver.sources):
                        advice = (
                            "Is Blender still rendering (raise timeoutms), or does the script wait for something or "
                        )
                        advice += "publish nothing (see its log)?"
                    else:
                        advice = "Nobody has ever answered there: does Blender run, and bind this address?"
                    raise PeerTimeout(f"{seen} {advice}") from None
        return None

    def _is_excused(self) -> bool:
        """Whether no sample may come for a good reason."""
        # There may be no room for samples until the trainer goes on.
        return bool(self._views) or (self._launcher is not None and self._launcher.restarting)


def _is_batch(group: Group, batch_size: int) -> bool:
    return group.in_shared_memory and len(group) == batch_size and group.rests is None
