"""Waiting for another process without being told: shared memory rings no bell."""

import time

_SHORTEST_S = 50e-6
_LONGEST_S = 5e-3
_SHARE = 8
# The shortest sleep takes a tenth of a millisecond, in which a large image is copied. Where waits are shorter than this,
# the next one begins with letting other threads have their turn only.
_SPIN_S = 200e-6


class Waiter:
    """What has waited for another process before, and knows how long that took."""

    def __init__(self) -> None:
        self._spins = True

    def begin(self) -> "Pause":
        """Begins to wait."""
        return Pause(self._spins)

    def end(self, pause: "Pause") -> None:
        """What was waited for has come."""
        self._spins = pause.waited_s < 2 * _SPIN_S


class Pause:
    """Sleeps of growing length: what one waits for is seen late by an eighth of the wait, and by 5 ms at most.

    Args:
        spins: Whether the first moments are spent awake.
    """

    def __init__(self, spins: bool = False) -> None:
        self._spins = spins
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
        time.sleep(0 if self._spins and self.waited_s < _SPIN_S else self.next_s)
