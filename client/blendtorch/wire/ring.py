"""The two ends of a ring of samples in shared memory, see `ring_memory`."""

import mmap
import os
import secrets
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProtocolError, SharedMemoryError
from . import file_lock
from .layout import Field, Layout
from .ring_memory import (
    BLOCK_SLOTS_WORD,
    BLOCKS_OFFSET,
    CLOSED_WORD,
    HEAD_WORD,
    HEADER_BYTES,
    LAYOUT_BYTES_WORD,
    MAGIC,
    MAGIC_WORD,
    RECLAIMED_WORD,
    SLOT_WORDS,
    SLOTS_OFFSET,
    SLOTS_WORD,
    TAIL_WORD,
    TOKEN_WORD,
    WAITED_US_WORD,
    Ring,
    fence,
    open_ring,
    plan,
)

_BUSY = SLOT_WORDS.index("busy")
_SLOT = struct.Struct(f"<{len(SLOT_WORDS) - 1}Q")  # all that the writer writes: not "busy"

# Bytes that are locked: to claim, and by each living receiver the one of its id.
_CLAIM_BYTE = 0
_RECEIVER_BYTE = 1 << 20
_MAX_RECEIVERS = 1024
_KEPT = _MAX_RECEIVERS  # is added to the id in slots that were delivered, and are kept by whoever uses them
_TRIES = 1000  # to read two words of one moment


class RingWriter(Ring):
    """The writing end; make it by `create` or `adopt`."""

    _next_slot: int | None = None  # of the next sample, once it was found to be free

    @classmethod
    def create(cls, path: Path, layout: Layout, num_slots: int, num_blocks: int = 1) -> "RingWriter":
        """Makes a ring.

        Args:
            path: Its file.
            layout: Which fields have a fixed place.
            num_slots: How many samples it holds; a multiple of `num_blocks`.
            num_blocks: Into how many blocks they are divided, at most `MAX_BLOCKS`.

        Raises:
            SharedMemoryError: The system has not enough shared memory left.
        """
        _, size = plan(layout, num_slots)
        text = layout.to_json()
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SharedMemoryError(error.errno, f"cannot make the shared memory {path}: {error.strerror}.") from None
        try:
            os.posix_fallocate(descriptor, 0, size)  # now, and not when a page is first written to
            memory = mmap.mmap(descriptor, size)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise SharedMemoryError(
                error.errno,
                f"{path.parent} has no room for {size / 1e6:.0f} MB of shared memory ({num_slots} samples of "
                f"{layout.sample_bytes / 1e6:.2f} MB): {error.strerror}. Free some, enlarge it (docker: --shm-size), or "
                "ask for less with shm_bytes.",
            ) from None
        words = memoryview(memory)[:HEADER_BYTES].cast("Q")
        words[TOKEN_WORD] = secrets.randbits(63)
        words[SLOTS_WORD] = num_slots
        words[LAYOUT_BYTES_WORD] = len(text)
        words[BLOCK_SLOTS_WORD] = block_slots = num_slots // num_blocks
        memory[BLOCKS_OFFSET : BLOCKS_OFFSET + 8 * num_blocks] = np.arange(num_blocks, dtype="<u8").tobytes()
        memory[HEADER_BYTES : HEADER_BYTES + len(text)] = text
        fence()
        words[MAGIC_WORD] = MAGIC
        return cls(path, descriptor, memory, layout, num_slots, block_slots)

    @classmethod
    def adopt(cls, path: Path) -> "RingWriter":
        """Goes on with the ring of a writer that has died; what it has committed stays.

        Raises:
            ProtocolError: It is no ring.
            SharedMemoryError: It cannot be opened.
        """
        ring = cls(path, *open_ring(path))
        if not 0 <= ring.head - ring.tail <= ring.num_slots:
            ring.close()
            raise ProtocolError(f"{path} claims to hold {ring.head - ring.tail} samples in {ring.num_slots} slots.")
        return ring

    def has_room(self) -> bool:
        """Whether the next slot is free; finds a free block where one begins."""
        if self._next_slot is not None:
            return True
        head = self._words[HEAD_WORD]
        if self.num_blocks > 1 and head % self.block_slots == 0:
            if not self._find_block(head):
                return False
        elif head - self._words[TAIL_WORD] >= self.num_slots:
            return False
        slot = self.slot_of(head)
        if self._slot_words[slot * len(SLOT_WORDS) + _BUSY]:
            return False
        self._next_slot = slot
        return True

    def _free_slot(self) -> int:
        """The next slot."""
        if self._next_slot is None:
            self.has_room()
        assert self._next_slot is not None, f"{self.path} has no room"
        return self._next_slot

    def _find_block(self, head: int) -> bool:
        """Gives the next block a place where nothing waits and nobody is reading; false when there is none."""
        tail = self._words[TAIL_WORD]
        fence()  # what is claimed is first marked as busy, and then behind the tail
        numbers = range(tail // self.block_slots, -(-head // self.block_slots))
        waiting = {self._blocks[number % self.num_blocks] for number in numbers}
        turn = head // self.block_slots % self.num_blocks
        # Its last one first: in turn, they stay in the cache in the order in which they are used.
        for place in (self._blocks[turn], *range(self.num_blocks)):
            if place not in waiting and not self._busy_of_block[place].any():
                self._blocks[turn] = place
                return True
        return False

    def places(self) -> dict[str, np.ndarray]:
        """The next slot's places, by the name of the field; only when `has_room`."""
        slot = self._free_slot()
        found = self._places.get(slot)
        if found is None:  # made once: it takes as long as copying a small image
            found = self._places[slot] = {name: array[slot, ...] for name, array in self.fields.items()}
        return found

    def write(self, fields: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Writes the fields that have a place into the next slot; only when `has_room`.

        Returns:
            A word with a bit for each field that was written, and the fields that were not.
        """
        layout, places = self.layout.fields, self.places()
        present, left = 0, {}
        for name, value in fields.items():
            field = layout.get(name)
            if field is not None and field.takes(value):
                place = places[name]
                if field.kind != "array" or value.base is None or not _is_same_memory(place, value):
                    field.write(place, value)
                present |= field.bit
            else:
                left[name] = value
        return present, left

    def commit(
        self, seq: int, index: int, done: int, epoch: int, time_us: int, present: int, rest: bytes = b""
    ) -> None:
        """Makes the sample in the next slot visible to receivers; only when `has_room`.

        Args:
            seq: Number of the sample.
            index: The index that it belongs to.
            done: How many samples of that index come before.
            epoch: How often the instance was restarted.
            time_us: When it is published, in microseconds since 1970.
            present: Which fields it has, as `write` returned it.
            rest: What has no fixed place; at most `layout.rest_bytes`.
        """
        slot = self._free_slot()
        if rest:
            self.rest[slot, : len(rest)] = np.frombuffer(rest, np.uint8)
        offset = SLOTS_OFFSET + slot * 8 * len(SLOT_WORDS)
        _SLOT.pack_into(self._memory, offset, seq, index, done, epoch, time_us, present, len(rest))
        fence()
        self._next_slot = None
        self._words[HEAD_WORD] += 1

    def last(self) -> dict[str, int] | None:
        """The words of the sample committed last."""
        if self.head == 0:
            return None
        slot = self.slot_of(self.head - 1)
        return {name: int(array[slot]) for name, array in self.slots.items()}

    def note_waited(self, seconds: float) -> None:
        """Says how long the writer has waited for room so far."""
        self._words[WAITED_US_WORD] = round(seconds * 1e6)

    def reclaim(self) -> int:
        """Frees slots that receivers had claimed who have died; returns how many of their samples are gone undelivered."""
        busy = self._busy
        # Nobody may claim meanwhile: a slot that a dead receiver was about to claim can be claimed by another one.
        if not busy.any() or not file_lock.try_lock(self._descriptor, _CLAIM_BYTE):
            return 0
        claimed = np.ones(self.num_slots, bool)
        claimed[self.slots_of(self.tail, self.head)] = False
        freed = 0
        # Not of those that are not 0: one may become it meanwhile.
        for receiver in {word % _MAX_RECEIVERS for word in busy.tolist()} - {0}:
            byte = _RECEIVER_BYTE + receiver
            if file_lock.try_lock(self._descriptor, byte):
                freed += int(((busy == receiver) & claimed).sum())
                busy[busy % _MAX_RECEIVERS == receiver] = 0
                file_lock.unlock(self._descriptor, byte)
        file_lock.unlock(self._descriptor, _CLAIM_BYTE)
        self._words[RECLAIMED_WORD] += freed
        return freed

    def retire(self) -> None:
        """Says that nothing will be committed any more."""
        fence()
        self._words[CLOSED_WORD] = 1


class RingReader(Ring):
    """A receiving end.

    Args:
        path: The ring's file.
        token: What the writer said its token is.

    Raises:
        ProtocolError: It is no ring of this user's, or not the one with that token.
        SharedMemoryError: It cannot be opened here, or has more receivers than fit.
    """

    def __init__(self, path: Path, token: int) -> None:
        super().__init__(path, *open_ring(path))
        self._present = -1
        self._kinds: dict[str, Field] = {}
        if self.token != token:
            self.close()
            raise ProtocolError(f"{path} is another ring than the one that was named.")
        # Who took the id of a dead one would keep what that one had claimed from being freed.
        busy = {word % _MAX_RECEIVERS for word in self._busy.tolist()}
        for receiver in range(1, _MAX_RECEIVERS):
            if receiver not in busy and file_lock.try_lock(self._descriptor, _RECEIVER_BYTE + receiver):
                if receiver not in self._busy % _MAX_RECEIVERS:  # one that has died just now may have had it
                    self._id = receiver
                    return
                file_lock.unlock(self._descriptor, _RECEIVER_BYTE + receiver)
        self.close()
        raise SharedMemoryError(f"{path} has {_MAX_RECEIVERS - 1} receivers already, no more fit.")

    @property
    def reclaimed(self) -> int:
        """How many samples were lost with receivers that have died."""
        return self._words[RECLAIMED_WORD]

    @property
    def end(self) -> int:
        """The number after that of the sample committed last."""
        return int(self.slots["seq"][self.slot_of(self.head - 1)]) + 1 if self.head else 0

    @property
    def waiting(self) -> int:
        """How many samples can be claimed.

        Raises:
            ProtocolError: The counts are impossible: this is no ring that BlendTorch has written.
        """
        return self._span()[1]

    def _span(self) -> tuple[int, int]:
        """The tail, and how many samples are waiting."""
        for _ in range(_TRIES):
            tail = self._words[TAIL_WORD]
            waiting = self._words[HEAD_WORD] - tail
            if self._words[TAIL_WORD] == tail:  # otherwise the two are not of one moment
                if not 0 <= waiting <= self.num_slots:
                    break
                return tail, waiting
        raise ProtocolError(f"{self.path} claims to hold {waiting} samples in {self.num_slots} slots.")

    def peek(self) -> int:
        """The slot that is claimed next; only when something is waiting."""
        return self.slot_of(self.tail)

    @property
    def in_use(self) -> int:
        """How many blocks have slots that were claimed and not given back yet."""
        return int(self._busy_of_block.any(axis=1).sum())

    def run_below(self, index: int, equal: bool) -> int:
        """How many of the samples that wait have a lower index, or an equal one, too; at least 1."""
        tail = self.tail
        slot = self.slot_of(tail)
        indices = self.slots["index"][slot : slot + min(self.waiting, self._side_by_side(tail))]
        beyond = indices > index if equal else indices >= index
        return max(1, int(beyond.argmax()) if beyond.any() else len(indices))

    def _side_by_side(self, number: int) -> int:
        """How many samples lie side by side from this one on."""
        return self.block_slots - number % self.block_slots

    def claim(self, most: int) -> tuple[int, int, int]:
        """Takes the oldest samples for this receiver alone, as many as lie side by side and have the same fields.

        Args:
            most: At most so many.

        Returns:
            The number of the first one (see `tail`), its slot, and how many; 0 when there are none, or another receiver is
            claiming.
        """
        if not file_lock.try_lock(self._descriptor, _CLAIM_BYTE):
            return 0, 0, 0
        try:
            fence()
            first, waiting = self._span()
            count = min(waiting, most, self._side_by_side(first))
            if count == 0:
                return 0, 0, 0
            slot = self.slot_of(first)
            if count > 1:
                present = self.slots["present"][slot : slot + count].tolist()
                count = next((i for i, word in enumerate(present) if word != present[0]), count)
            self._busy[slot : slot + count] = self._id
            fence()
            self._words[TAIL_WORD] = first + count
        finally:
            file_lock.unlock(self._descriptor, _CLAIM_BYTE)
        return first, slot, count

    def keep(self, slot: int, count: int) -> None:
        """Notes that claimed samples were delivered where they lie: they are not lost when this receiver dies."""
        self._busy[slot : slot + count] = self._id + _KEPT

    def release(self, slot: int, count: int) -> None:
        """Gives slots back that were claimed, once they are copied."""
        fence()
        self._busy[slot : slot + count] = 0

    def kinds(self, present: int) -> dict[str, Field]:
        """The fields that a sample has whose word `present` is this one."""
        if present != self._present:
            self._present = present
            self._kinds = _by_name(tuple(field for field in self.layout.fields.values() if present & field.bit))
        return self._kinds

    def words(self, slot: int, count: int) -> np.ndarray:
        """A copy of the words of claimed slots: count x len(SLOT_WORDS), int64."""
        return self._records[slot : slot + count].astype(np.int64)

    def rest_of(self, slot: int) -> bytearray:
        """A copy of what the sample in a claimed slot has besides the fields with a fixed place.

        Raises:
            ProtocolError: Its length is impossible.
        """
        size = int(self.slots["rest_bytes"][slot])
        if size > self.layout.rest_bytes:
            raise ProtocolError(f"a sample in {self.path} has {size} bytes where {self.layout.rest_bytes} fit.")
        return bytearray(self.rest[slot, :size])


def _is_same_memory(place: np.ndarray, value: np.ndarray) -> bool:
    """Whether the value was drawn into its place already."""
    return _address(value) == _address(place) and value.flags.c_contiguous


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@lru_cache(maxsize=256)
def _by_name(fields: tuple[Field, ...]) -> dict[str, Field]:
    """The fields by name: the same object for the same fields, so that one sees at once that samples are alike."""
    return {field.name: field for field in fields}
