"""Counts which samples of one instance have come: none twice, and which are missing."""

_MAX_APART = 4096  # how many numbers are kept in mind that came before others did


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
        self._next = 0  # all from the first to here have come, or are given up
        self._apart: set[int] = set()  # what came beyond the next
        self._early: set[int] = set()  # what came although it is before the first

    @property
    def end(self) -> int:
        """The number after the highest one that came."""
        return max(self._apart, default=self._next - 1) + 1

    @property
    def lost(self) -> int:
        """How many samples are missing between the first and the last that came."""
        if self._first is None:
            return 0
        return max(0, self.end - self._first + len(self._early) - self.received - self.elsewhere)

    def begin(self, seq: int) -> None:
        """Says that the first sample to come is this one; otherwise it is the first one that comes."""
        if self._first is None:
            self._first = self._next = seq

    def take(self, seq: int) -> bool:
        """Notes a sample; false when it has come before."""
        self.begin(seq)
        assert self._first is not None
        if seq in self._apart or seq in self._early or self._first <= seq < self._next:
            self.duplicated += 1
            return False
        self.received += 1
        if seq < self._first:
            self._early.add(seq)
        elif seq == self._next:
            self._next += 1
        else:
            self._apart.add(seq)
            if len(self._apart) > _MAX_APART:
                self._next = min(self._apart)
        while self._next in self._apart:
            self._apart.remove(self._next)
            self._next += 1
        return True

    def take_run(self, first: int, count: int) -> bool:
        """Notes samples in a row, if they are the ones expected next; otherwise nothing, and false."""
        if first != self._next or self._apart or self._first is None:
            return False
        self.received += count
        self._next += count
        return True
