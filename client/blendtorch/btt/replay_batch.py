"""Batches read from a recording."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..recording import Recording
from ..recording.shard import Shard
from .batch import Batch, stack
from .buffer_pool import BufferPool, tensor_of

Place = tuple[Shard, int]


def read_batch(recording: Recording, indices: Sequence[int], pool: BufferPool) -> Batch:
    """A batch as a `StreamLoader` makes it: fields that stack are tensors, others lists, None where a sample lacks one.

    Args:
        recording: Where samples are.
        indices: Which.
        pool: Where memory comes from.

    Raises:
        RecordingError: A sample is damaged.
    """
    places = [recording.locate(index) for index in indices]
    rests = [shard.rest(row) for shard, row in places]
    batch: Batch = {name: stack([rest.get(name) for rest in rests]) for name in _union(rests)}
    for name in _union([shard.fields for shard, _ in places]):
        stacked = _stacked(name, places, pool)
        if stacked is not None:
            batch[name] = tensor_of(stacked)
            continue
        arrays = _values(name, places)
        if any(array is not None for array in arrays):  # other samples may have something else of that name
            values = [rest.get(name) if array is None else array for array, rest in zip(arrays, rests, strict=True)]
            batch[name] = stack(values)
    return batch


def _union(rests: Sequence[dict[str, Any]]) -> dict[str, None]:
    return dict.fromkeys(name for rest in rests for name in rest)


def _stacked(name: str, places: Sequence[Place], pool: BufferPool) -> np.ndarray | None:
    """The field's arrays, read to where they belong; None when they are not stored as they are, or do not stack."""
    kinds = set()
    for shard, row in places:
        if name not in shard.fields:
            return None
        kinds.add(shard.kind(row, shard.fields[name][0]))
    (kind, *others) = kinds
    if kind is None or len({(other.dtype, other.shape) for other in kinds if other is not None}) > 1 or None in others:
        return None
    out = pool.take(name, (len(places), *kind.shape), kind.numpy_dtype)
    for (shard, row), place in zip(places, out, strict=True):
        shard.read_into(row, shard.fields[name][0], place)
    return out


def _values(name: str, places: Sequence[Place]) -> list[Any]:
    """The field's arrays, each in memory of its own."""
    views = [shard.view(row, name) if name in shard.fields else None for shard, row in places]
    return [None if view is None else view if view.flags.writeable else view.copy() for view in views]
