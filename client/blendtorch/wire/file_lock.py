"""Locks on bytes of a file, which the system takes from a process that dies, and only then or when it lets go.

They belong to an open file, not to a process (Linux's "open file description" locks): two readers in one process exclude
each other, too. Systems without them have no shared-memory transport.
"""

import os
import struct
from functools import lru_cache

try:
    import fcntl

    AVAILABLE = hasattr(fcntl, "F_OFD_SETLK")
except ImportError:  # Windows
    AVAILABLE = False

_FLOCK = struct.Struct("hhqqi0q")  # struct flock of 64-bit Linux: type, whence, start, length, pid


def try_lock(descriptor: int, byte: int) -> bool:
    """Locks one byte, which may lie beyond the end of the file; false when another open file has it locked."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_WRLCK, byte))
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock(descriptor: int, byte: int) -> None:
    """Lets go of a byte."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_UNLCK, byte))


@lru_cache(maxsize=64)
def _request(kind: int, byte: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
