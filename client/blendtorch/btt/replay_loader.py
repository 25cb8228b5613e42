"""Batches of a recording, in place of a stream."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError
from ..recording import Recording
from ..recording.recording import Source
from .batch import Batch
from .buffer_pool import BufferPool
from .device import to_device, wants_pinning
from .queues import TURN_S, put
from .replay_batch import read_batch
from .stats import InstanceStats, StreamStats

_STATE_VERSION = 1


class ReplayLoader:
    """An iterable of batches of a recording, that are the same as those of the `StreamLoader` it was made from.

    A background thread reads ahead while the trainer computes. Each `for` loop is an epoch: every sample once.

    Args:
        recording: A `btt.Recording`, its folder, a shard, or several of them.
        batch_size: How many samples a batch has.
        shuffle: Whether samples come in random order, another one in each epoch; else in that of the recording.
        seed: Of the order: the same seed gives the same epochs.
        num_batches: How many batches an epoch has at most; None for all of them.
        prefetch: How many batches are read ahead.
        device: Where the tensors go; None leaves them in main memory.
        pin_memory: Whether batches lie in page-locked memory; None when `device` is a CUDA device.
        transform: Called on each batch, in the background thread, before it goes to `device`.
        drop_last: Whether a last batch that is not full is dropped.

    Raises:
        MissingFileError: There is no such recording.
        RecordingError: It is not one.
        ConfigError: An argument is out of range.

    Attributes:
        recording, batch_size: The same.
        num_batches: How many batches an epoch has.
        epoch: The number of the next epoch, from 0.
        launcher: None; what a `StreamLoader` has here.
    """

    def __init__(
        self,
        recording: Recording | Source,
        batch_size: int = 1,
        *,
        shuffle: bool = False,
        seed: int = 0,
        num_batches: int | None = None,
        prefetch: int = 2,
        device: torch.device | str | None = None,
        pin_memory: bool | None = None,
        transform: Callable[[Batch], Any] | None = None,
        drop_last: bool = False,
    ) -> None:
        self.recording = recording if isinstance(recording, Recording) else Recording(recording)
        for name, value, least in [("batch_size", batch_size, 1), ("prefetch", prefetch, 1), ("seed", seed, 0)]:
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}, expected an integer, at least {least}.")
        if num_batches is not None and num_batches < 0:
            raise ConfigError(f"num_batches is {num_batches}, expected 0 or more, or None for all of the recording.")
        self.batch_size = batch_size
        self.epoch = 0
        self.launcher = None
        self._shuffle = shuffle
        self._seed = seed
        self._prefetch = prefetch
        self._device = None if device is None else torch.device(device)
        self._transform = transform
        count = len(self.recording)
        batches = count // batch_size if drop_last else -(-count // batch_size)
        self.num_batches = batches if num_batches is None else min(batches, num_batches)
        # One more than are ever in use: the one the trainer has, those ahead, the one being filled.
        self._pool = BufferPool(wants_pinning(self._device, pin_memory), most=prefetch + 3)
        self._reader: _Reader | None = None
        self._batches = 0  # of the epoch under way
        self._passed_over = 0  # of the epoch to come
        self._received = 0
        self._waited_s = 0.0

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.num_batches

    def __iter__(self) -> Iterator[Any]:
        """Yields the batches of an epoch; ends when the loader is closed. A loop that is left is not gone on with.

        Raises:
            RecordingError: A sample is damaged, or the files were changed since the recording was opened.
        """
        self.close()
        first, self._passed_over = self._passed_over, 0
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.arange(len(self.recording))
        if self._shuffle:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(order))
        batches = [order[i * self.batch_size :][: self.batch_size] for i in range(first, self.num_batches)]
        self._reader = reader = _Reader(batches, self._read, self._prefetch)
        self._batches = first
        try:
            while True:
                started = time.perf_counter()
                batch = reader.get()
                self._waited_s += time.perf_counter() - started
                if batch is None:
                    break
                self._batches += 1
                self._received += len(batches[self._batches - first - 1])
                yield batch
            if reader.ended:
                self._batches = 0
        finally:
            reader.close()

    def stats(self) -> StreamStats:
        """What came, and how long the trainer has waited; as a `StreamLoader` tells."""
        ready = self._reader.queue.qsize() if self._reader is not None else 0
        return StreamStats((InstanceStats(received=self._received),), self._waited_s, ready, 0)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, for `load_state_dict`: plain numbers. Behind the last batch the loop to come is empty."""
        batches = self._passed_over or self._batches
        epoch = self.epoch - (self._passed_over == 0 and batches > 0)
        return {"version": _STATE_VERSION, "epoch": epoch, "batches": batches, "of": self._arguments()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where another loader of the same recording and arguments was: the next loop is what it had left.

        Raises:
            ConfigError: It is not the state of a ReplayLoader, or one with other arguments.
        """
        numbers = [state.get(name) for name in ("version", "epoch", "batches")] if isinstance(state, dict) else []
        if not numbers or not all(type(n) is int and n >= 0 for n in numbers) or numbers[0] != _STATE_VERSION:
            raise ConfigError("this is not the state of a ReplayLoader. Expected what state_dict() returned.")
        if state.get("of") != self._arguments():
            raise ConfigError(f"the state is of a loader with {state.get('of')}, this one has {self._arguments()}.")
        self.close()
        self.epoch, self._passed_over, self._batches = state["epoch"], state["batches"], 0

    def _arguments(self) -> dict[str, Any]:
        """What makes the same epochs."""
        shuffled = {"seed": self._seed} if self._shuffle else {}
        return {"samples": len(self.recording), "batch_size": self.batch_size, "shuffle": self._shuffle, **shuffled}

    def close(self) -> None:
        """Ends the epoch under way, in whichever thread. The loader can be iterated over again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def __enter__(self) -> "ReplayLoader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, indices: np.ndarray) -> Any:
        batch: Any = read_batch(self.recording, indices.tolist(), self._pool)
        if self._transform is not None:
            batch = self._transform(batch)
        return batch if self._device is None else to_device(batch, self._device)


class _End:
    """In the queue: there are no more batches."""


class _Reader:
    """A thread that reads the batches of one epoch ahead."""

    def __init__(self, batches: list[np.ndarray], read: Callable[[np.ndarray], Any], prefetch: int) -> None:
        self.queue: queue.Queue[Any] = queue.Queue(prefetch)
        self.ended = False
        self._batches = batches
        self._read = read
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blendtorch replay loader", daemon=True)
        self._thread.start()

    def get(self) -> Any:
        """The next batch; None at the end."""
        while not self._stop.is_set():
            try:
                what = self.queue.get(timeout=TURN_S)
            except queue.Empty:
                continue
            if isinstance(what, BaseException):
                raise what
            self.ended = isinstance(what, _End)
            return None if self.ended else what
        return None

    def close(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            for indices in self._batches:
                batch = self._read(indices)
                if not put(self.queue, batch, self._stop):
                    return
                del batch  # its memory is used again when the trainer does not use it any more
            put(self.queue, _End(), self._stop)
        except BaseException as error:
            put(self.queue, error, self._stop)
