"""Batches straight from the stream, with no worker processes."""

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import torch

from ..errors import ConfigError
from ..launch.addresses import address_list
from ..launch.launcher import BlenderLauncher
from ..recording.settings import Record, as_settings
from ..wire.curve import CurveKeys
from ..wire.sample_receiver import Order
from ..wire.sockets import DEFAULT_QUEUE_SIZE
from .batch import Batch, Delivery
from .buffer_pool import BufferPool
from .device import wants_pinning
from .pinning import Pinner
from .stats import InstanceStats, StreamStats
from .stream_connection import StreamConnection

_STATE_VERSION = 1
_MAX_NUMBER = 2**63 - 1


class StreamLoader:
    """An iterable of batches that a background thread puts together while the trainer computes; in place of a `DataLoader`.

    A batch is a dict: fields that stack are tensors, first axis the samples; what does not stack is a list. Integers become
    int64, floats float64, images stay H x W x C uint8. `btid`, `btepoch`, `btseq` and `btindex` (int64) tell where each
    sample comes from, see `btb.BlenderOutputChannel.publish`.

    Batches lie in memory that is used again once nothing refers to it, neither a tensor nor an array made of one: memory of
    their own or, with one instance, the shared memory that Blender has written large samples to, as long as there is room.
    (What a process that is forked from this one is to see, it has to copy.)

    Several `for` loops over one loader go on with the same stream; nothing is lost in between. One thread iterates at a
    time; `stats` and `close` may be called from others.

    Args:
        addresses: What to connect to, usually `launcher.launch_info.addresses["DATA"]`.
        batch_size: How many samples a batch has.
        num_batches: How many batches one iteration yields; None until all scripts have ended.
        prefetch: How many batches are put together ahead.
        device: Where the tensors go; None leaves them in main memory.
        pin_memory: Whether batches lie in page-locked memory; None when `device` is a CUDA device.
        transform: Called on each batch, in the background thread, before it goes to `device`. One that refers to the loader
            keeps it alive: then only `close` ends the stream.
        drop_last: Whether a last batch that is not full is dropped.
        order: "arrival" gives samples as they come, from all instances in turn. "index" gives them by `btindex`: the same
            stream at each run, whatever the number of instances; a slow instance then holds the others.
        copy: False gives batches that lie in shared memory, where Blender has written them: no copy at all. Each has
            samples of one instance, and is valid until the next one is asked for (what runs on the current CUDA stream is
            waited for; copies on other streams are yours to wait for). Where samples do not come by shared memory, or do
            not stack, or another receiver has begun a batch of the same instance, batches are copied all the same.
        record: A folder, or `btt.RecordingSettings`, to record what comes into, before `transform`: every sample that
            arrives, also when it is in no batch any more. A folder that holds an interrupted recording of this stream is
            gone on with.
        timeoutms: How many milliseconds to wait for a sample. With `copy=False` it is not counted while a batch is in use
            or waits to be used, for there may be no room for samples; with `btt.stream` not while an instance is being
            restarted.
        queue_size: How many samples of each instance may wait here that do not come by shared memory.
        allow_pickle: Whether pickled fields are loaded. **A pickle can execute code**: only from Blenders you trust.
        curve: The keys of the launch, `launch_info.curve`, for Blenders on other machines.

    Raises:
        ConfigError: An argument is out of range.

    Attributes:
        batch_size, num_batches, prefetch: The same.
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
        record: Record | None = None,
        timeoutms: float = 30_000,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        allow_pickle: bool = False,
        curve: CurveKeys | None = None,
    ) -> None:
        self._addresses = address_list(addresses)
        for name, value, least in [
            ("batch_size", batch_size, 1),
            ("prefetch", prefetch, 1),
            ("queue_size", queue_size, 1),
        ]:
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}, expected an integer, at least {least}.")
        if num_batches is not None and num_batches < 0:
            raise ConfigError(
                f"num_batches is {num_batches}, expected 0 or more, or None until the scripts have ended."
            )
        if timeoutms <= 0:
            raise ConfigError(f"timeoutms is {timeoutms}, expected a positive number.")
        if order not in ("arrival", "index"):
            raise ConfigError(f"order is {order!r}, expected 'arrival' or 'index'.")
        self._device = None if device is None else torch.device(device)
        pin_memory = wants_pinning(self._device, pin_memory)
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.prefetch = prefetch
        # By index, samples of several instances come in turn: batches of one instance's would be out of order. Where copies
        # are asked for, a batch has samples of all instances, and may be page-locked.
        is_alone = len(self._addresses) == 1
        whole = is_alone and not pin_memory if copy else is_alone or order == "arrival"
        receive_options: dict[str, Any] = {
            "queue_size": queue_size,
            "order": order,
            "batch": batch_size if whole else 0,
            "keeps": whole and copy,
            "allow_pickle": allow_pickle,
            "curve": curve,
        }
        # One more than are ever in use: the one the trainer has, those ahead, the one being filled.
        pool = BufferPool(pin_memory, most=prefetch + 3)
        self._pinner = Pinner()  # of the shared memory, where batches are not copied
        self._connect = partial(
            StreamConnection,
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
            record=None if record is None else as_settings(record),
        )
        self._connection: StreamConnection | None = None
        self._lock = threading.RLock()  # of all below, but not while a batch is waited for
        self._iterates = threading.Lock()
        self._closes = 0
        self._held: Delivery | None = None
        self._positions: list[tuple[int, int, int]] = [(0, 0, 0)] * len(self._addresses)
        self._streams = [""] * len(self._addresses)  # that the positions are in; "" for whichever is there
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
            RecordingWriteError: The disk that is recorded to is full or has failed; what was recorded is kept.
            EncodeError: A field cannot be recorded; names it.
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
            return StreamStats.of(connection.receiver.sources, waited_s, connection.queue.qsize(), connection.dropped)
        return self._last_stats or StreamStats((InstanceStats(),) * len(self._addresses), 0.0, 0, 0)

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
        self._streams = [""] * len(positions)
        self._batches = self._batches_before = state["batches"]

    def close(self) -> None:
        """Ends the stream, and the iteration under way, in whichever thread; what is prefetched is dropped, and counted.

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
                        if self._last_stats is not None:
                            dropped = self._last_stats.dropped + delivery.count
                            self._last_stats = replace(self._last_stats, dropped=dropped)
                        return None
                    if delivery.in_shared_memory:
                        self._held = delivery
                    for source, position in delivery.positions.items():
                        self._positions[source] = position
                        self._streams[source] = delivery.streams[source]
                    self._batches += 1
                    return delivery
            if isinstance(delivery, BaseException):
                raise delivery
            return None
        finally:
            self._iterates.release()

    def _connected(self) -> StreamConnection:
        if self._connection is None:
            owed = self._positions if any(map(any, self._positions)) else None
            self._connection = self._connect(owed=owed, streams=self._streams, launcher=self.launcher)
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
