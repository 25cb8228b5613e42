"""Batches that stay in shared memory, where Blender has written them, until nothing refers to them any more."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..wire.group import Group
from ..wire.recycled_memory import lend
from .batch import Delivery, position_after, who_made_it

_LARGE_BYTES = 65_536  # less is copied: that takes less time than to keep track of it


def keep(group: Group, note: Callable[[], None]) -> Delivery:
    """The batch that samples are already, where they lie; their memory is given back when its last tensor is gone.

    Args:
        group: The samples.
        note: Its `keep`.
    """
    note()
    try:
        return _kept(group)
    except BaseException:
        group.release()  # all at once; finalizers that are there already find nothing left
        raise


def _kept(group: Group) -> Delivery:
    owner = os.getpid()
    large = [name for name, values in group.fields.items() if values.nbytes >= _LARGE_BYTES]
    left = list(range(len(large)))

    def one_gone() -> None:
        # In whatever thread, even two at a time: each pops another number. Not in a fork, whose parent may use it yet.
        if left.pop() == 0 and os.getpid() == owner:
            group.release()

    batch: dict[str, Any] = who_made_it(np.full(len(group), group.btid or 0, np.int64), group.words)
    for name, values in group.fields.items():
        if values.dtype == np.bool_:
            np.not_equal(values.view(np.uint8), 0, out=values)  # whatever the sender calls true
        if name not in large:
            batch[name] = torch.from_numpy(values.copy())
            continue
        batch[name] = torch.from_numpy(lend(values.data, one_gone).view(values.dtype).reshape(values.shape))
    if not large:
        group.release()
    return Delivery(batch, {group.source: position_after(group)}, lambda: None, len(group))
