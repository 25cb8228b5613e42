"""Memory that is used again once nobody refers to it any more."""

import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

# Less than this the C library itself keeps, and hands out faster.
_WORTH_KEEPING_BYTES = 65_536


class RecycledMemory:
    """Blocks of memory for things that come again and again, such as an image.

    New memory costs as much time as filling it: the system hands it out page by page. So it is kept; but what anything
    still refers to, wherever, is never written to again.

    Args:
        most: How many blocks are kept for each thing that nobody uses.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Of a thing whose size changes only what fits the last one is kept: there may be any number of sizes.
        self._free: dict[Hashable, tuple[int, deque[bytearray]]] = {}

    def take(self, what: Hashable, nbytes: int) -> np.ndarray:
        """So many bytes with arbitrary content, uint8. Any array, tensor or buffer made of them keeps them in use."""
        if nbytes < _WORTH_KEEPING_BYTES:
            return np.empty(nbytes, np.uint8)
        kept_nbytes, free = self._free.get(what, (0, None))
        if free is None or kept_nbytes != nbytes:
            free = deque(maxlen=self._most)
            self._free[what] = (nbytes, free)
        try:
            memory = free.pop()
        except IndexError:
            memory = bytearray(nbytes)
        return lend(memory, free.append, memory)


def lend(memory: bytearray | memoryview, give_back: Callable[..., object], *args: Any) -> np.ndarray:
    """Some memory as an array of bytes, and word of when that has gone, with all that was made of it.

    Args:
        memory: The memory. Not an array itself: numpy would have slices of this one refer to that one.
        give_back: Called then, in whatever thread; not at the end of the process.
        *args: What it is called with.
    """
    block = np.frombuffer(memory, np.uint8)  # a new object for each use, on which all rests that is made of it
    weakref.finalize(block, give_back, *args).atexit = False
    return block
