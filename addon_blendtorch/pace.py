"""How long the engine works at a time, so that the window stays responsive. No bpy here.

Between two turns Blender draws the window and hears the user. Each sample changes the scene, if only for a moment, so the
viewport is drawn again after each turn.
"""

import time

# A turn and what Blender does until the next one make up so much, where drawing takes less: 11 redraws a second.
_ROUND_S = 0.09
_SHORTEST_S = 0.015
# Where drawing takes so long by itself that there are fewer, turns become longer, too: of little else something would come.
_LONGEST_S = 0.1
_BUSY_S = 0.0  # till the next turn while samples are wanted
_WAITING_S = 0.01  # while they have just been wanted
_IDLE_S = 0.05  # while nobody wants any
_IDLE_AFTER_S = 1.0


class Pace:
    """How long turns are and when the next one is due, by what has come between the last ones."""

    def __init__(self) -> None:
        self._drawing_s = 0.0
        self._ended_at: float | None = None  # of the last turn, if the next one was due at once
        self._busy_at = time.monotonic()

    def begin(self) -> float:
        """A turn begins; returns how many seconds it is to take."""
        if self._ended_at is not None:
            drawing_s = time.monotonic() - self._ended_at
            self._drawing_s = 0.7 * self._drawing_s + 0.3 * drawing_s if self._drawing_s else drawing_s
        return turn_s(self._drawing_s)

    def end(self, is_busy: bool) -> float:
        """A turn has ended; returns in how many seconds the next one is due.

        Args:
            is_busy: Whether something was made.
        """
        now = time.monotonic()
        self._ended_at = now if is_busy else None
        if is_busy:
            self._busy_at = now
            return _BUSY_S
        return _WAITING_S if now - self._busy_at < _IDLE_AFTER_S else _IDLE_S


def turn_s(drawing_s: float) -> float:
    """How many seconds a turn is to take where Blender's drawing takes `drawing_s`."""
    return max(_SHORTEST_S, _ROUND_S - drawing_s, min((drawing_s - _ROUND_S) / 2, _LONGEST_S))
