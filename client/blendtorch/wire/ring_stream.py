"""Takes the samples of one instance out of a ring, as groups."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PickleNotAllowedError, ProtocolError
from .codec import decode
from .group import EPOCH, PRESENT, REST_BYTES, SEQ, Group
from .rest import unpack
from .ring import RingReader
from .seq_account import SeqAccount

_COMPANY_S = 1e-3  # how long a few samples wait for others


class RingStream:
    """What one receiver takes from one ring.

    Args:
        path: The ring's file.
        token: Its token.
        number: Which of a receiver's sources this is.
        account: Where what comes is noted.
        batch: How many samples are taken at a time that lie side by side, if the ring is made for that; 0 for any number.
        keeps: Whether they are kept there as long as their user likes, where there is room.
        allow_pickle: Whether pickled fields are loaded.
        refuse: Called with what is wrong with a sample that is refused.

    Raises:
        ProtocolError: It is no ring of this user's, or not the one with that token.
        SharedMemoryError: It cannot be opened here.

    Attributes:
        ring: The ring.
        epoch: How often the instance was restarted when it made what was taken last.
        is_last: Whether nothing more will come, though nobody has closed the ring.
    """

    def __init__(
        self,
        path: Path,
        token: int,
        *,
        number: int,
        account: SeqAccount,
        batch: int,
        keeps: bool,
        allow_pickle: bool,
        refuse: Callable[[Exception], None],
    ) -> None:
        self.ring = RingReader(path, token)
        self.epoch = 0
        self.is_last = False
        self._number = number
        self._account = account
        self._batch = batch if batch and self.ring.num_blocks > 1 and self.ring.block_slots % batch == 0 else 0
        self._keeps = keeps
        self._allow_pickle = allow_pickle
        self._refuse = refuse
        self._claimed = self.ring.tail
        self._reclaimed = self.ring.reclaimed
        self._few_since: float | None = None
        self._groups: deque[Group] = deque()  # what was claimed and not taken yet

    @property
    def queued(self) -> int:
        """How many samples wait to be taken. Another thread may ask, while this one's changes what it looks at."""
        groups = tuple(self._groups)
        tail = self.ring.tail  # before the head, or it might be beyond
        return self.ring.head - tail + sum(map(len, groups))

    @property
    def read_out(self) -> bool:
        """Whether nothing waits."""
        return not self._groups and self.ring.head == self.ring.tail

    def peek(self) -> tuple[int, int] | None:
        """Index and number of the next sample; None when none waits.

        Raises:
            ProtocolError: Nothing in this ring can be trusted.
        """
        if self._groups:
            return int(self._groups[0].index[0]), int(self._groups[0].seq[0])
        if not self.ring.waiting:
            return None
        slot = self.ring.peek()
        return int(self.ring.slots["index"][slot]), int(self.ring.slots["seq"][slot])

    def take(self, btid: int | None, most: int, below: tuple[int, bool] | None) -> Group | None:
        """Takes samples; see `Source.take`.

        Raises:
            PickleNotAllowedError: A sample holds a pickle that is not allowed. It is gone.
            ProtocolError: Nothing in this ring can be trusted.
        """
        if not self._groups and self.ring.waiting:
            self._claim(btid, most, below)
        return self._groups.popleft() if self._groups else None

    def close(self) -> None:
        """Lets go of the ring; what was taken of it stays until it is released."""
        self.ring.close()

    def note_others(self, tail: int) -> None:
        """Notes what others have taken up to the sample with this number in the ring, and what was lost with them."""
        reclaimed = self.ring.reclaimed
        self._account.elsewhere += tail - self._claimed - (reclaimed - self._reclaimed)
        self._claimed, self._reclaimed = tail, reclaimed

    def _claim(self, btid: int | None, most: int, below: tuple[int, bool] | None) -> None:
        ring = self.ring
        if below is not None:
            most = min(most, ring.run_below(*below))
        elif self._batch:
            # Whole batches, each where one lies side by side.
            most = min(most, self._batch - ring.tail % self._batch)
            if ring.waiting < most and not (ring.closed or self.is_last):
                return
        elif self._would_rather_wait(min(most, ring.num_slots // 2)):
            return
        first, slot, count = ring.claim(most)
        if not count:
            return
        self.note_others(first)
        self._claimed += count
        words = ring.words(slot, count)
        rows = words.tolist()
        seq = rows[0][SEQ]
        whole = rows[-1][SEQ] - seq == count - 1 and self._account.take_run(seq, count)
        if whole and self._add_group(btid, slot, words, rows) is None:
            return
        not_allowed: PickleNotAllowedError | None = None
        for i, row in enumerate(rows):  # what is wrong with one is not the others' fault
            if not whole and not self._account.take(row[SEQ]):
                ring.release(slot + i, 1)
            elif (error := self._add_group(btid, slot + i, words[i : i + 1], [row])) is not None:
                ring.release(slot + i, 1)
                self._account.received -= 1
                self._account.elsewhere += 1
                if isinstance(error, PickleNotAllowedError):
                    not_allowed = error
                else:
                    self._refuse(error)
        if not_allowed is not None:
            raise not_allowed

    def _would_rather_wait(self, wanted: int) -> bool:
        """Whether more samples may come right away, to be taken together.

        After each copy of an image the code around it has left the processor's cache, and takes as long as the image.
        """
        if self.ring.waiting >= wanted or self.ring.closed:
            self._few_since = None
            return False
        now = time.monotonic()
        if self._few_since is None:
            self._few_since = now
        if now < self._few_since + _COMPANY_S:
            return True
        self._few_since = None
        return False

    def _add_group(self, btid: int | None, slot: int, words: np.ndarray, rows: list[list[int]]) -> ProtocolError | None:
        """Adds claimed samples to what can be taken; returns what is wrong with them, if they cannot."""
        ring, count = self.ring, len(rows)
        try:
            rests = None
            if any(row[REST_BYTES] for row in rows):
                rests = [self._rest(slot + i) if row[REST_BYTES] else {} for i, row in enumerate(rows)]
        except ProtocolError as error:
            return error
        kinds = ring.kinds(rows[0][PRESENT])
        claim = Claim(ring, slot, count)
        # The instance needs one block to go on.
        may_be_kept = self._keeps and self._batch > 0 and ring.in_use < ring.num_blocks
        self.epoch = max(self.epoch, rows[-1][EPOCH])
        self._groups.append(
            Group(
                self._number,
                btid,
                words,
                {name: ring.fields[name][slot : slot + count] for name in kinds},
                kinds,
                rests,
                claim.release,
                in_shared_memory=True,
                keep=claim.keep if may_be_kept else None,
            )
        )
        return None

    def _rest(self, slot: int) -> dict[str, Any]:
        message = decode(unpack(self.ring.rest_of(slot)), allow_pickle=self._allow_pickle)
        if not is_sample(message.body):
            raise ProtocolError("the rest of a sample is no dict of fields.")
        return message.body


class Claim:
    """Claimed slots, to be given back in order."""

    def __init__(self, ring: RingReader, slot: int, count: int) -> None:
        self._ring = ring
        self._slot = slot
        self._count = count

    def keep(self) -> None:
        """Notes that they were delivered as they are, and are given back later."""
        self._ring.keep(self._slot, self._count)

    def release(self, count: int | None = None) -> None:
        """Gives back the next `count` slots, or all that are left."""
        count = self._count if count is None else min(count, self._count)
        if count:
            self._ring.release(self._slot, count)
            self._slot += count
            self._count -= count


def is_sample(body: Any) -> bool:
    """Whether the body of a message is a sample."""
    return isinstance(body, dict) and all(type(name) is str for name in body)
