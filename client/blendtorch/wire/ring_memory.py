"""A ring of samples in shared memory: one instance writes, any number of receivers take each sample exactly once.

The file (`docs/protocol.md`, section 13, has its bytes)::

    header      64 words: magic, size, head, tail, ...
    layout      JSON: the fields, see `layout`
    blocks      64-bit words: where each block of slots lies now
    slots       for each slot 8 words: seq, index, ... of the sample in it
    fields      for each field one array of all slots, so that neighbouring slots are a batch already
    rest        for each slot some bytes for what has no fixed place

A word is a little-endian 64-bit unsigned integer. `head` counts the samples ever committed, `tail` those ever
claimed. Only the writer moves `head`, after the sample is whole; only who holds the lock of byte CLAIM moves `tail`. A slot
is `busy` with the id of the receiver that has claimed it until that is done with it. What is committed outlives its writer,
and a receiver that dies sets free what it has claimed.

The slots are divided into blocks, one or more, in each of which samples lie side by side in the order of their numbers.
The blocks are used in turn, but for one that a receiver keeps: another free one then takes its turn. So whoever keeps a
block for long does not hold up the stream.
"""

import mmap
import os
import stat
import threading
from pathlib import Path

import numpy as np

from ..errors import ProtocolError, SharedMemoryError
from .layout import ALIGNMENT, MAX_LAYOUT_BYTES, Layout

MAGIC = 0x31_47_4E_49_52_54_42  # "BTRING1"
HEADER_BYTES = 512
BLOCKS_OFFSET = 61_440
MAX_BLOCKS = 512
SLOTS_OFFSET = 65_536
MAX_SLOTS = 65_536

# Words of the header.
MAGIC_WORD, TOKEN_WORD, SLOTS_WORD, LAYOUT_BYTES_WORD, HEAD_WORD, TAIL_WORD = range(6)
CLOSED_WORD, WAITED_US_WORD, RECLAIMED_WORD, BLOCK_SLOTS_WORD = range(6, 10)
# The words of each slot.
SLOT_WORDS = ("seq", "index", "done", "epoch", "time_us", "present", "rest_bytes", "busy")


def fence() -> None:
    """Keeps the processor from moving memory accesses across: a lock's atomic operations do."""
    # One of its own: a finalizer that gives slots back may run at any point, here, too, and would wait for itself.
    with threading.Lock():
        pass


class Ring:
    """The memory of one ring; `RingWriter` and `RingReader` are its ends.

    Attributes:
        path: Its file.
        layout: Which fields have a fixed place.
        num_slots: How many samples it holds.
        block_slots: How many of them a block has.
        num_blocks: How many blocks there are.
        slots: The arrays of words by name, uint64, one word a slot.
        fields: For each field an array of all slots, (num_slots, ...).
        rest: num_slots x rest_bytes, uint8.
    """

    def __init__(
        self, path: Path, descriptor: int, memory: mmap.mmap, layout: Layout, num_slots: int, block_slots: int
    ) -> None:
        self.path = path
        self.layout = layout
        self.num_slots = num_slots
        self.block_slots = block_slots
        self.num_blocks = num_slots // block_slots
        self._descriptor = descriptor
        self._memory = memory
        self._words = memoryview(memory)[:HEADER_BYTES].cast("Q")
        self._blocks = memoryview(memory)[BLOCKS_OFFSET : BLOCKS_OFFSET + 8 * self.num_blocks].cast("Q")
        self._slot_words = memoryview(memory)[SLOTS_OFFSET : SLOTS_OFFSET + 8 * len(SLOT_WORDS) * num_slots].cast("Q")
        words = np.frombuffer(memory, "<u8", len(SLOT_WORDS) * num_slots, SLOTS_OFFSET)
        self._records = words.reshape(num_slots, len(SLOT_WORDS))
        self.slots = dict(zip(SLOT_WORDS, self._records.T, strict=True))
        self._busy = self.slots["busy"]
        self._busy_of_block = self._busy.reshape(self.num_blocks, self.block_slots)
        self._places: dict[int, dict[str, np.ndarray]] = {}
        self.fields: dict[str, np.ndarray] = {}
        offsets, _ = plan(layout, num_slots)
        for field, offset in zip(layout.fields.values(), offsets, strict=False):
            self.fields[field.name] = np.ndarray((num_slots, *field.shape), field.numpy_dtype, memory, offset)
        self.rest: np.ndarray = np.ndarray((num_slots, layout.rest_bytes), np.uint8, memory, offsets[-1])

    @property
    def token(self) -> int:
        """A number drawn when it was made: a path can be guessed, this cannot."""
        return self._words[TOKEN_WORD]

    @property
    def nbytes(self) -> int:
        """Size of its file."""
        return len(self._memory)

    @property
    def head(self) -> int:
        """How many samples were ever committed."""
        return self._words[HEAD_WORD]

    @property
    def tail(self) -> int:
        """How many samples were ever claimed."""
        return self._words[TAIL_WORD]

    def slot_of(self, number: int) -> int:
        """The slot of a sample that waits, or is to be written next, by its number (see `tail`).

        Raises:
            ProtocolError: The place of its block is impossible: this is no ring that BlendTorch has written.
        """
        block, offset = divmod(number % self.num_slots, self.block_slots)
        place = self._blocks[block]
        if place >= self.num_blocks:
            raise ProtocolError(f"{self.path} has block {block} at place {place} of {self.num_blocks}.")
        return place * self.block_slots + offset

    def slots_of(self, first: int, end: int) -> np.ndarray:
        """The slots of samples that wait, from one number up to another."""
        block, offset = np.divmod(np.arange(first, end) % self.num_slots, self.block_slots)
        return np.array(self._blocks, np.int64)[block] * self.block_slots + offset

    @property
    def closed(self) -> bool:
        """Whether nothing will be committed any more."""
        return self._words[CLOSED_WORD] != 0

    @property
    def waited_us(self) -> int:
        """How many microseconds the writer has waited for room so far."""
        return self._words[WAITED_US_WORD]

    def close(self) -> None:
        """Lets go of the file; the memory goes with the last array that refers to it.

        So do the locks, for Python's `mmap` keeps the file open, too: who still reads what it has claimed is not taken for
        dead.
        """
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def plan(layout: Layout, num_slots: int) -> tuple[list[int], int]:
    """The offset of each field's array and of the rest, and the size of the file."""
    end = SLOTS_OFFSET + len(SLOT_WORDS) * num_slots * 8
    offsets = []
    for nbytes in [*(field.nbytes for field in layout.fields.values()), layout.rest_bytes]:
        end = -(-end // ALIGNMENT) * ALIGNMENT
        offsets.append(end)
        end += nbytes * num_slots
    return offsets, -(-end // ALIGNMENT) * ALIGNMENT


def open_ring(path: Path) -> tuple[int, mmap.mmap, Layout, int, int]:
    """Maps the file of a ring, after checks that keep a wrong one from doing harm."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except ValueError:
        raise ProtocolError(f"{str(path)[:200]!r} cannot be the path of a file.") from None
    except OSError as error:
        raise SharedMemoryError(error.errno, f"cannot open the shared memory {path}: {error.strerror}.") from None
    try:
        status = os.fstat(descriptor)
        private = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        if not private or status.st_size < SLOTS_OFFSET:
            raise ProtocolError(f"{path} is no ring of this user's.")
        try:
            memory = mmap.mmap(descriptor, status.st_size)
        except (OSError, ValueError, OverflowError) as error:
            raise SharedMemoryError(f"cannot map the {status.st_size} bytes of {path}: {error}.") from None
        words = memoryview(memory)[:HEADER_BYTES].cast("Q")
        num_slots, layout_bytes, block_slots = words[SLOTS_WORD], words[LAYOUT_BYTES_WORD], words[BLOCK_SLOTS_WORD]
        good = words[MAGIC_WORD] == MAGIC and 0 < num_slots <= MAX_SLOTS and layout_bytes <= MAX_LAYOUT_BYTES
        if not good or not 0 < block_slots <= num_slots <= MAX_BLOCKS * block_slots or num_slots % block_slots:
            raise ProtocolError(f"{path} is no ring of samples.")
        layout = Layout.from_json(memory[HEADER_BYTES : HEADER_BYTES + layout_bytes])
        if plan(layout, num_slots)[1] != status.st_size:
            raise ProtocolError(f"{path} has {status.st_size} bytes, which is not what its layout needs.")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, memory, layout, num_slots, block_slots
