"""Writes one shard: samples are appended, and those that are complete can be read, whatever happens to the writer."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..wire.body import Buffer
from . import description as described
from .description import Description
from .file_io import BINARY, append
from .npy import on_a_page
from .settings import Fsync
from .shard_files import PARTIAL, is_at, lock
from .shard_index import MAX_FIELDS
from .tar import BLOCK, END, member_header, padded

_PADDING = bytes(BLOCK)
_WORTH_A_PAGE = 1 << 16  # bytes of an array that begins on a page of memory

Member = tuple[str, Sequence[Buffer], int]  # name, content, its size in bytes


class ShardWriter:
    """An open shard. Its name ends with ".partial" until it is ended.

    Args:
        path: Where the shard will be.
        description: What it begins with.
        fsync: When the disk is waited for.

    Raises:
        FileExistsError: There is such a shard.
        OSError: It cannot be written.

    Attributes:
        name: Its numbers, such as "00-00003".
        samples: How many it has.
        nbytes: Its size.
    """

    def __init__(self, path: Path, description: Description, fsync: Fsync) -> None:
        self._path = path
        self.name = path.name.removeprefix("samples-").removesuffix(".tar")
        self._partial = path.with_name(path.name + PARTIAL)
        self._fsync = fsync
        self._names: set[str] = set()
        self.samples = 0
        self.nbytes = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY
        self._descriptor = os.open(self._partial, flags, 0o666)
        try:
            # Whoever looks for shards of dead writers may have taken it for one.
            if not lock(self._descriptor, without_locks=True) or not is_at(self._partial, self._descriptor):
                raise FileExistsError(self._partial)
            # Now, not before: another writer may have ended a shard of this name until a moment ago.
            if path.exists():
                os.unlink(self._partial)
                raise FileExistsError(path)
            if fsync == "sample":
                _sync_folder(path.parent)
            text = description.to_json()
            self._write([(described.NAME, [text], len(text))])
        except FileExistsError:
            os.close(self._descriptor)
            raise
        except BaseException:
            os.unlink(self._partial)
            os.close(self._descriptor)
            raise

    def has_place_for(self, members: Sequence[Member]) -> bool:
        """Whether a reader takes them in this shard: its samples have so many different fields between them."""
        return len(self._names | {_field(name) for name, *_ in members}) <= MAX_FIELDS

    def append(self, members: Sequence[Member]) -> None:
        """Appends a sample, whole or not at all. The last member is the one that tells that it is complete.

        Raises:
            OSError: The disk is full, or has failed; the samples before are kept.
        """
        self._write(members)
        self._names |= {_field(name) for name, *_ in members}
        self.samples += 1
        if self._fsync == "sample":
            os.fsync(self._descriptor)

    def finish(self) -> None:
        """Ends the shard and gives it its name; one without samples is removed.

        Raises:
            OSError: The disk is full, or has failed. The samples can be read all the same.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if not self.samples:
                os.unlink(self._partial)
                return
            append(descriptor, [END], self.nbytes)
            if self._fsync != "never":
                os.fsync(descriptor)
            os.rename(self._partial, self._path)
            if self._fsync != "never":
                _sync_folder(self._path.parent)
        finally:
            os.close(descriptor)

    def _write(self, members: Sequence[Member]) -> None:
        buffers: list[Buffer] = []
        offset = self.nbytes
        for name, content, size in members:
            if name.endswith(".npy") and size >= _WORTH_A_PAGE:
                header = on_a_page(bytes(content[0]), offset + BLOCK)
                size += len(header) - len(content[0])
                content = [header, *content[1:]]
            buffers += [member_header(name, size), *content, _PADDING[: padded(size) - size]]
            offset += BLOCK + padded(size)
        self.nbytes = append(self._descriptor, buffers, self.nbytes)


def _field(name: str) -> str:
    return name.partition(".")[2]


def _sync_folder(folder: Path) -> None:
    """Has the name of a new file survive a loss of power."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
