"""Page-locks shared memory for CUDA, so that copies from it to a GPU run beside everything else."""

import contextlib
import logging
import weakref
from typing import Any

import numpy as np
import torch

log = logging.getLogger(__name__)


class Pinner:
    """Page-locks the memory that arrays are views of, each once, while it is there. Does nothing without CUDA."""

    def __init__(self) -> None:
        self._cuda: Any = None  # the CUDA runtime, asked for when it is needed: that takes long, and memory
        self._seen: set[int] = set()
        self._pinned: set[int] = set()

    def pin(self, view: np.ndarray) -> None:
        """Page-locks the memory of a view, if it is not."""
        memory = view.base
        if not isinstance(memory, np.ndarray) or memory.ctypes.data in self._seen or not torch.cuda.is_available():
            return
        if self._cuda is None:
            self._cuda = torch.cuda.cudart()
        address = memory.ctypes.data
        self._seen.add(address)
        # Forgotten with the memory: there may be other memory at this address then.
        weakref.finalize(memory, self._unpin, address).atexit = False
        error = int(self._cuda.cudaHostRegister(address, memory.nbytes, 0))
        if error:
            self._take_error_away()
            log.warning("shared memory could not be page-locked (CUDA error %d): copies to the GPU are slower.", error)
        else:
            self._pinned.add(address)

    def wait(self, everything: bool = False) -> None:
        """Waits for what runs on the current CUDA stream, or on all of them, if it may read memory that is page-locked.

        Copies from other memory are over when `Tensor.to` returns.
        """
        if self._pinned and everything:
            torch.cuda.synchronize()
        elif self._pinned:
            torch.cuda.current_stream().synchronize()

    def _unpin(self, address: int) -> None:
        self._seen.discard(address)
        if address in self._pinned:
            self._pinned.discard(address)
            self._cuda.cudaHostUnregister(address)

    def _take_error_away(self) -> None:
        """Else PyTorch would find it, and raise it at whatever runs next in this thread."""
        if hasattr(self._cuda, "cudaGetLastError"):
            self._cuda.cudaGetLastError()
        else:
            with contextlib.suppress(RuntimeError):
                torch.ones(1, device="cuda")
