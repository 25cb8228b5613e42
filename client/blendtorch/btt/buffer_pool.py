"""Memory for batches that is used again once nobody refers to it any more."""

import weakref
from collections import defaultdict, deque

import numpy as np
import torch


class BufferPool:
    """Arrays to fill with batches.

    New memory costs as much time as filling it: the system hands it out page by page. So it is kept; but a tensor that is still
    referred to, wherever, is never written to again.

    Args:
        pin_memory: Whether the memory is page-locked, so that copies to a GPU run beside everything else.
        most: How many arrays of one kind are kept that nobody uses.
    """

    def __init__(self, pin_memory: bool, most: int) -> None:
        self._pin_memory = pin_memory
        self._free: defaultdict[tuple, deque[np.ndarray]] = defaultdict(lambda: deque(maxlen=most))

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array with arbitrary content. `torch.from_numpy` of it, and what is made of that, keep it in use."""
        free = self._free[shape, dtype]
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
        size = int(np.prod(shape)) * dtype.itemsize
        return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy().view(dtype).reshape(shape)
