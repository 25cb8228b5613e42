"""Batches straight from the stream, with no worker processes."""

import contextlib
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import torch

from ..errors import ConfigError, PeerTimeout
from ..wire.curve import CurveKeys
from ..wire.group import Group
from ..wire.sample_receiver import Order, SampleReceiver
from ..wire.sockets import DEFAULT_QUEUE_SIZE
from .batch import Batch, BatchBuilder, Delivery, of_views
from .buffer_pool import BufferPool
from .launcher import BlenderLauncher
from .pinning import Pinner
from .stats import InstanceStats, StreamStats

log = logging.getLogger(__name__)

_STATE_VERSION = 1
_MAX_NUMBER = 2**63 - 1
# How soon the background thread sees that it shall end.
_TURN_S = 0.1


class _End:
    """In the queue: there are no more batches."""


_Queued = Delivery | _End | BaseException


class StreamLoader:
    """An iterable of batches that a background thread puts together while the trainer computes; in place of a `DataLoader`.

    A batch is a dict: fields that stack are tensors, first axis the samples; what does not stack is a list. Integers become
    int64, floats float64, images stay H x W x C uint8. `btid`, `btepoch`, `btseq` and `btindex` (int64) tell where each
    sample comes from, see `btb.BlenderOutputChannel.publish`.

    Batches are memory of their own that is used again once nothing refers to it. Several `for` loops over one loader go on
    with the same stream; nothing is lost in between. One thread iterates at a time; `stats` and `close` may be called from
    others.

    Args:
        addresses: What to connect to, usually `launcher.launch_info.addresses["DATA"]`.
        batch_size: How many samples a batch has.
        num_batches: How many batches one iteration yields; None until all scripts have ended.
        prefetch: How many batches are put together ahead.
        device: Where the tensors go; None leaves them in main memory.
        pin_memory: Whether batches lie in page-locked memory; None when `device` is a CUDA device.
        transform: Called on each batch, in the background thread, before it goes to `device`.
        drop_last: Whether a last batch that is not full is dropped.
        order: "arrival" gives samples as they come, from all instances in turn. "index" gives them by `btindex`: the same
            stream at each run, whatever the number of instances; a slow instance then holds the others.
        copy: False gives batches that lie in shared memory, where Blender has written them: no copy at all. Each has
            samples of one instance, and is valid until the next one is asked for (what runs on the current CUDA stream is
            waited for; copies on other streams are yours to wait for). Where samples do not come by shared memory, or do
            not stack, or another receiver has begun a batch of the same instance, batches are copied all the same.
        timeoutms: How many milliseconds to wait for a sample. With `copy=False` it is not counted while a batch is in use
            or waits to be used, for there may be no room for samples.
        queue_size: How many samples of each instance may wait here that do not come by shared memory.
        allow_pickle: Whether pickled fields are loaded. **A pickle can execute code**: only from Blenders you trust.
        curve: The keys of the launch, `launch_info.curve`, for Blenders on other machines.

    Raises:
        ConfigError: An argument is out of range.

    Attributes:
        batch_size, num_batches: The same.
        launcher: What has started the instances, if `btt.stream` did.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        batch_size: int = 1,
        *,
        num_batches: int | None = None,
        prefetch: int = 2,
        device: torch.device | str | None = None,
        pin_memory: bool | None = None,
        transform: Callable[[Batch], Any] | None = None,
        drop_last: bool = False,
        order: Order = "arrival",
        copy: bool = True,
        timeoutms: float = 30_000,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        allow_pickle: bool = False,
        curve: CurveKeys | None = None,
    ) -> None:
        self._addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        if not self._addresses:
            raise ConfigError("addresses is empty, expected at least one such as 'tcp://127.0.0.1:11000'.")
        for name, value, least in [
            ("batch_size", batch_size, 1),
            ("prefetch", prefetch, 1),
            ("queue_size", queue_size, 1),
        ]:
            if value < least:
                raise ConfigError(f"{name} is {value}, expected at least {least}.")
        if num_batches is not None and num_batches < 0:
            raise ConfigError(
                f"num_batches is {num_batches}, expected 0 or more, or None until the scripts have ended."
            )
        if timeoutms <= 0:
            raise ConfigError(f"timeoutms is {timeoutms}, expected a positive number.")
        if order not in ("arrival", "index"):
            raise ConfigError(f"order is {order!r}, expected 'arrival' or 'index'.")
        self._device = None if device is None else torch.device(device)
        if pin_memory is None:
            pin_memory = self._device is not None and self._device.type == "cuda"
        if pin_memory and not torch.cuda.is_available():
            raise ConfigError("pin_memory needs CUDA, and there is none. Leave it out.")
        self.batch_size = batch_size
        self.num_batches = num_batches
        whole = not copy and not (order == "index" and len(self._addresses) > 1)
        receive_options: dict[str, Any] = {
            "queue_size": queue_size,
            "order": order,
            # By index, samples of several instances come in turn: batches of one instance's would be out of order.
            "batch": batch_size if whole else 0,
            "allow_pickle": allow_pickle,
            "curve": curve,
        }
        # One more than are ever in use: the one the trainer has, those ahead, the one being filled.
        pool = BufferPool(pin_memory, most=prefetch + 3)
        self._pinner = Pinner()  # of the shared memory, where batches are not copied
        self._connect = partial(
            _Connection,
            self._addresses,
            batch_size,
            prefetch=prefetch,
            device=self._device,
            transform=transform,
            drop_last=drop_last,
            copy=copy,
            whole=whole,
            timeout_s=timeoutms / 1000,
            pool=pool,
            pinner=self._pinner,
            receive_options=receive_options,
        )
        self._connection: _Connection | None = None
        self._lock = threading.RLock()  # of all below, but not while a batch is waited for
        self._iterates = threading.Lock()
        self._closes = 0
        self._held: Delivery | None = None
        self._positions: list[tuple[int, int, int]] = [(0, 0, 0)] * len(self._addresses)
        self._batches = 0  # of the iteration under way
        self._batches_before = 0  # of the iteration to come, by another loader
        self._waited_s = 0.0
        self._waits_since: float | None = None
        self._last_stats: StreamStats | None = None
        self.launcher: BlenderLauncher | None = None

    def __len__(self) -> int:
        """How many batches an iteration yields.

        Raises:
            TypeError: `num_batches` was not given.
        """
        if self.num_batches is None:
            raise TypeError("this StreamLoader has no length: it was made without num_batches.")
        return self.num_batches

    def __iter__(self) -> Iterator[Any]:
        """Yields batches; ends when the loader is closed.

        Raises:
            ConfigError: Another thread waits for a batch of this loader.
            PeerTimeout: No sample came in time.
            ScriptError: The script in an instance has failed, or the instance has died and was not restarted.
            AuthenticationError: An instance wants keys, see `curve`.
            ProtocolVersionError: An instance speaks another version of the protocol.
            PickleNotAllowedError: A sample holds a pickle, and `allow_pickle` is false.
        """
        closes = self._closes
        self._batches, self._batches_before = self._batches_before, 0
        left = None if self.num_batches is None else self.num_batches - self._batches
        while left is None or left > 0:
            delivery = self._next(closes)
            if delivery is None:
                break
            yield delivery.batch
            if left is not None:
                left -= 1
        self._batches = 0

    def stats(self) -> StreamStats:
        """What came, what was lost, and who waited for whom, since the loader connected: anew after `close`.

        Any thread may ask at any time.
        """
        connection, waits_since = self._connection, self._waits_since
        if connection is not None:
            waited_s = self._waited_s + (0.0 if waits_since is None else time.perf_counter() - waits_since)
            return StreamStats.of(connection.receiver.sources, waited_s, connection.queue.qsize())
        return self._last_stats or StreamStats((InstanceStats(),) * len(self._addresses), 0.0, 0)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, behind the last batch that was yielded: plain numbers, for `torch.save` or JSON.

        With `order="index"` and the same seed, a loader that loads it yields what this one would have yielded next; with
        "arrival" it yields the same samples in another order. Amid an iteration of `num_batches`, its first iteration
        yields the rest of them.
        """
        return {
            "version": _STATE_VERSION,
            "batches": self._batches,
            "positions": [list(position) for position in self._positions],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where another loader was, on instances that were launched anew with the same seed and number.

        Instances pass over what was delivered: at once where their scripts number samples by `btb.sample_indices`, or by
        the episodes of an `AnimationController`.

        Raises:
            ConfigError: The state is of another kind or number of instances, or this loader has begun already.
        """
        if self._connection is not None:
            raise ConfigError("this loader has begun already. Load the state before the first iteration.")
        if not _is_state(state):
            raise ConfigError("this is not the state of a StreamLoader. Expected what state_dict() returned.")
        positions = state["positions"]
        if len(positions) != len(self._addresses):
            raise ConfigError(
                f"the state is of {len(positions)} instances, this loader has {len(self._addresses)}. Launch as many."
            )
        self._positions = [(seq, index, done) for seq, index, done in positions]
        self._batches = self._batches_before = state["batches"]

    def close(self) -> None:
        """Ends the stream, and the iteration under way, in whichever thread; what is prefetched is dropped.

        The loader can be iterated over again, and connects anew.
        """
        with self._lock:
            self._closes += 1
            connection = self._connection
            if connection is not None:
                connection.end()
            self._release_held(everything=True)
            if connection is not None:
                self._last_stats = replace(self.stats(), batches_ready=0)
                self._connection = None
                self._abandon.detach()
                connection.close()

    def __enter__(self) -> "StreamLoader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self, closes: int) -> Delivery | None:
        """The next batch; None at the end of the stream, or when the loader was closed since it was closed so often."""
        if not self._iterates.acquire(blocking=False):
            raise ConfigError("another thread iterates over this loader. Iterate in one thread at a time.")
        try:
            with self._lock:
                if self._closes != closes:
                    return None
                self._release_held()  # the trainer is done with it
                connection = self._connected()
                connection.start()
                self._waits_since = time.perf_counter()
            try:
                delivery = connection.get()
            finally:
                with self._lock:
                    self._waited_s += time.perf_counter() - self._waits_since
                    self._waits_since = None
            with self._lock:
                if isinstance(delivery, Delivery):
                    if self._closes != closes:
                        delivery.release()
                        return None
                    self._held = delivery
                    for source, position in delivery.positions.items():
                        self._positions[source] = position
                    self._batches += 1
                    return delivery
            if isinstance(delivery, BaseException):
                raise delivery
            return None
        finally:
            self._iterates.release()

    def _connected(self) -> "_Connection":
        if self._connection is None:
            owed = self._positions if any(map(any, self._positions)) else None
            self._connection = self._connect(owed=owed)
            # Not at the program's end: the thread is a daemon, and its process's death tells the instances.
            self._abandon = weakref.finalize(self, self._connection.abandon)
            self._abandon.atexit = False
            self._waited_s = 0.0
        return self._connection

    def _release_held(self, everything: bool = False) -> None:
        if self._held is not None:
            if self._held.in_shared_memory and self._device is None:
                self._pinner.wait(everything)  # for copies to a GPU that the trainer has begun and not waited for
            self._held.release()
            self._held = None


class _Connection:
    """What the background thread works on, from one `close` to the next.

    It does not refer to the loader, so that the stream ends with a loader that nobody refers to any more.

    Attributes:
        receiver: Where samples come from.
        queue: What waits for the trainer.
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
    ) -> None:
        self._addresses = addresses
        self._batch_size = batch_size
        self._device = device
        self._transform = transform
        self._drop_last = drop_last
        self._copy = copy
        self._whole = whole
        self._timeout_s = timeout_s
        self._pool = pool
        self._pinner = pinner
        self.receiver = SampleReceiver(addresses, owed=owed, **receive_options)
        self.queue: queue.Queue[_Queued] = queue.Queue(prefetch)
        self._builder = BatchBuilder(batch_size, pool)
        self._views: set[int] = set()  # batches that lie in shared memory and were not released yet
        self._told_of_copies = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()  # of the two below; a finalizer may run wherever
        self._running = self._abandoned = False

    def start(self) -> None:
        """Sees to it that the thread runs."""
        if self._thread is None:
            self._running = True
            self._thread = threading.Thread(target=self._run, name="blendtorch stream loader", daemon=True)
            self._thread.start()

    def get(self) -> _Queued | None:
        """Waits for what comes next; None when the connection was ended."""
        while not self._stop.is_set():
            try:
                what = self.queue.get(timeout=_TURN_S)
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
            thread.join(_TURN_S / 10)
        self._take_back()

    def close(self) -> None:
        """To be called after `end`."""
        self.receiver.close()

    def abandon(self) -> None:
        """Ends all this, soon: in the background thread, if that runs, for any thread may happen to call this."""
        with self._lock:
            self._abandoned = True
            self._stop.set()
            if self._running:
                return
        self._take_back()
        self.receiver.close()

    def _take_back(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                delivery = self.queue.get_nowait()
                if isinstance(delivery, Delivery):
                    delivery.release()

    # The background thread

    def _run(self) -> None:
        try:
            for delivery in self._assemble():
                passed_on = False
                try:
                    if self._transform is not None:
                        delivery.batch = self._transform(delivery.batch)
                    if self._device is not None:
                        delivery.batch = _to(delivery.batch, self._device)
                    passed_on = self._put(delivery)
                finally:
                    if not passed_on:
                        delivery.release()
                if not passed_on:
                    return
            self._put(_End())
        except BaseException as error:
            self._put(error)
        with self._lock:
            self._running = False
            if not self._abandoned:
                return
        self._take_back()
        self.receiver.close()

    def _put(self, what: _Queued) -> bool:
        while not self._stop.is_set():
            try:
                self.queue.put(what, timeout=_TURN_S)
            except queue.Full:
                continue
            return True
        return False

    def _assemble(self) -> Iterator[Delivery]:
        while not self._stop.is_set():
            # Whole batches of one instance are not taken apart to fill up a batch that another one has begun.
            group = self._receive(self._batch_size if self._whole else self._builder.missing)
            if group is None:
                break
            # What came before it from the same instance is delivered before it.
            if not self._copy and _is_batch(group, self._batch_size) and not self._builder.has_of(group.source):
                for values in group.fields.values():
                    self._pinner.pin(values)
                yield self._of_views(group)
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
        if self._builder.count and not self._drop_last and not self._stop.is_set():
            yield self._finish()

    def _finish(self) -> Delivery:
        # Kept here: what is collected when no sample comes in time is not lost.
        builder, self._builder = self._builder, BatchBuilder(self._batch_size, self._pool)
        return builder.finish()

    def _of_views(self, group: Group) -> Delivery:
        delivery = of_views(group)
        self._views.add(id(group))

        def release() -> None:
            group.release()
            self._views.discard(id(group))

        delivery.release = release
        return delivery

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
        while not self._stop.is_set():
            turn_s = min(_TURN_S, self._timeout_s - waited_s)
            started = time.monotonic()
            held = bool(self._views)  # there may be no room for samples until the trainer goes on
            try:
                return self.receiver.receive(most, turn_s)
            except PeerTimeout:
                waited_s = 0.0 if held or self._views else waited_s + time.monotonic() - started
                if waited_s >= self._timeout_s:
                    raise PeerTimeout(
                        f"no sample came from {', '.join(self._addresses)} for {self._timeout_s:g} s. Is Blender still "
                        "rendering (raise timeoutms), or does the script wait for something (see its log)?"
                    ) from None
        return None


def _is_state(state: Any) -> bool:
    """Whether `StreamLoader.state_dict` may have returned it."""
    return (
        isinstance(state, dict)
        and type(state.get("version")) is int
        and state["version"] == _STATE_VERSION
        and _is_number(state.get("batches"))
        and isinstance(state.get("positions"), list)
        and all(
            isinstance(position, list | tuple) and len(position) == 3 and all(map(_is_number, position))
            for position in state["positions"]
        )
    )


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_NUMBER


def _is_batch(group: Group, batch_size: int) -> bool:
    return group.in_shared_memory and len(group) == batch_size and group.rests is None


def _to(batch: Any, device: torch.device) -> Any:
    """Moves the tensors of a batch, or what a transform has made of it, to a device."""
    if isinstance(batch, torch.Tensor):
        there = batch.to(device, non_blocking=True)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
        return there
    if isinstance(batch, dict):
        return {name: _to(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        moved = [_to(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)  # a named tuple
    return batch
