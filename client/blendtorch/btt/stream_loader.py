"""Batches straight from the stream, with no worker processes."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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

_STATE_VERSION = 1
# How soon the background thread sees that it shall end.
_TURN_S = 0.1


class _End:
    """In the queue: there are no more batches."""


class StreamLoader:
    """An iterable of batches that a background thread puts together while the trainer computes; in place of a `DataLoader`.

    A batch is a dict: fields that stack are tensors, first axis the samples; what does not stack is a list. Integers become
    int64, floats float64, images stay H x W x C uint8. `btid`, `btepoch`, `btseq` and `btindex` (int64) tell where each
    sample comes from, see `btb.BlenderOutputChannel.publish`.

    Batches are memory of their own that is used again once nothing refers to it. Several `for` loops over one loader go on
    with the same stream; nothing is lost in between.

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
            samples of one instance, and is valid until the next one is asked for. Where samples do not come by shared
            memory, or do not stack, batches are copied all the same.
        timeoutms: How many milliseconds to wait for a sample.
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
        self._prefetch = prefetch
        self._transform = transform
        self._drop_last = drop_last
        self._copy = copy
        self._timeout_s = timeoutms / 1000
        self._receive_options: dict[str, Any] = {
            "queue_size": queue_size,
            "order": order,
            # By index, samples of several instances come in turn: batches of one instance's would be out of order.
            "batch": 0 if copy or (order == "index" and len(self._addresses) > 1) else batch_size,
            "allow_pickle": allow_pickle,
            "curve": curve,
        }
        # One more than are ever in use: the one the trainer has, those ahead, the one being filled.
        self._pool = BufferPool(pin_memory, most=prefetch + 3)
        self._builder = BatchBuilder(batch_size, self._pool)
        self._pinner = Pinner()  # of the shared memory, where batches are not copied
        self._receiver: SampleReceiver | None = None
        self._thread: threading.Thread | None = None
        self._queue: queue.Queue[Delivery | _End | BaseException] = queue.Queue(prefetch)
        self._stop = threading.Event()
        self._held: Delivery | None = None
        self._positions: list[tuple[int, int, int]] = [(0, 0, 0)] * len(self._addresses)
        self._batches = 0
        self._waited_s = 0.0
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
        """Yields batches.

        Raises:
            PeerTimeout: No sample came in time.
            ScriptError: The script in an instance has failed, or the instance has died and was not restarted.
            AuthenticationError: An instance wants keys, see `curve`.
            ProtocolVersionError: An instance speaks another version of the protocol.
            PickleNotAllowedError: A sample holds a pickle, and `allow_pickle` is false.
        """
        left = self.num_batches
        while left is None or left > 0:
            delivery = self._next()
            if delivery is None:
                return
            yield delivery.batch
            if left is not None:
                left -= 1

    def stats(self) -> StreamStats:
        """What came, what was lost, and who waited for whom, since the loader connected: anew after `close`."""
        if self._receiver is not None:
            return StreamStats.of(self._receiver.sources, self._waited_s, self._queue.qsize())
        return self._last_stats or StreamStats((InstanceStats(),) * len(self._addresses), 0.0, 0)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, behind the last batch that was yielded: plain numbers, for `torch.save` or JSON.

        With `order="index"` and the same seed, a loader that loads it yields what this one would have yielded next; with
        "arrival" it yields the same samples in another order.
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
        if self._receiver is not None:
            raise ConfigError("this loader has begun already. Load the state before the first iteration.")
        positions = state.get("positions") if isinstance(state, dict) else None
        if not isinstance(positions, list) or state.get("version") != _STATE_VERSION:
            raise ConfigError("this is not the state of a StreamLoader. Expected what state_dict() returned.")
        if len(positions) != len(self._addresses):
            raise ConfigError(
                f"the state is of {len(positions)} instances, this loader has {len(self._addresses)}. Launch as many."
            )
        self._positions = [(int(seq), int(index), int(done)) for seq, index, done in positions]
        self._batches = int(state["batches"])

    def close(self) -> None:
        """Ends the stream; what is prefetched is dropped. The loader can be iterated over again, and connects anew."""
        self._stop.set()
        if self._thread is not None:
            while self._thread.is_alive():
                self._take_back()
                self._thread.join(_TURN_S / 10)
            self._thread = None
        self._take_back()
        if self._held is not None:
            self._held.release()
            self._held = None
        self._builder = BatchBuilder(self.batch_size, self._pool)
        if self._receiver is not None:
            self._last_stats = replace(self.stats(), batches_ready=0)
            self._receiver.close()
            self._receiver = None

    def __enter__(self) -> "StreamLoader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The trainer's side

    def _next(self) -> Delivery | None:
        if self._held is not None:  # the trainer is done with it
            self._held.release()
            self._held = None
        if self._receiver is None:
            owed = self._positions if any(map(any, self._positions)) else None
            self._receiver = SampleReceiver(self._addresses, owed=owed, **self._receive_options)
            self._waited_s = 0.0
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="blendtorch stream loader", daemon=True)
            self._thread.start()
        started = time.perf_counter()
        delivery = self._queue.get()
        self._waited_s += time.perf_counter() - started
        if isinstance(delivery, Delivery):
            self._held = delivery
            for source, position in delivery.positions.items():
                self._positions[source] = position
            self._batches += 1
            return delivery
        self._thread.join()
        self._thread = None
        if isinstance(delivery, BaseException):
            raise delivery
        return None

    def _take_back(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                delivery = self._queue.get_nowait()
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

    def _put(self, what: Delivery | _End | BaseException) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(what, timeout=_TURN_S)
            except queue.Full:
                continue
            return True
        return False

    def _assemble(self) -> Iterator[Delivery]:
        while not self._stop.is_set():
            group = self._receive(self._builder.missing)
            if group is None:
                break
            # What came before it from the same instance is delivered before it.
            if not self._copy and _is_batch(group, self.batch_size) and not self._builder.has_of(group.source):
                for values in group.fields.values():
                    self._pinner.pin(values)
                yield of_views(group)
                continue
            added = 0
            try:
                while added < len(group):  # there may be more than were asked for, where batches are taken whole
                    added += self._builder.add(group, added)
                    if not self._builder.missing:
                        yield self._finish()
            finally:
                group.release()
        if self._builder.count and not self._drop_last and not self._stop.is_set():
            yield self._finish()

    def _finish(self) -> Delivery:
        # Kept in the loader: what is collected when no sample comes in time is not lost.
        builder, self._builder = self._builder, BatchBuilder(self.batch_size, self._pool)
        return builder.finish()

    def _receive(self, most: int) -> Group | None:
        """The next samples; None at the end of the stream, or of this loader."""
        assert self._receiver is not None
        waited_s = 0.0
        while not self._stop.is_set():
            turn_s = min(_TURN_S, self._timeout_s - waited_s)
            started = time.monotonic()
            try:
                return self._receiver.receive(most, turn_s)
            except PeerTimeout:
                waited_s += time.monotonic() - started
                if waited_s >= self._timeout_s:
                    raise PeerTimeout(
                        f"no sample came from {', '.join(self._addresses)} for {self._timeout_s:g} s. Is Blender still "
                        "rendering (raise timeoutms), or does the script wait for something (see its log)?"
                    ) from None
        return None


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
