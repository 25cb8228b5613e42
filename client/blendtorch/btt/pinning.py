"""Page-locks shared memory for CUDA, so that copies from it to a GPU run beside everything else."""

import logging
import weakref
from typing import Any

import numpy as np
import torch

log = logging.getLogger(__name__)


class Pinner:
    """Page-locks the memory that arrays are views of, each once, while it is there. Does nothing without CUDA."""

    def __init__(self) -> None:
        self._cuda: Any = torch.cuda.cudart() if torch.cuda.is_available() else None
        self._pinned: set[int] = set()

    def pin(self, view: np.ndarray) -> None:
        """Page-locks the memory of a view, if it is not."""
        memory = view.base
        if self._cuda is None or not isinstance(memory, np.ndarray) or memory.ctypes.data in self._pinned:
            return
        address = memory.ctypes.data
        self._pinned.add(address)
        error = int(self._cuda.cudaHostRegister(address, memory.nbytes, 0))
        if error:
            log.warning("shared memory could not be page-locked (CUDA error %d): copies to the GPU are slower.", error)
            return
        weakref.finalize(memory, self._unpin, address)

    def _unpin(self, address: int) -> None:
        self._cuda.cudaHostUnregister(address)
        self._pinned.discard(address)
