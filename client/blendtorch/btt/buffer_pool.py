"""Memory for batches."""

from math import prod

import numpy as np
import torch

from ..wire.recycled_memory import RecycledMemory


class BufferPool:
    """Arrays to fill with batches.

    Page-locked memory is kept by PyTorch itself, which knows, too, which copies to a GPU have not yet read it: those may go
    on when no tensor refers to it any more. Other memory is `RecycledMemory`.

    Args:
        pin_memory: Whether the memory is page-locked, so that copies to a GPU run beside everything else.
        most: How many arrays of one field are kept that nobody uses.
    """

    def __init__(self, pin_memory: bool, most: int) -> None:
        self._pin_memory = pin_memory
        self._memory = RecycledMemory(most)

    def take(self, field: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array with arbitrary content. `tensor_of` it, and what is made of that, keep it in use."""
        if self._pin_memory:
            return torch.empty(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=True).numpy()
        return self._memory.take(field, prod(shape) * dtype.itemsize).view(dtype).reshape(shape)


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """The tensor of an array of a `BufferPool`."""
    # Page-locked, it has to be PyTorch's own: of a slice of another one it would not know whose memory that is.
    return array.base if isinstance(array.base, torch.Tensor) else torch.from_numpy(array)
