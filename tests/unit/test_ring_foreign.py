"""No file that is not a ring is taken for one, and no ring for another."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ring_files import open_files

from blendtorch.errors import ProtocolError, SharedMemoryError
from blendtorch.wire.layout import Layout
from blendtorch.wire.ring import RingReader, RingWriter
from blendtorch.wire.ring_memory import BLOCKS_OFFSET

SLOTS = 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.ring"


@pytest.fixture
def writer(path: Path) -> Iterator[RingWriter]:
    writer = RingWriter.create(path, Layout.of({"number": 0}, 64), SLOTS)
    yield writer
    writer.close()


def word(path: Path, number: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(8 * number)
        file.write(value.to_bytes(8, "little"))


def grow(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 4096)


def link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


# Each changes a good ring in one way.
FOREIGN = {
    "magic": (lambda path: word(path, 0, 1), ProtocolError),
    "token": (lambda path: word(path, 1, 1), ProtocolError),
    "no slots": (lambda path: word(path, 2, 0), ProtocolError),
    "more slots": (lambda path: word(path, 2, SLOTS + 600), ProtocolError),
    "slots beyond 2^63": (lambda path: word(path, 2, 2**64 - 1), ProtocolError),
    "no slots in a block": (lambda path: word(path, 9, 0), ProtocolError),
    "half a slot more in a block": (lambda path: word(path, 9, SLOTS - 1), ProtocolError),
    "more slots in a block": (lambda path: word(path, 9, 2 * SLOTS), ProtocolError),
    "layout too long": (lambda path: word(path, 3, 2**63), ProtocolError),
    "layout cut": (lambda path: word(path, 3, 20), ProtocolError),
    "file too short": (lambda path: os.truncate(path, path.stat().st_size - 4096), ProtocolError),
    "file empty": (lambda path: os.truncate(path, 0), ProtocolError),
    "file too long": (grow, ProtocolError),
    "others may read": (lambda path: path.chmod(0o604), ProtocolError),
    "group may write": (lambda path: path.chmod(0o620), ProtocolError),
    "another user's": (lambda path: os.chown(path, 12345, -1), ProtocolError),
    "symbolic link": (link, SharedMemoryError),
    "no file": (lambda path: path.unlink(), SharedMemoryError),
    "folder": (lambda path: (path.unlink(), path.mkdir()), SharedMemoryError),
    "pipe": (fifo, ProtocolError),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused(writer: RingWriter, path: Path, name: str) -> None:
    if name == "another user's" and os.getuid() != 0:
        pytest.skip("only root gives files away")
    change, error = FOREIGN[name]
    gc.collect()  # what earlier tests have left is not to go just now
    files = open_files()
    token = writer.token
    change(path)
    with pytest.raises(error, match=r"x\.ring|layout"):
        RingReader(path, token)
    assert open_files() == files


@pytest.mark.parametrize(("head", "tail"), [(0, 1), (SLOTS + 1, 0), (2**64 - 1, 0)])
def test_impossible_counts_are_refused(writer: RingWriter, path: Path, head: int, tail: int) -> None:
    reader = RingReader(path, writer.token)
    word(path, 4, head)
    word(path, 5, tail)
    for access in (lambda: reader.waiting, lambda: reader.claim(1), lambda: RingWriter.adopt(path)):
        with pytest.raises(ProtocolError, match="claims to hold"):
            access()
    reader.close()


def test_an_impossible_place_of_a_block_is_refused(tmp_path: Path) -> None:
    writer = RingWriter.create(tmp_path / "x.ring", Layout.of({"number": 0}, 64), SLOTS, num_blocks=2)
    reader = RingReader(writer.path, writer.token)
    writer.commit(0, 0, 0, 0, 0, 0)
    word(writer.path, BLOCKS_OFFSET // 8, 2)
    for access in (lambda: reader.claim(1), reader.peek, lambda: reader.run_below(5, True), lambda: reader.end):
        with pytest.raises(ProtocolError, match="block 0 at place 2 of 2"):
            access()
    for end in (reader, writer):
        end.close()


@pytest.mark.parametrize("path", ["/dev/shm/a\0b", "/dev/shm/\ud800"])
def test_what_cannot_be_a_path_is_refused(path: str) -> None:
    with pytest.raises(ProtocolError, match="cannot be the path"):
        RingReader(Path(path), 0)
