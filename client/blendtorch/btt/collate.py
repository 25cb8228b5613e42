"""Batches that the workers of a `DataLoader` put together, in shared memory that is used again."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate, get_worker_info

from ..wire.recycled_memory import lend
from ..wire.ring_memory import fence

_ALIGNMENT = 64
_HEADER_BYTES = _ALIGNMENT  # the first byte tells whether the trainer uses what follows
# Blocks that a worker keeps: those that the loader has read ahead, the trainer's, the one that is filled, and some.
_MOST_KEPT = 8

_blocks: deque[torch.Tensor] = deque(maxlen=_MOST_KEPT)  # of this process, all of one size


def collate(items: list[Any]) -> Any:
    """Puts samples together as PyTorch's `default_collate` does, but faster: for `DataLoader(..., collate_fn=btt.collate)`.

    Fields that are dicts, such as labels, whose tables have as many rows as there are things, come as a list with one dict
    for each sample, as from a `StreamLoader`.

    A worker hands each batch on in shared memory. PyTorch takes fresh one for each tensor, which the system clears page by
    page and takes away again: that takes longer than all else. Here a batch has one block of shared memory, which is used
    again once nothing in the trainer refers to any of its tensors; a trainer may keep what it likes. (What a
    process that is forked from the trainer is to see, it has to copy.)

    Args:
        items: Samples: dicts, as a `RemoteIterableDataset` yields them, or tuples or lists. Others, and fields that are
            neither arrays nor numbers, are left to `default_collate`.

    Returns:
        For dicts a dict of tensors, first axis the samples, and of lists; else what `default_collate` returns. In a worker
        it is something that becomes that on its way to the trainer, and is of no use there: change samples by
        `item_transform`, and batches in the trainer.

    Raises:
        Exception: What `default_collate` raises for samples that do not stack.
    """
    rows = _rows(items)
    if not rows or any(row.keys() != rows[0].keys() for row in rows):
        return default_collate(items)
    is_dict = isinstance(items[0], dict)
    if get_worker_info() is None:
        return (
            {name: _collated(name, [row[name] for row in rows]) for name in rows[0]}
            if is_dict
            else default_collate(items)
        )
    as_given: Any = list if is_dict else tuple  # so does default_collate
    batch: dict[Any, Any] = {}
    columns: dict[Any, Any] = {}  # arrays side by side, or one array of all
    end = _HEADER_BYTES
    for name in rows[0]:
        column = as_given(row[name] for row in rows)
        if _are_alike(column):
            columns[name] = column
        else:
            batch[name] = _collated(name, column) if is_dict else default_collate(column)
            if not isinstance(batch[name], torch.Tensor):
                continue
            columns[name] = batch[name].numpy()
        first = columns[name][0]
        batch[name] = place = _Place((len(rows), *first.shape), first.dtype, end)
        end += -(-place.nbytes // _ALIGNMENT) * _ALIGNMENT
    memory = _take(end)
    for name, values in columns.items():
        np.stack(values, out=batch[name].of(memory.numpy()))
    return _Parcel(memory, batch, is_dict)


def _collated(name: Any, column: Any) -> Any:
    """One field of a batch."""
    if all(type(value) is dict for value in column):
        return list(column)
    try:
        return default_collate(column)
    except (RuntimeError, TypeError) as error:
        raise type(error)(f"field {name!r} of the samples does not stack: {error}") from error


def _rows(items: list[Any]) -> list[dict[Any, Any]]:
    """The samples as dicts; none when one is of another kind."""
    if all(type(item) in (tuple, list) for item in items):
        return [dict(enumerate(item)) for item in items]
    return list(items) if all(type(item) is dict for item in items) else []


@dataclass(frozen=True)
class _Place:
    """Where a tensor of a batch lies in its block."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def of(self, memory: np.ndarray) -> np.ndarray:
        return memory[self.offset : self.offset + self.nbytes].view(self.dtype).reshape(self.shape)


class _Parcel:
    """A batch on its way from a worker: unpickled, it is the batch."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, self._parts


def _unpack(memory: torch.Tensor, batch: dict[Any, Any], is_dict: bool) -> Any:
    """The batch, in the trainer; its memory is given back once nothing refers to it."""
    shared = memory.numpy()
    used = lend(shared.data, _give_back, shared, os.getpid())
    whole = {
        name: torch.from_numpy(value.of(used)) if isinstance(value, _Place) else value for name, value in batch.items()
    }
    return whole if is_dict else list(whole.values())


def _give_back(shared: np.ndarray, owner: int) -> None:
    if os.getpid() == owner:  # not in a fork, whose parent may use it yet
        fence()  # all was read before
        shared[0] = 0


def _are_alike(values: Sequence[Any]) -> bool:
    """Whether they are arrays that make a tensor."""
    first = values[0]
    return (
        isinstance(first, np.ndarray)
        and _is_of_torch(first.dtype)
        and all(
            isinstance(value, np.ndarray) and value.shape == first.shape and value.dtype == first.dtype
            for value in values
        )
    )


def _is_of_torch(dtype: np.dtype) -> bool:
    try:
        torch.from_numpy(np.empty(0, dtype))
    except TypeError:
        return False
    return True


def _take(nbytes: int) -> torch.Tensor:
    """Shared memory that the trainer does not use, marked as used."""
    if _blocks and len(_blocks[0]) != nbytes:
        _blocks.clear()  # the trainer keeps what it uses
    block = next((block for block in _blocks if not block[0]), None)
    if block is None:
        block = torch.zeros(nbytes, dtype=torch.uint8).share_memory_()
        _blocks.append(block)
    fence()  # nothing is written before
    block[0] = 1
    return block
