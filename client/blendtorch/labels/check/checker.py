"""`LabelChecker`: checks the labels of a stream of samples, counts, and does what was asked for with wrong ones."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, get_args

from ...errors import ConfigError, LabelError
from .labels import Tolerances, find_reasons

Action = Literal["report", "drop", "raise"]

_log = logging.getLogger(__name__)
_TOLD = 5
"""Reasons that an error tells one by one."""


class LabelChecker:
    """Checks sample after sample.

    A sample is a dict with the key "labels", and "ids" and "depth" where it has these images. In a `DataLoader` with
    workers each worker has a checker of its own, and counts its own samples.
    """

    def __init__(self, action: Action = "report", tolerances: Tolerances | None = None) -> None:
        """Decide what happens to samples whose labels contradict each other.

        Args:
            action: "report" accepts samples that are wrong, "drop" does not; both log a warning for the first one of each
                kind of reason. "raise" raises.
            tolerances: See `Tolerances`.

        Raises:
            ConfigError: (a ValueError) Another action.
        """
        if action not in get_args(Action):
            raise ConfigError(f"action: expected one of {', '.join(get_args(Action))}, got {action!r}")
        self.action = action
        self.tolerances = tolerances or Tolerances()
        self.checked = 0
        """Samples that were looked at."""
        self.rejected = 0
        """Those whose labels contradict each other, whatever was done with them."""
        self.reasons: Counter[str] = Counter()
        """How many samples have a reason of each kind; a sample may have several kinds."""
        self._examples: dict[str, str] = {}

    def accepts(self, sample: Mapping[str, Any]) -> bool:
        """Check a sample.

        Args:
            sample: With the key "labels", and optionally "ids", (H, W) uint32, and "depth", (H, W) float32.

        Returns:
            False where the sample should be dropped.

        Raises:
            LabelError: (a ValueError) The labels contradict each other, and the action is "raise".
            ConfigError: (a ValueError) The sample has no labels.
        """
        if "labels" not in sample:
            raise ConfigError(f"expected a sample with the key 'labels', got one with {', '.join(map(repr, sample))}")
        reasons = find_reasons(sample["labels"], sample.get("ids"), sample.get("depth"), self.tolerances)
        self.checked += 1
        if not reasons:
            return True
        self.rejected += 1
        first = {reason.kind: reason.text for reason in reversed(reasons)}
        fresh = [kind for kind in first if kind not in self.reasons]
        self.reasons.update(first.keys())
        self._examples.update({kind: first[kind] for kind in fresh})
        if self.action == "raise":
            texts = [f"{reason.kind}: {reason.text}" for reason in reasons[:_TOLD]]
            more = [f"and {len(reasons) - _TOLD} more"] if len(reasons) > _TOLD else []
            raise LabelError("labels of a sample contradict each other:\n  " + "\n  ".join(texts + more))
        done = "sent on" if self.action == "report" else "dropped"
        for kind in fresh:
            _log.warning(
                "labels contradict each other, %s: %s (the sample is %s; more are counted)", kind, first[kind], done
            )
        return self.action == "report"

    def report(self) -> str:
        """Return the counts as text: a line for all, and one with an example for each kind, the most frequent first."""
        verb = {"report": "reported", "drop": "dropped", "raise": "raised"}[self.action]
        lines = [f"{self.checked} samples checked, {self.rejected} with contradictory labels ({verb})"]
        lines += [
            f"  {kind}: {count} samples, the first: {self._examples[kind]}"
            for kind, count in self.reasons.most_common()
        ]
        return "\n".join(lines)
