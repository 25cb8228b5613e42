"""Counts which samples of one instance have come: none twice, and which are missing."""

from bisect import bisect_right

_MAX_RUNS = 4096  # how many runs of numbers are told apart; below the second one, all count as having come


class SeqAccount:
    """The account of one instance's sequence numbers.

    Attributes:
        received: How many samples came.
        duplicated: How many came again; they were not delivered.
        elsewhere: How many other receivers have taken, as far as it is known.
    """

    def __init__(self) -> None:
        self.received = 0
        self.duplicated = 0
        self.elsewhere = 0
        self._first: int | None = None
        self._early = 0  # how many came although they are before the first
        # What came, as runs of numbers: where they start, and where they have ended.
        self._starts: list[int] = []
        self._ends: list[int] = []

    @property
    def end(self) -> int:
        """The number after the highest one that came."""
        return self._ends[-1] if self._ends else self._first or 0

    @property
    def lost(self) -> int:
        """How many samples are missing between the first and the last that came."""
        return self.lost_before(0)

    def lost_before(self, end: int) -> int:
        """How many samples are missing between the first and the last that came, or the one before this number."""
        if self._first is None:
            return 0
        return max(0, max(self.end, end) - self._first + self._early - self.received - self.elsewhere)

    def begin(self, seq: int) -> None:
        """Says that the first sample to come is this one; otherwise it is the first one that comes."""
        if self._first is None:
            self._first = seq

    def take(self, seq: int) -> bool:
        """Notes a sample; false when it has come before."""
        if self.take_run(seq, 1):
            return True
        self.duplicated += 1
        return False

    def take_run(self, first: int, count: int) -> bool:
        """Notes samples in a row, if none of them has come before; otherwise nothing, and false."""
        self.begin(first)
        assert self._first is not None
        starts, ends, end = self._starts, self._ends, first + count
        if ends and ends[-1] == first:  # nearly always
            ends[-1] = end
        else:
            at = bisect_right(starts, first)  # the first run that starts beyond
            if (at and ends[at - 1] > first) or (at < len(starts) and starts[at] < end):
                return False
            self._insert(at, first, end)
        self.received += count
        if first < self._first:
            self._early += min(end, self._first) - first
        return True

    def _insert(self, at: int, first: int, end: int) -> None:
        starts, ends = self._starts, self._ends
        follows, precedes = at > 0 and ends[at - 1] == first, at < len(starts) and starts[at] == end
        if follows and precedes:
            ends[at - 1] = ends.pop(at)
            del starts[at]
        elif follows:
            ends[at - 1] = end
        elif precedes:
            starts[at] = first
        else:
            starts.insert(at, first)
            ends.insert(at, end)
            if len(starts) > _MAX_RUNS:
                del starts[1], ends[0]
