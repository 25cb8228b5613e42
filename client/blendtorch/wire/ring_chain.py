"""The rings of one channel: one at a time is written to; when samples outgrow it, a larger one follows."""

import contextlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProtocolError, SharedMemoryError
from . import file_lock
from .codec import encode
from .layout import Layout
from .ledger import Position
from .message import Kind, Message
from .owned_folder import OwnedFolder, make_folder
from .receivers import SHARED_MEMORY, host_id
from .rest import pack
from .ring import RingWriter
from .ring_memory import MAX_BLOCKS, MAX_SLOTS

log = logging.getLogger(__name__)

_MIN_SLOTS = 2
_MIN_REST_BYTES = 512
# A ring that stays in the processor's cache is much faster than one that does not, and enough for both ends to take turns.
_CACHED_BYTES = 4 << 20
_CACHED_SLOTS = 4
# Batches that lie in shared memory at a time, where receivers take whole ones: one is read, the other is written. Where
# receivers keep them as long as they like, there are those that are read ahead, too.
_BATCHES = 2
_KEPT_BATCHES = 4
# Less than this is copied as fast as it is kept.
_WORTH_KEEPING_BYTES = 100_000


class RingChain:
    """The rings of one channel, oldest first; the last one is written to.

    Args:
        folder: Where they lie; None for a folder of their own.
        name: How their files are called.
        budget_bytes: How large one may be; 0 for none at all.
        num_slots: How many samples one holds, unless receivers ask for whole batches.
        note: Called before a ring is removed: a successor finds no trace of what was in it.

    Attributes:
        possible: Whether there can be rings: there is shared memory, and enough of it.
        host: See `host_id`; "" when there can be no rings.
        made: Where the predecessor had come to, if it has left rings behind.
        changed: Whether the last `write` has made a new ring.
    """

    def __init__(
        self,
        folder: Path | None,
        name: str,
        budget_bytes: int,
        num_slots: int,
        note: Callable[[], None] = lambda: None,
    ) -> None:
        self._note = note
        self._owned: OwnedFolder | None = None
        self._folder = folder
        self._name = name
        self._budget_bytes = budget_bytes
        self._num_slots = num_slots
        self._batch = self._kept_batch = 0
        self._told_of_copies = False
        self._rings: list[RingWriter] = []
        self._removed: list[RingWriter] = []  # some of which receivers are still reading, or keep
        self._generation = 0
        self._open_ring: RingWriter | None = None  # the last one, when it can be written to
        self._last_layout: Layout | None = None
        self.changed = False
        self.host = host_id() if budget_bytes > 0 and file_lock.AVAILABLE else ""
        if folder is not None and SHARED_MEMORY not in folder.parents:
            self.host = ""
        self.possible = bool(self.host)
        self.made: Position | None = None
        if self.possible and folder is not None:
            self._adopt(folder)

    @property
    def drained(self) -> bool:
        """Whether receivers have fetched everything; they may read or keep it yet, which needs no writer."""
        return all(ring.head == ring.tail for ring in self._rings)

    @property
    def waiting(self) -> int:
        """How many samples receivers have not claimed."""
        return sum(ring.head - ring.tail for ring in self._rings)

    def ask(self, batch: int, keeps: bool) -> None:
        """Makes the next ring hold whole batches of this size, side by side.

        Args:
            batch: The size; 0 for any.
            keeps: Whether a batch is kept as long as the receiver likes, or else copied: then it is no harm if there is no
                room, or samples are small.
        """
        if keeps:
            self._kept_batch = max(self._kept_batch, batch)
        else:
            self._batch = max(self._batch, batch)

    def has_room(self) -> bool:
        """Whether a sample can be written; true, too, when there is no ring yet."""
        return self._open_ring is None or self._open_ring.has_room()

    def place(self, name: str) -> np.ndarray | None:
        """The place of a field in the next slot, if it is free."""
        ring = self._open_ring
        return ring.places().get(name) if ring is not None and ring.has_room() else None

    def to_read(self) -> RingWriter | None:
        """The ring that a receiver reads next: the oldest one that is not read out, or is written to."""
        return next((ring for ring in self._rings if ring.head != ring.tail or not ring.closed), None)

    @property
    def first(self) -> int | None:
        """The number of the oldest sample that waits; None when none does."""
        ring = next((ring for ring in self._rings if ring.head != ring.tail), None)
        return None if ring is None else int(ring.slots["seq"][ring.slot_of(ring.tail)])

    def has(self, path: str) -> bool:
        """Whether a ring is one of these."""
        return any(str(ring.path) == path for ring in self._rings)

    def note_waited(self, seconds: float) -> None:
        """Says how long the instance has waited so far."""
        if self._rings:
            self._rings[-1].note_waited(seconds)

    def write(self, position: Position, fields: Mapping[str, Any], epoch: int, allow_pickle: bool) -> bool:
        """Writes a sample, in a new ring where it does not fit into the last one; false when there is no room.

        Raises:
            PickleNotAllowedError, EncodeError: A field cannot be sent.
        """
        self.changed = False
        ring = self._open_ring
        if ring is not None:
            if not ring.has_room():
                return False
            present, left = ring.write(fields)
            rest = _pack(left, allow_pickle)
        if ring is None or len(rest) > ring.layout.rest_bytes:
            self.retire()
            self._remove_drained()
            ring = self._extend(fields, allow_pickle)
            if ring is None:
                return False
            present, left = ring.write(fields)
            rest = _pack(left, allow_pickle)
        ring.commit(*position, epoch, time.time_ns() // 1000, present, rest)
        return True

    def retire(self) -> None:
        """Says that nothing will be written any more."""
        for ring in self._rings:
            ring.retire()
        self._open_ring = None

    def tidy(self) -> None:
        """Frees what dead receivers had claimed, and removes rings that are read out and not written to any more."""
        for ring in [*self._rings, *self._removed]:
            if freed := ring.reclaim():
                log.warning("%d samples were lost with a receiver that has died", freed)
        self._remove_drained()

    def _remove_drained(self) -> None:
        drained = [ring for ring in self._rings if ring.closed and ring.head == ring.tail]
        if drained:
            self._note()
        # What was taken may be kept for ever, and needs no file: there shall be room for the next ring.
        for ring in drained:
            self._rings.remove(ring)
            self._removed.append(ring)
            ring.path.unlink(missing_ok=True)
        for ring in list(self._removed):
            if not ring.slots["busy"].any():
                self._removed.remove(ring)
                ring.close()

    def close(self) -> None:
        """Lets go of the rings. Files in a folder of the launch stay for a successor; the launcher removes them."""
        for ring in [*self._rings, *self._removed]:
            ring.close()
        if self._owned is not None:
            self._owned.close()

    def _adopt(self, folder: Path) -> None:
        """Takes over what a predecessor has left."""
        pattern = re.compile(re.escape(self._name) + r"\.([0-9]{1,18})\.ring")
        names = [found for file in folder.iterdir() if (found := pattern.fullmatch(file.name))]
        for found in sorted(names, key=lambda found: int(found[1])):
            file = folder / found[0]
            self._generation = int(found[1]) + 1
            try:
                self._rings.append(RingWriter.adopt(file))
            except (ProtocolError, SharedMemoryError) as error:
                log.warning("left alone what a predecessor of this instance has left: %s", error)
        for ring in self._rings[:-1]:
            ring.retire()  # the predecessor may have died in between, and receivers wait for more in the older one
        if self._rings and not self._rings[-1].closed:
            self._open_ring = self._rings[-1]
        words = [last for ring in self._rings if (last := ring.last()) is not None]
        if words:
            last = max(words, key=lambda word: word["seq"])
            self.made = Position(last["seq"] + 1, last["index"], last["done"] + 1)

    def _extend(self, fields: Mapping[str, Any], allow_pickle: bool) -> RingWriter | None:
        """Makes a ring for samples like this one, or finds that there can be none."""
        try:
            ring = self._create(fields, allow_pickle)
        except SharedMemoryError as error:
            if self._rings:
                return None  # there may be room once those before are read out
            self.possible = False
            log.warning("samples go by message, which is slower: %s", error)
            return None
        self._rings.append(ring)
        self._open_ring = ring
        self._last_layout = ring.layout
        self.changed = True
        return ring

    def _create(self, fields: Mapping[str, Any], allow_pickle: bool) -> RingWriter:
        layout = Layout.of(fields, 0)
        left = {name: value for name, value in fields.items() if name not in layout.fields}
        rest_bytes = max(2 * len(_pack(left, allow_pickle)), _MIN_REST_BYTES)
        if self._last_layout is not None:
            # Room for what has just not fitted, too: samples may change between two sizes.
            old = self._last_layout
            changed = [field.nbytes for name, field in old.fields.items() if layout.fields.get(name) != field]
            rest_bytes = max(rest_bytes, old.rest_bytes, sum(changed) + _MIN_REST_BYTES * (len(changed) + 1))
        layout = Layout(layout.fields, -(-rest_bytes // 8) * 8)
        taken = sum(ring.nbytes for ring in self._rings)
        fits = min(max(0, self._budget_bytes - taken) // layout.sample_bytes, MAX_SLOTS)
        if fits < _MIN_SLOTS:
            raise SharedMemoryError(
                f"a sample has {layout.sample_bytes / 1e6:.1f} MB, and {_MIN_SLOTS} do not fit into the "
                f"{self._budget_bytes / 1e6:.0f} MB of shared memory that were allowed. Raise shm_bytes."
            )
        num_slots = min(self._num_slots, max(_CACHED_SLOTS, _CACHED_BYTES // layout.sample_bytes), fits)
        if self._folder is None:
            self._owned = make_folder(SHARED_MEMORY)
            self._folder = self._owned.path
        path = self._folder / f"{self._name}.{self._generation}.ring"
        self._generation += 1
        blocks = self._blocks(layout, num_slots, fits)
        if blocks is not None:
            with contextlib.suppress(SharedMemoryError):  # there may be room for a smaller one
                return RingWriter.create(path, layout, *blocks)
        return RingWriter.create(path, layout, num_slots)

    def _blocks(self, layout: Layout, num_slots: int, fits: int) -> tuple[int, int] | None:
        """How many slots in how many blocks hold whole batches; None when no batch was asked for, or two do not fit."""
        batch, least = self._batch, _BATCHES
        if not batch and layout.sample_bytes >= _WORTH_KEEPING_BYTES:
            batch, least = self._kept_batch, _KEPT_BATCHES
        if 0 < 2 * batch <= fits:
            # Not of one slot: in the only free block the next sample must not take the place of the last one, by which a
            # successor knows how far this writer has come.
            block_slots = batch * max(-(-num_slots // (batch * MAX_BLOCKS)), 2 if batch == 1 else 1)
            num_blocks = max(least, -(-num_slots // block_slots))
            num_blocks = min(num_blocks, fits // block_slots)
            return num_blocks * block_slots, num_blocks
        if self._batch and not self._told_of_copies:
            self._told_of_copies = True
            log.warning(
                "two batches of %d samples of %.1f MB do not fit into the %.0f MB of shared memory that were allowed: they "
                "are copied together. Raise shm_bytes.",
                self._batch,
                layout.sample_bytes / 1e6,
                self._budget_bytes / 1e6,
            )
        return None


def _pack(left: Mapping[str, Any], allow_pickle: bool) -> bytes:
    """What has no fixed place, as bytes."""
    return pack(encode(Message(Kind.SAMPLE, dict(left)), allow_pickle=allow_pickle)) if left else b""
