"""`Reasons`: what was found to be wrong, each with the kind that it is counted under."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MOST = 20
"""Reasons of one kind that are told one by one. A sample in which all is wrong has thousands, and one cause."""


class Reason(NamedTuple):
    """One contradiction."""

    kind: str
    """What it is about: the name of a column, an image or a section."""
    text: str
    """Which instance, what was seen and what was expected."""


class Reasons:
    """Collects reasons."""

    def __init__(self) -> None:
        """Start with none."""
        self.found: list[Reason] = []

    def add(self, kind: str, text: str) -> None:
        """Add one."""
        self.found.append(Reason(kind, text))

    def add_rows(self, kind: str, bad: np.ndarray, text: Callable[[int], str]) -> None:
        """Add one for each bad row, up to `MOST`, and one that says how many more there are.

        Args:
            kind: What they are about.
            bad: (K,) bool.
            text: Makes the text of a row.
        """
        rows = np.flatnonzero(bad)
        for row in rows[:MOST]:
            self.add(kind, text(int(row)))
        if len(rows) > MOST:
            self.add(kind, f"{len(rows) - MOST} more like this")
