"""Memory for batches that is used again once nobody refers to it any more."""

import weakref
from collections import deque
from math import prod

import numpy as np
import torch

# Less than this the C library itself keeps, and hands out faster.
_WORTH_KEEPING_BYTES = 65_536


class BufferPool:
    """Arrays to fill with batches.

    New memory costs as much time as filling it: the system hands it out page by page. So it is kept; but what a tensor
    still refers to, wherever, is never written to again.

    Args:
        pin_memory: Whether the memory is page-locked, so that copies to a GPU run beside everything else.
        most: How many arrays of one field are kept that nobody uses.
    """

    def __init__(self, pin_memory: bool, most: int) -> None:
        self._pin_memory = pin_memory
        self._most = most
        # By field. Of one whose shape changes only what fits the last one is kept: there may be any number of shapes.
        self._free: dict[str, tuple[tuple[int, ...], np.dtype, deque[np.ndarray]]] = {}

    def take(self, field: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array with arbitrary content. `torch.from_numpy` of it, and what is made of that, keep it in use."""
        if not self._pin_memory and prod(shape) * dtype.itemsize < _WORTH_KEEPING_BYTES:
            return np.empty(shape, dtype)
        kept_shape, kept_dtype, free = self._free.get(field, ((), None, None))
        if free is None or (kept_shape, kept_dtype) != (shape, dtype):
            free = deque(maxlen=self._most)
            self._free[field] = (shape, dtype, free)
        try:
            memory = free.pop()
        except IndexError:
            memory = self._make(shape, dtype)
        # A new object for each use. Tensors hold on to it; when it goes, they are gone.
        array = memory[...]
        weakref.finalize(array, free.append, memory).atexit = False
        return array

    def _make(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if not self._pin_memory:
            return np.empty(shape, dtype)
        size = prod(shape) * dtype.itemsize
        return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy().view(dtype).reshape(shape)
