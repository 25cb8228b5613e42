"""A ring of samples in shared memory: one instance writes, any number of receivers take each sample exactly once.

The file (`docs/protocol.md`, section 11, has its bytes)::

    header      64 words: magic, size, head, tail, ...
    layout      JSON: the fields, see `layout`
    slots       for each slot 8 words: seq, index, ... of the sample in it
    fields      for each field one array of all slots, so that neighbouring slots are a batch already
    rest        for each slot some bytes for what has no fixed place

A word is a little-endian 64-bit unsigned integer. `head` counts the samples ever committed, `tail` those ever
claimed; sample number n is in slot n modulo the number of slots. Only the writer moves `head`, after the sample is
whole; only who holds the lock of byte CLAIM moves `tail`. A slot is `busy` with the id of the receiver that has claimed
it until it has been copied. What is committed outlives its writer, and a receiver that dies sets free what it has claimed.
"""

import mmap
import os
import secrets
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProtocolError, SharedMemoryError
from . import file_lock
from .layout import ALIGNMENT, MAX_LAYOUT_BYTES, Field, Layout

MAGIC = 0x31_47_4E_49_52_54_42  # "BTRING1"
_HEADER_BYTES = 512
_SLOTS_OFFSET = 65_536
MAX_SLOTS = 65_536

# Words of the header.
(_MAGIC, _TOKEN, _SLOTS, _LAYOUT_BYTES, _HEAD, _TAIL, _CLOSED, _WAITED_US, _RECLAIMED) = range(9)
# The words of each slot.
SLOT_WORDS = ("seq", "index", "done", "epoch", "time_us", "present", "rest_bytes", "busy")

_SLOT = struct.Struct(f"<{len(SLOT_WORDS) - 1}Q")  # all that the writer writes: not "busy"

# Bytes that are locked: to claim, and by each living receiver the one of its id.
_CLAIM_BYTE = 0
_RECEIVER_BYTE = 1 << 20
_MAX_RECEIVERS = 1024

_fence_lock = threading.Lock()


def fence() -> None:
    """Keeps the processor from moving memory accesses across: a lock's atomic operations do."""
    with _fence_lock:
        pass


class Ring:
    """The memory of one ring; `RingWriter` and `RingReader` are its ends.

    Attributes:
        path: Its file.
        layout: Which fields have a fixed place.
        num_slots: How many samples it holds.
        slots: The arrays of words by name, uint64, one word a slot.
        fields: For each field an array of all slots, (num_slots, ...).
        rest: num_slots x rest_bytes, uint8.
    """

    def __init__(self, path: Path, descriptor: int, memory: mmap.mmap, layout: Layout, num_slots: int) -> None:
        self.path = path
        self.layout = layout
        self.num_slots = num_slots
        self._descriptor = descriptor
        self._memory = memory
        self._words = memoryview(memory)[:_HEADER_BYTES].cast("Q")
        words = np.frombuffer(memory, "<u8", len(SLOT_WORDS) * num_slots, _SLOTS_OFFSET)
        self._records = words.reshape(num_slots, len(SLOT_WORDS))
        self.slots = dict(zip(SLOT_WORDS, self._records.T, strict=True))
        self._busy = self.slots["busy"]
        self._places: dict[int, dict[str, np.ndarray]] = {}
        self.fields: dict[str, np.ndarray] = {}
        offsets, _ = _plan(layout, num_slots)
        for field, offset in zip(layout.fields.values(), offsets, strict=False):
            self.fields[field.name] = np.ndarray((num_slots, *field.shape), field.numpy_dtype, memory, offset)
        self.rest: np.ndarray = np.ndarray((num_slots, layout.rest_bytes), np.uint8, memory, offsets[-1])

    @property
    def token(self) -> int:
        """A number drawn when it was made: a path can be guessed, this cannot."""
        return self._words[_TOKEN]

    @property
    def head(self) -> int:
        """How many samples were ever committed."""
        return self._words[_HEAD]

    @property
    def tail(self) -> int:
        """How many samples were ever claimed."""
        return self._words[_TAIL]

    @property
    def closed(self) -> bool:
        """Whether nothing will be committed any more."""
        return self._words[_CLOSED] != 0

    @property
    def waited_us(self) -> int:
        """How many microseconds the writer has waited for room so far."""
        return self._words[_WAITED_US]

    def close(self) -> None:
        """Lets go of the file; the memory goes with the last array that refers to it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class RingWriter(Ring):
    """The writing end; make it by `create` or `adopt`."""

    @classmethod
    def create(cls, path: Path, layout: Layout, num_slots: int) -> "RingWriter":
        """Makes a ring.

        Raises:
            SharedMemoryError: The system has not enough shared memory left.
        """
        _, size = _plan(layout, num_slots)
        text = layout.to_json()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
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
        words = memoryview(memory)[:_HEADER_BYTES].cast("Q")
        words[_TOKEN] = secrets.randbits(63)
        words[_SLOTS] = num_slots
        words[_LAYOUT_BYTES] = len(text)
        memory[_HEADER_BYTES : _HEADER_BYTES + len(text)] = text
        fence()
        words[_MAGIC] = MAGIC
        return cls(path, descriptor, memory, layout, num_slots)

    @classmethod
    def adopt(cls, path: Path) -> "RingWriter":
        """Goes on with the ring of a writer that has died; what it has committed stays.

        Raises:
            ProtocolError: It is no ring.
        """
        return cls(path, *_open(path))

    def has_room(self) -> bool:
        """Whether the next slot is free."""
        head = self._words[_HEAD]
        return head - self._words[_TAIL] < self.num_slots and not self._busy[head % self.num_slots]

    def places(self) -> dict[str, np.ndarray]:
        """The next slot's places, by the name of the field; only to be written to when `has_room`."""
        slot = self._words[_HEAD] % self.num_slots
        found = self._places.get(slot)
        if found is None:  # made once: it takes as long as copying a small image
            found = self._places[slot] = {name: array[slot, ...] for name, array in self.fields.items()}
        return found

    def write(self, fields: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Writes the fields that have a place into the next slot.

        Returns:
            A word with a bit for each field that was written, and the fields that were not.
        """
        layout, places = self.layout.fields, self.places()
        present, left = 0, {}
        for name, value in fields.items():
            field = layout.get(name)
            if field is not None and field.takes(value):
                place = places[name]
                if not (field.kind == "array" and _is_same_memory(place, value)):
                    field.write(place, value)
                present |= field.bit
            else:
                left[name] = value
        return present, left

    def commit(
        self, seq: int, index: int, done: int, epoch: int, time_us: int, present: int, rest: bytes = b""
    ) -> None:
        """Makes the sample in the next slot visible to receivers.

        Args:
            seq: Number of the sample.
            index: The index that it belongs to.
            done: How many samples of that index come before.
            epoch: How often the instance was restarted.
            time_us: When it is published, in microseconds since 1970.
            present: Which fields it has, as `write` returned it.
            rest: What has no fixed place; at most `layout.rest_bytes`.
        """
        head = self._words[_HEAD]
        slot = head % self.num_slots
        if rest:
            self.rest[slot, : len(rest)] = np.frombuffer(rest, np.uint8)
        offset = _SLOTS_OFFSET + slot * 8 * len(SLOT_WORDS)
        _SLOT.pack_into(self._memory, offset, seq, index, done, epoch, time_us, present, len(rest))
        fence()
        self._words[_HEAD] = head + 1

    def last(self) -> dict[str, int] | None:
        """The words of the sample committed last."""
        if self.head == 0:
            return None
        slot = (self.head - 1) % self.num_slots
        return {name: int(array[slot]) for name, array in self.slots.items()}

    def note_waited(self, seconds: float) -> None:
        """Adds to the time that the writer has waited for room."""
        self._words[_WAITED_US] += round(seconds * 1e6)

    def reclaim(self) -> int:
        """Frees slots that receivers had claimed who have died; returns how many. Their samples are gone."""
        freed = 0
        for receiver in set(self._busy[self._busy != 0].tolist()):
            byte = _RECEIVER_BYTE + receiver % _MAX_RECEIVERS
            if file_lock.try_lock(self._descriptor, byte):
                mine = self._busy == receiver
                freed += int(mine.sum())
                self._busy[mine] = 0
                file_lock.unlock(self._descriptor, byte)
        self._words[_RECLAIMED] += freed
        return freed

    def retire(self) -> None:
        """Says that nothing will be committed any more."""
        fence()
        self._words[_CLOSED] = 1


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
        super().__init__(path, *_open(path))
        self._present = -1
        self._kinds: dict[str, Field] = {}
        if self.token != token:
            self.close()
            raise ProtocolError(f"{path} is another ring than the one that was named.")
        for receiver in range(1, _MAX_RECEIVERS):
            if file_lock.try_lock(self._descriptor, _RECEIVER_BYTE + receiver):
                self._id = receiver
                return
        self.close()
        raise SharedMemoryError(f"{path} has {_MAX_RECEIVERS - 1} receivers already, no more fit.")

    @property
    def end(self) -> int:
        """The number after that of the sample committed last."""
        return int(self.slots["seq"][(self.head - 1) % self.num_slots]) + 1 if self.head else 0

    @property
    def waiting(self) -> int:
        """How many samples can be claimed.

        Raises:
            ProtocolError: The counts are impossible: this is no ring that BlendTorch has written.
        """
        waiting = self.head - self.tail
        if not 0 <= waiting <= self.num_slots:
            raise ProtocolError(f"{self.path} claims to hold {waiting} samples in {self.num_slots} slots.")
        return waiting

    def peek(self) -> int:
        """The slot that is claimed next; only when something is waiting."""
        return self.tail % self.num_slots

    def claim(self, most: int) -> tuple[int, int, int]:
        """Takes the oldest samples for this receiver alone, as many as lie side by side.

        Args:
            most: At most so many.

        Returns:
            The number of the first one (see `tail`), its slot, and how many; 0 when there are none, or another receiver is
            claiming.
        """
        if not self.waiting or not file_lock.try_lock(self._descriptor, _CLAIM_BYTE):
            return 0, 0, 0
        try:
            fence()
            first = self.tail
            slot = first % self.num_slots
            count = min(self.waiting, most, self.num_slots - slot)
            self._busy[slot : slot + count] = self._id
            fence()
            self._words[_TAIL] = first + count
        finally:
            file_lock.unlock(self._descriptor, _CLAIM_BYTE)
        return first, slot, count

    def release(self, slot: int, count: int) -> None:
        """Gives slots back that were claimed, once they are copied."""
        fence()
        self._busy[slot : slot + count] = 0

    def kinds(self, present: int) -> dict[str, Field]:
        """The fields that a sample has whose word `present` is this one."""
        if present != self._present:
            self._present = present
            self._kinds = {name: field for name, field in self.layout.fields.items() if present & field.bit}
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


def _plan(layout: Layout, num_slots: int) -> tuple[list[int], int]:
    """The offset of each field's array and of the rest, and the size of the file."""
    end = _SLOTS_OFFSET + len(SLOT_WORDS) * num_slots * 8
    offsets = []
    for nbytes in [*(field.nbytes for field in layout.fields.values()), layout.rest_bytes]:
        end = -(-end // ALIGNMENT) * ALIGNMENT
        offsets.append(end)
        end += nbytes * num_slots
    return offsets, -(-end // ALIGNMENT) * ALIGNMENT


def _open(path: Path) -> tuple[int, mmap.mmap, Layout, int]:
    """Maps the file of a ring, after checks that keep a wrong one from doing harm."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise SharedMemoryError(error.errno, f"cannot open the shared memory {path}: {error.strerror}.") from None
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid() or status.st_mode & 0o077 or status.st_size < _SLOTS_OFFSET:
            raise ProtocolError(f"{path} is no ring of this user's.")
        memory = mmap.mmap(descriptor, status.st_size)
        words = memoryview(memory)[:_HEADER_BYTES].cast("Q")
        num_slots, layout_bytes = words[_SLOTS], words[_LAYOUT_BYTES]
        if words[_MAGIC] != MAGIC or not 0 < num_slots <= MAX_SLOTS or layout_bytes > MAX_LAYOUT_BYTES:
            raise ProtocolError(f"{path} is no ring of samples.")
        layout = Layout.from_json(memory[_HEADER_BYTES : _HEADER_BYTES + layout_bytes])
        if _plan(layout, num_slots)[1] != status.st_size:
            raise ProtocolError(f"{path} has {status.st_size} bytes, which is not what its layout needs.")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, memory, layout, num_slots


def _is_same_memory(place: np.ndarray, value: np.ndarray) -> bool:
    """Whether the value was drawn into its place already."""
    return value.base is not None and _address(value) == _address(place) and value.flags.c_contiguous


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
