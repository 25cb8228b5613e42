"""The pace at which people watch."""

import time


class Pace:
    """Holds steps to a rate, as long as they are faster than it.

    Args:
        rate: How many steps a second.
    """

    def __init__(self, rate: float) -> None:
        self._period_s = 1 / rate
        self._due = 0.0

    def keep(self) -> None:
        """Waits until the next step is due."""
        now = time.perf_counter()
        time.sleep(max(0.0, self._due - now))
        self._due = max(now, self._due) + self._period_s
