"""Batches, put together from samples as they come."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..wire.group import EPOCH, INDEX, SEQ, Group
from ..wire.layout import Field
from ..wire.ring_memory import SLOT_WORDS
from .buffer_pool import BufferPool, tensor_of

Batch = dict[str, Any]

# Samples of more bytes are copied, and their memory given back, one by one.
_LARGE_BYTES = 100_000


@dataclass
class Delivery:
    """A batch on its way to the trainer.

    Attributes:
        batch: The batch.
        positions: For each source that it has samples of: seq, index and done of the next one.
        release: Gives shared memory back that the batch lies in; to be called when it is not used any more.
        count: How many samples it has.
        in_shared_memory: Whether there is any.
        streams: For each source in `positions` the stream that its position is in.
    """

    batch: Batch
    positions: dict[int, tuple[int, int, int]]
    release: Callable[[], None]
    count: int
    in_shared_memory: bool = False
    streams: dict[int, str] = field(default_factory=dict)


class BatchBuilder:
    """Collects one batch.

    Args:
        batch_size: How many samples it has.
        pool: Where memory comes from.
    """

    def __init__(self, batch_size: int, pool: BufferPool) -> None:
        self._size = batch_size
        self._pool = pool
        self._arrays: dict[str, np.ndarray] = {}
        self._kinds: Mapping[str, Field] = {}  # what was added last
        self._lists: dict[str, list[Any]] = {}
        self._positions: dict[int, tuple[int, int, int]] = {}
        self._words = np.empty((batch_size, len(SLOT_WORDS)), np.int64)
        self._btids = np.empty(batch_size, np.int64)
        self._is_large = False
        self.count = 0

    @property
    def missing(self) -> int:
        """How many samples it takes more."""
        return self._size - self.count

    def has_of(self, source: int) -> bool:
        """Whether there are samples of this source in it."""
        return source in self._positions

    def add(self, group: Group, first: int = 0) -> int:
        """Copies samples, from number `first` of the group on, as many as are missing; returns how many."""
        count = min(self.missing, len(group) - first)
        start, end = self.count, self.count + count
        self._words[start:end] = group.words[first : first + count]
        self._btids[start:end] = group.btid or 0
        if not self.count:
            self._begin(group)
        if group.kinds is self._kinds and not self._lists and group.rests is None:
            # By far the most frequent case: all is as it was. Memory is given back as soon as it can be written to again.
            step = 1 if self._is_large else count
            for at in range(0, count, step):
                for name, array in self._arrays.items():
                    _copy(group.fields[name][first + at : first + at + step], array[start + at : start + at + step])
                group.release(step)
        else:
            self._add_unlike(group, first, count)
        self._positions[group.source] = position_after(group, first + count - 1)
        self.count = end
        return count

    def _begin(self, group: Group) -> None:
        """Makes room for samples like these."""
        for name, values in group.fields.items():
            self._arrays[name] = self._pool.take(name, (self._size, *values.shape[1:]), values.dtype)
        self._kinds = group.kinds
        self._is_large = sum(values.nbytes for values in group.fields.values()) > _LARGE_BYTES * len(group)

    def _add_unlike(self, group: Group, first: int, count: int) -> None:
        """Copies samples whose fields may differ from those that are there."""
        start, end = self.count, self.count + count
        for name, all_values in group.fields.items():
            values = all_values[first : first + count]
            array = self._array(name, values)
            if array is None:
                self._list(name)[start:end] = [group.kinds[name].read(value) for value in values]
            else:
                _copy(values, array[start:end])
        for name in self._arrays.keys() - group.fields.keys():
            self._list(name)
        for i, rest in enumerate(group.rests[first : first + count] if group.rests else [], start):
            for name, value in rest.items():
                self._list(name)[i] = value
        self._kinds = group.kinds

    def finish(self) -> Delivery:
        """The batch, of as many samples as were added."""
        batch = who_made_it(self._btids[: self.count], self._words[: self.count])
        for name, array in self._arrays.items():
            tensor = tensor_of(array)
            batch[name] = tensor if self.count == self._size else tensor[: self.count]
        for name, values in self._lists.items():
            batch[name] = stack(values[: self.count])
        return Delivery(batch, self._positions, lambda: None, self.count)

    def _array(self, name: str, values: np.ndarray) -> np.ndarray | None:
        """Where the field's values go; None when they do not stack with what is there."""
        array = self._arrays.get(name)
        alike = array is not None and array.shape[1:] == values.shape[1:] and array.dtype == values.dtype
        return array if alike else None

    def _list(self, name: str) -> list[Any]:
        """The field's values as a list, None where a sample lacks it."""
        if name not in self._lists:
            values: list[Any] = [None] * self._size
            if name in self._arrays:
                values[: self.count] = [self._kinds[name].read(value) for value in self._arrays.pop(name)[: self.count]]
            self._lists[name] = values
        return self._lists[name]


def of_views(group: Group) -> Delivery:
    """The batch that samples are already, where they lie."""
    batch = who_made_it(np.full(len(group), group.btid or 0, np.int64), group.words)
    batch |= {name: torch.from_numpy(values) for name, values in group.fields.items()}
    return Delivery(batch, {group.source: position_after(group)}, group.release, len(group), group.in_shared_memory)


def position_after(group: Group, last: int = -1) -> tuple[int, int, int]:
    """Where the stream of its instance goes on after a group, or after a sample of it."""
    seq, index, done, *_ = group.words[last].tolist()
    return seq + 1, index, done + 1


def who_made_it(btids: np.ndarray, words: np.ndarray) -> Batch:
    """The fields that every batch has: int64, one value a sample."""
    epoch, seq, index = (torch.from_numpy(words[:, column].copy()) for column in (EPOCH, SEQ, INDEX))
    return {"btid": torch.from_numpy(btids), "btepoch": epoch, "btseq": seq, "btindex": index}


def _copy(values: np.ndarray, to: np.ndarray) -> None:
    if values.dtype == np.bool_:
        np.not_equal(values.view(np.uint8), 0, out=to)  # whatever the sender calls true
    else:
        np.copyto(to, values)


def stack(values: list[Any]) -> Any:
    """A tensor where the values are numbers or arrays of one shape and dtype, else a list; arrays become tensors."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and issubclass(kinds.pop(), bool | int | float | complex | np.generic):
        try:
            return torch.from_numpy(np.array(values, np.int64 if type(values[0]) is int else None))
        except (TypeError, OverflowError):  # integers beyond 64 bits
            return values
    arrays = all(isinstance(value, np.ndarray) for value in values)
    if arrays and len({(value.shape, value.dtype) for value in values}) == 1:
        return torch.from_numpy(np.stack(values))
    return [torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in values]
