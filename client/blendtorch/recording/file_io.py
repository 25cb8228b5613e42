"""Reading and writing files at a place; where the system (Windows) has no calls for that, by going there first."""

import mmap
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from ..errors import RecordingError
from ..wire.body import Buffer

BINARY = getattr(os, "O_BINARY", 0)

_MOST_OPEN = 100  # files at a time: a process may have 1024
_MOST_BUFFERS = 512  # that are written at once: Linux takes 1024
_seeking = threading.Lock()


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """So many bytes from a place in a file; fewer at its end."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)


def read_into(descriptor: int, out: memoryview, offset: int) -> bool:
    """Fills memory from a place in a file; false where the file ends before."""
    while len(out):
        if hasattr(os, "preadv"):
            count = os.preadv(descriptor, [out], offset)
        else:
            data = read_at(descriptor, len(out), offset)
            count = len(data)
            out[:count] = data
        if count == 0:
            return False
        out, offset = out[count:], offset + count
    return True


def append(descriptor: int, buffers: Sequence[Buffer], end: int) -> int:
    """Writes buffers at the end of a file, all or nothing.

    Args:
        descriptor: The file, open for writing.
        buffers: What to write: bytes, or memoryviews of bytes.
        end: The file's size.

    Returns:
        The size that it has then.

    Raises:
        OSError: The disk is full or has failed.
    """
    try:
        os.lseek(descriptor, end, os.SEEK_SET)
        size = end
        for i in range(0, len(buffers), _MOST_BUFFERS):
            size += _write_all(descriptor, buffers[i : i + _MOST_BUFFERS])
        return size
    except BaseException:  # Ctrl-C, too, may leave half of it
        os.ftruncate(descriptor, end)
        raise


def _write_all(descriptor: int, buffers: Sequence[Buffer]) -> int:
    total = sum(len(buffer) for buffer in buffers)
    written = os.writev(descriptor, buffers) if hasattr(os, "writev") else 0
    if written < total:  # interrupted by a signal, or the disk is nearly full
        rest = memoryview(b"".join(buffers))[written:]
        while len(rest):
            rest = rest[os.write(descriptor, rest) :]
    return total


class OpenFile:
    """A file that is closed when nobody refers to it any more. (An `io.FileIO` would warn of that.)"""

    def __init__(self, path: Path) -> None:
        self._close = os.close
        self._descriptor = open_file(path)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self._close(self._descriptor)


class OpenFiles:
    """Files that are open for reading; those that were not used for long are closed once nobody reads them."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._files: OrderedDict[Path, OpenFile] = OrderedDict()
        self._memories: OrderedDict[Path, mmap.mmap] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["OpenFiles"], tuple[()]]:
        return OpenFiles, ()  # in another process they are opened anew

    def file(self, path: Path) -> OpenFile:
        """The file; whoever refers to it keeps it open."""
        if self._process != os.getpid():
            self._begin()  # a thread that this forked process does not have may hold the lock
        with self._lock:
            if path not in self._files:
                if len(self._files) >= _MOST_OPEN:
                    self._files.popitem(last=False)
                self._files[path] = OpenFile(path)
            self._files.move_to_end(path)
            return self._files[path]

    def memory(self, path: Path) -> mmap.mmap:
        """The file's content; arrays made of it keep it open."""
        file = self.file(path)
        with self._lock:
            if path not in self._memories:
                if len(self._memories) >= _MOST_OPEN:
                    self._memories.popitem(last=False)
                try:
                    self._memories[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                except ValueError:  # it is empty
                    raise RecordingError(f"{path} is empty: was it changed since it was opened?") from None
            self._memories.move_to_end(path)
            return self._memories[path]


def open_file(path: Path) -> int:
    """Opens a file for reading; what is no file (a pipe, say) is not waited for.

    Raises:
        OSError: It cannot be read, or is no file.
    """
    descriptor = os.open(there(path), os.O_RDONLY | BINARY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    return descriptor


def there(path: Path) -> Path:
    """The path, or the one that its writer has given it in the meantime."""
    ended = path.with_name(path.name.removesuffix(".partial"))
    return path if path.exists() or not ended.exists() else ended
