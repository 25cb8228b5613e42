"""Batches of live samples and of recent ones, for training that is faster than Blender."""

import copy
import math
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, PeerTimeout
from .batch import Batch, stack
from .buffer_pool import BufferPool, tensor_of
from .device import to_device, wants_pinning
from .stats import StreamStats
from .stream_loader import StreamLoader

_Sample = dict[str, Any]

# With so many batches' worth of samples to choose from, a batch may do without live ones.
_PLENTY = 2
# The batch that the trainer has, the one being filled, and one that it keeps for a while.
_MOST_BUFFERS = 3
_NO_COLUMN = -1


@dataclass(frozen=True)
class ReuseStats(StreamStats):
    """The account of a stream some of whose samples are used again. `str` of it is one line, for a progress bar.

    What it has of `StreamStats` is about the stream: samples that are used again do not come again.

    Attributes:
        live: Samples of the stream that were delivered.
        reused: How many samples of the batches were recent ones.
    """

    live: int = 0
    reused: int = 0

    def __str__(self) -> str:
        return f"{self.live} live, {self.reused} reused; {super().__str__()}"


@dataclass
class _Recent:
    """A sample that was delivered, and may be so many times more."""

    sample: _Sample
    left: int


class ReuseLoader:
    """Fills the batches of a stream up with recent samples, so that training goes up to `reuse` times as fast as Blender.

    ```
    with btt.stream("scene.blend", "script.py", batch_size=1, prefetch=32) as stream:
        loader = btt.ReuseLoader(stream, batch_size=32, reuse=4)
        for batch in loader:
            fresh = batch["btage"] == 0
    ```

    Each sample of the stream is delivered once when it has come (live), in the order in which it came, and then up to
    `reuse - 1` times more, in later batches, while it is among the `capacity` most recent. A batch has first all live
    samples that are there, if they are not more than fit, then recent ones chosen at random, none of them twice. It waits
    for live samples only where fewer than `batch_size / reuse` have come: else the first samples would be used up in equal
    batches, one after the other, and then the next. Where there are recent ones for two batches it waits for none, so that
    a pause, such as a restart, is bridged. When Blender is faster than training all are live; what waits holds Blender.

    Batches are those of a `StreamLoader`, and have `btage` (int64): 0 for live samples, n for what was the n-th newest of
    all that were delivered before this batch. They are copies: change them in place as you like.

    It keeps copies of up to `capacity` samples: as much memory, on the device of the loader's batches. What is random in
    batches is best made anew for each, by this `transform`: that of the loader sees each sample once.

    The iteration ends with the stream, when all live samples are delivered; the last batch is filled up, too, as far as
    there are recent samples. Errors of the stream are raised when all that came before is delivered. A `PeerTimeout` is
    raised at once, though there may be recent samples; what came before is in the next batch of the next loop. One thread
    iterates at a time; `stats` and `close` may be called from others.

    Args:
        loader: The stream. Its batch size is how many live samples are taken at a time, 1 at best; it has to divide
            `batch_size`. It has to read as many samples ahead as a batch has, `StreamLoader(..., 1, prefetch=batch_size)`,
            and to be without `num_batches`.
        batch_size: How many samples a batch has.
        reuse: How often a sample is delivered at most, the first time included; 1 for live ones only. With 2.5 that is two
            times for every other sample and three times for the others.
        capacity: How many samples are kept, at least two batches.
        seed: Which recent ones are chosen. Batches are the same at each run only where samples come in the same rhythm.
        device: Where the tensors go; None leaves them where the loader puts them.
        transform: Called on each batch before it goes to `device`.
        num_batches: How many batches one iteration yields; None until all scripts have ended.

    Raises:
        ConfigError: An argument is out of range, or does not go with the loader.

    Attributes:
        batch_size, num_batches: The same.
    """

    def __init__(
        self,
        loader: StreamLoader,
        batch_size: int,
        *,
        reuse: float = 4,
        capacity: int = 256,
        seed: int = 0,
        device: torch.device | str | None = None,
        transform: Callable[[Batch], Any] | None = None,
        num_batches: int | None = None,
    ) -> None:
        for name, value, least in [("batch_size", batch_size, 1), ("capacity", capacity, 1), ("seed", seed, 0)]:
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}, expected an integer, at least {least}.")
        if not isinstance(reuse, int | float) or not 1 <= reuse < math.inf:
            raise ConfigError(f"reuse is {reuse!r}, expected a finite number, at least 1.")
        if capacity < _PLENTY * batch_size:
            raise ConfigError(f"capacity is {capacity}, expected at least two batches, {_PLENTY * batch_size} samples.")
        if num_batches is not None and num_batches < 0:
            raise ConfigError(
                f"num_batches is {num_batches}, expected 0 or more, or None until the scripts have ended."
            )
        if not isinstance(loader, StreamLoader):
            raise ConfigError(f"loader is a {type(loader).__name__}, expected a StreamLoader, as btt.stream gives it.")
        if loader.num_batches is not None:
            raise ConfigError(
                f"the loader ends after num_batches={loader.num_batches}. Give num_batches to the ReuseLoader instead."
            )
        if batch_size % loader.batch_size:
            raise ConfigError(
                f"batch_size is {batch_size}, expected a multiple of the loader's, {loader.batch_size}. "
                f"Make the loader with batch_size=1."
            )
        ahead = loader.prefetch * loader.batch_size
        if ahead < batch_size:
            raise ConfigError(
                f"the loader reads {ahead} samples ahead, expected a batch of {batch_size} at least, or Blender would wait "
                f"while recent samples are used. Make it with prefetch={batch_size // loader.batch_size}."
            )
        self._device = None if device is None else torch.device(device)
        self.batch_size = batch_size
        self.num_batches = num_batches
        self._loader = loader
        self._reuse = reuse
        self._capacity = capacity
        self._seed = seed
        self._transform = transform
        self._memory = BufferPool(wants_pinning(self._device, None), _MOST_BUFFERS)
        self._state: dict[str, Any] | None = None  # of the loader, behind the last batch
        self._batches = self._batches_before = 0  # yielded by this iteration; by the one that was saved
        self._closes = 0
        self._iterates = threading.Lock()
        self._lock = threading.Lock()  # of all below, but not while samples are waited for
        self._begin()

    def _begin(self) -> None:
        self._begun = True
        self._random = random.Random(self._seed)
        self._live: list[_Sample] = []  # taken from the stream, not delivered yet
        self._recent: dict[int, _Recent] = {}  # by their number in the stream, the oldest first
        self._error: Exception | None = None  # of the stream; what came before is to be delivered first
        self._count = self._reused = self._dropped = 0  # samples delivered live; again; not at all

    def __len__(self) -> int:
        """How many batches an iteration yields.

        Raises:
            TypeError: `num_batches` was not given.
        """
        if self.num_batches is None:
            raise TypeError("this ReuseLoader has no length: it was made without num_batches.")
        return self.num_batches

    def __iter__(self) -> Iterator[Any]:
        """Yields batches; ends when the loader is closed.

        Raises:
            ConfigError: Another thread iterates, or the loader's transform makes batches that cannot be taken apart.
            BlendTorchError: As iterating over the loader, see `StreamLoader`.
        """
        closes = self._closes
        with self._lock:
            if not self._begun:
                self._begin()
        stream = iter(self._loader)
        self._batches, self._batches_before = self._batches_before, 0
        goes_on = True
        while self.num_batches is None or self._batches < self.num_batches:
            with self._alone():
                goes_on = goes_on and self._take(stream, closes)
                batch = self._next_batch(goes_on, closes)
            if batch is None:
                break
            if self._transform is not None:
                batch = self._transform(batch)
            if self._device is not None:
                batch = to_device(batch, self._device)
            self._state = self._loader.state_dict()
            self._batches += 1
            yield batch
        self._batches = 0

    def stats(self) -> ReuseStats:
        """The account of the stream, and how many samples were live and reused: anew after `close`.

        Any thread may ask at any time.
        """
        stream = vars(self._loader.stats())
        return ReuseStats(
            **{**stream, "dropped": stream["dropped"] + self._dropped}, live=self._count, reused=self._reused
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, behind the last batch that was yielded, as `StreamLoader.state_dict`; either loads it.

        Recent samples are not saved: who goes on from there begins with live ones.
        """
        return {**(self._state or self._loader.state_dict()), "batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where another loader was: see `StreamLoader.load_state_dict`.

        Raises:
            ConfigError: The state does not fit, or the loader has begun already.
        """
        self._loader.load_state_dict(state)
        self._state = None
        self._batches = self._batches_before = state["batches"]

    def close(self) -> None:
        """Closes the loader, and ends the iteration under way, in whichever thread; recent samples are dropped.

        It can be iterated over again, and then begins anew.
        """
        with self._lock:
            self._closes += 1
            self._dropped += len(self._live)
            self._live.clear()
            self._recent.clear()
            self._error = None
            self._begun = False
        self._loader.close()

    def __enter__(self) -> "ReuseLoader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._iterates.acquire(blocking=False):
            raise ConfigError("another thread iterates over this loader. Iterate in one thread at a time.")
        try:
            yield
        finally:
            self._iterates.release()

    def _take(self, stream: Iterator[Any], closes: int) -> bool:
        """Takes the live samples that are there, or waits for as many as are needed; returns False at the stream's end."""
        ready = self._loader.stats().batches_ready
        while (
            self._error is None
            and self.batch_size - len(self._live) >= self._loader.batch_size
            and (ready > 0 or not self._has_enough())
        ):
            try:
                batch = next(stream, None)
            except PeerTimeout:
                raise
            except Exception as error:
                self._error = error
                break
            if batch is None:
                return False
            samples = _take_apart(batch, self._loader.batch_size)
            with self._lock:
                if self._closes != closes:
                    self._dropped += len(samples)
                    return False
                self._live += samples
            ready -= 1
        with self._lock:
            if self._error is not None and not self._live:
                failure, self._error = self._error, None
                self._recent.clear()
                raise failure
        return True

    def _has_enough(self) -> bool:
        """Whether there is a batch that need not wait for more live samples."""
        live, recent = len(self._live), len(self._recent)
        has_share = live * self._reuse >= self.batch_size or recent >= _PLENTY * self.batch_size
        return has_share and live + recent >= self.batch_size

    def _next_batch(self, goes_on: bool, closes: int) -> Batch | None:
        """A batch of what was taken and of recent ones; None at the end."""
        with self._lock:
            if self._closes != closes:
                return None
            batch = self._mix() if goes_on or self._live else None
            if not goes_on:
                self._recent.clear()  # of what has ended nothing is used again in the next loop
            return batch

    def _mix(self) -> Batch:
        live, self._live = self._live, []
        missing = min(self.batch_size - len(live), len(self._recent))
        chosen = self._random.sample(list(self._recent), missing)
        batch = self._collate(live + [self._recent[number].sample for number in chosen])
        ages = [0] * len(live) + [self._count - number for number in chosen]
        where = next((values.device for values in batch.values() if isinstance(values, torch.Tensor)), None)
        batch["btage"] = torch.tensor(ages, dtype=torch.int64, device=where)
        for number in chosen:
            self._recent[number].left -= 1
            if not self._recent[number].left:
                del self._recent[number]
        self._reused += len(chosen)
        for sample in live:
            # So many that all until now have `reuse` on average.
            left = math.floor((self._count + 1) * self._reuse) - math.floor(self._count * self._reuse) - 1
            if left:
                self._recent[self._count] = _Recent(sample, left)
            self._count += 1
        while self._recent and (oldest := next(iter(self._recent))) < self._count - self._capacity:
            del self._recent[oldest]
        return batch

    def _collate(self, samples: list[_Sample]) -> Batch:
        names = dict.fromkeys(name for sample in samples for name in sample)
        return {name: self._column(name, [sample.get(name) for sample in samples]) for name in names}

    def _column(self, name: str, values: list[Any]) -> Any:
        """One field of a batch, in memory of its own."""
        if not _are_alike(values):
            return stack([_own(value.item() if _is_number(value) else value) for value in values])
        first = values[0]
        if first.device.type != "cpu" or not first.nbytes:
            return torch.stack(values)
        memory = self._memory.take(name, (len(values) * first.nbytes,), np.dtype(np.uint8))
        column = tensor_of(memory).view(first.dtype).view(len(values), *first.shape)
        return torch.stack(values, out=column)


def _take_apart(batch: Any, most: int) -> list[_Sample]:
    """The samples of a batch, in memory of their own."""
    counts = set(map(_count, batch.values())) if isinstance(batch, dict) else set()
    if len(counts) != 1 or not 0 <= max(counts) <= most:
        what = f"a batch with {', '.join(batch)}" if isinstance(batch, dict) else f"a {type(batch).__name__}"
        raise ConfigError(
            f"the loader gives {what}, expected a dict of tensors and lists with one value for each of up to {most} "
            "samples. Where its transform makes something else, give that to the ReuseLoader instead."
        )
    return [{name: _own(column[i]) for name, column in batch.items()} for i in range(counts.pop())]


def _count(column: Any) -> int:
    """How many values a field of a batch has."""
    is_column = isinstance(column, list) or (isinstance(column, torch.Tensor) and column.ndim > 0)
    return len(column) if is_column else _NO_COLUMN


def _is_number(value: Any) -> bool:
    """Whether it was a number, which is a tensor in a batch of one, and a number among those that do not stack."""
    return isinstance(value, torch.Tensor) and value.ndim == 0


def _own(value: Any) -> Any:
    """A copy that has nothing in common with it."""
    # Not deepcopy for tensors: it would copy all of the batch that this is a part of.
    return value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def _are_alike(values: list[Any]) -> bool:
    """Whether they are tensors that stack."""
    first = values[0]
    return isinstance(first, torch.Tensor) and all(
        isinstance(value, torch.Tensor)
        and value.shape == first.shape
        and value.dtype == first.dtype
        and value.device == first.device
        for value in values
    )
