"""What is where in a shard: read from its headers once, and kept beside it for the next time."""

import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import RecordingError
from . import description as described
from .description import Description
from .file_io import open_file, read_at
from .images import ENCODINGS
from .npy import MAX_HEADER, ArrayKind, header_of, parse_npy_header
from .tar import BLOCK, END, member_header, padded, parse_header

log = logging.getLogger(__name__)

KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
FIELD = re.compile(r"[A-Za-z0-9_-]{1,64}")
JSON = "json"  # the member that ends each sample
MAX_FIELDS = 256
_MOST_PROBLEMS = 20  # that are told one by one


@dataclass
class ShardIndex:
    """Where the members of a shard's samples are.

    Attributes:
        description: What the shard says of itself.
        keys: (N,) texts, as bytes.
        members: Their names without the key: "image.npy", "json".
        offsets, sizes: (N, F) int64, bytes of the members' content; -1 where a sample has no such member.
        kinds: (N, F) int32, for .npy members a number into `kind_table`, else -1.
        kind_table: What .npy members hold.
        end: Where the last complete sample ends.
        finished: Whether the shard was ended by its writer.
        damaged: Whether there is something behind its last sample that is no header.
        skipped: How many samples are incomplete or damaged.
        problems: What is wrong, in words.
    """

    description: Description
    keys: np.ndarray
    members: list[str]
    offsets: np.ndarray
    sizes: np.ndarray
    kinds: np.ndarray
    kind_table: list[ArrayKind]
    end: int
    finished: bool
    skipped: int = 0
    damaged: bool = False
    problems: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)


def is_member(member: str) -> bool:
    """Whether a sample may have a member of this name: "json", or FIELD.ENCODING."""
    field_name, _, extension = member.rpartition(".")
    return member == JSON or (FIELD.fullmatch(field_name) is not None and extension in ENCODINGS)


class _Scan:
    """One pass over the headers of a shard."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._columns: dict[str, int] = {}
        self._kind_numbers: dict[ArrayKind, int] = {}
        self._rows: list[list[tuple[int, int, int, int]]] = []
        self._keys: list[str] = []
        self._seen: set[str] = set()
        self.problems: list[str] = []
        self.skipped = 0
        self.damaged = False
        # Of the sample being read
        self._key: str | None = None
        self._row: list[tuple[int, int, int, int]] = []  # column, offset, size, kind
        self._bad = ""

    def run(self) -> ShardIndex:
        offset, description = self._description()
        end, finished = offset, False
        while offset + BLOCK <= self._size:
            start = read_at(self._descriptor, BLOCK + MAX_HEADER, offset)
            if start[:BLOCK] == END[:BLOCK]:
                finished = self._ends_at(offset)
                break
            try:
                name, size = parse_header(start[:BLOCK])
            except RecordingError as error:
                self._lose_rest(f"byte {offset} {error}: what follows is lost")
                break
            content, offset = offset + BLOCK, offset + BLOCK + padded(size)
            if offset > self._size:
                break  # its writer was interrupted here
            if self._take(name, content, size, start[BLOCK:]):
                end = offset
        self._abandon()
        return self._index(description, end, finished)

    def _ends_at(self, offset: int) -> bool:
        """Whether the archive ends where an empty block is; after a loss of power files may have empty parts."""
        first = offset
        while block := read_at(self._descriptor, 1 << 16, offset):
            if block.count(0) < len(block):
                self._lose_rest(f"byte {first} is empty, and more follows, which is lost")
                return False
            offset += len(block)
        return offset - first >= len(END)

    def _lose_rest(self, problem: str) -> None:
        self._note(problem)
        self.skipped += self._key is None  # at least one; the one that has begun is counted anyway
        self.damaged = True

    def _description(self) -> tuple[int, Description]:
        start = read_at(self._descriptor, BLOCK, 0)
        name = size = None
        if not start:
            raise RecordingError("is empty")
        if len(start) == BLOCK:
            try:
                name, size = parse_header(start)
            except RecordingError:
                raise RecordingError("is no tar file") from None
        if name != described.NAME or size is None:
            raise RecordingError("does not begin as a recording of BlendTorch")
        if size > described.MAX_BYTES or BLOCK + padded(size) > self._size:
            raise RecordingError("has no complete description")
        return BLOCK + padded(size), Description.from_json(read_at(self._descriptor, size, BLOCK))

    def _take(self, name: str, offset: int, size: int, start: bytes) -> bool:
        """Notes a member; tells whether it completes a sample."""
        key, _, member = name.partition(".")
        if key != self._key:
            self._abandon()
            self._key, self._row, self._bad = key, [], ""
            if not KEY.fullmatch(key):
                self._bad = f"the member {name[:100]!r} is none of a sample"
        kind = -1
        if member not in self._columns and not self._bad:
            self._add_column(name, member)
        if member.endswith(".npy") and not self._bad:
            try:
                found = parse_npy_header(header_of(start))
            except RecordingError as error:
                self._bad = f"{name} {error}"
            else:
                if found.header_bytes + found.nbytes != size:
                    self._bad = f"{name} is {found.dtype} of shape {found.shape}, but has {size} bytes"
                kind = self._kind_numbers.setdefault(found, len(self._kind_numbers))
        if not self._bad:
            self._row.append((self._columns[member], offset, size, kind))
        if member != JSON:
            return False
        self._end_sample()
        return True

    def _add_column(self, name: str, member: str) -> None:
        if not is_member(member) or len(self._columns) >= MAX_FIELDS:
            self._bad = f"the member {name[:100]!r} is none of a sample"
        else:
            self._columns[member] = len(self._columns)

    def _abandon(self) -> None:
        """Passes over a sample of which no more comes; what looks like more of it later is none."""
        if self._key is not None:
            self.skipped += 1
            self._note(self._bad or f"sample {self._key} is incomplete")
            self._seen.add(self._key)
            self._key = None

    def _end_sample(self) -> None:
        assert self._key is not None
        if not self._bad and self._key in self._seen:
            self._bad = f"sample {self._key} is there twice"
        if not self._bad and len({row[0] for row in self._row}) < len(self._row):
            self._bad = f"sample {self._key} has a member twice"
        if self._bad:
            self.skipped += 1
            self._note(self._bad)
        else:
            self._seen.add(self._key)
            self._keys.append(self._key)
            self._rows.append(self._row)
        self._key, self._row, self._bad = None, [], ""

    def _note(self, problem: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)

    def _index(self, description: Description, end: int, finished: bool) -> ShardIndex:
        count, columns = len(self._rows), len(self._columns)
        table = np.full((3, count, columns), -1, np.int64)
        if count:
            lengths = np.array([len(row) for row in self._rows])
            flat = np.array([entry for row in self._rows for entry in row], np.int64)
            table[:, np.repeat(np.arange(count), lengths), flat[:, 0]] = flat[:, 1:].T
        return ShardIndex(
            description,
            np.array(self._keys, "S"),
            list(self._columns),
            table[0],
            table[1],
            table[2].astype(np.int32),
            list(self._kind_numbers),
            end,
            finished,
            self.skipped,
            self.damaged,
            self.problems,
        )


def is_begun(descriptor: int) -> bool:
    """Whether a shard has more than a description, or a part of one: its writer may have died that early."""
    start = read_at(descriptor, BLOCK, 0)
    if len(start) < BLOCK:
        return not member_header(described.NAME, 0).startswith(start[: len(described.NAME)])
    try:
        name, size = parse_header(start)
    except RecordingError:
        return True  # what is it?
    return name != described.NAME or BLOCK + padded(size) < os.fstat(descriptor).st_size


def scan(descriptor: int) -> ShardIndex:
    """Reads the headers of an open shard.

    Raises:
        RecordingError: It does not begin as one.
    """
    return _Scan(descriptor).run()


def index_of(shard: Path) -> ShardIndex:
    """Where everything is in a shard; from the file that an earlier call has left beside it, if that is of this shard.

    Raises:
        RecordingError: It does not begin as a shard of a recording.
        OSError: It cannot be read.
    """
    from .index_file import load_index, save_index

    descriptor = open_file(shard)
    try:
        state = os.fstat(descriptor)
        stamp = (state.st_size, state.st_mtime_ns)
        index = load_index(shard, stamp)
        if index is None:
            index = scan(descriptor)
            if index.finished and shard.suffix == ".tar":
                save_index(shard, stamp, index)
            elif shard.suffix == ".tar":
                index.problems.append("has no end: was it cut?")
    finally:
        os.close(descriptor)
    return index
