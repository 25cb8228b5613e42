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

    Page-locked memory is kept by PyTorch itself, which knows, too, which copies to a GPU have not yet read it: those may go
    on when no tensor refers to it any more.

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
        """An array with arbitrary content. `tensor_of` it, and what is made of that, keep it in use."""
        if self._pin_memory:
            return torch.empty(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=True).numpy()
        if prod(shape) * dtype.itemsize < _WORTH_KEEPING_BYTES:
            return np.empty(shape, dtype)
        kept_shape, kept_dtype, free = self._free.get(field, ((), None, None))
        if free is None or (kept_shape, kept_dtype) != (shape, dtype):
            free = deque(maxlen=self._most)
            self._free[field] = (shape, dtype, free)
        try:
            memory = free.pop()
        except IndexError:
            memory = np.empty(shape, dtype)
        # A new object for each use. Tensors hold on to it; when it goes, they are gone.
        array = memory[...]
        weakref.finalize(array, free.append, memory).atexit = False
        return array


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """The tensor of an array of a `BufferPool`."""
    # Page-locked, it has to be PyTorch's own: of a slice of another one it would not know whose memory that is.
    return array.base if isinstance(array.base, torch.Tensor) else torch.from_numpy(array)
