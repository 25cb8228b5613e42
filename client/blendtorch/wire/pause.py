"""Waiting for another process without being told: shared memory rings no bell."""

import time

_SHORTEST_S = 50e-6
_LONGEST_S = 5e-3
_SHARE = 8
# For so long only other threads get their turn: the shortest sleep takes a tenth of a millisecond, in which a large image is
# copied.
_SPIN_S = 200e-6


class Pause:
    """Sleeps of growing length: what one waits for is seen late by an eighth of the wait, and by 5 ms at most."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def waited_s(self) -> float:
        """How long it has been, in seconds."""
        return time.perf_counter() - self._started

    @property
    def next_s(self) -> float:
        """How long the next sleep is."""
        return min(max(self.waited_s / _SHARE, _SHORTEST_S), _LONGEST_S)

    def sleep(self) -> None:
        """Sleeps once."""
        time.sleep(self.next_s if self.waited_s > _SPIN_S else 0)
