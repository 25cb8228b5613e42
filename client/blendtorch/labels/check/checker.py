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
            action: "report" logs a warning for the first sample of each kind of reason, and accepts all; "drop" accepts
                none of them; "raise" raises.
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
        if self.action == "raise":
            texts = [f"{reason.kind}: {reason.text}" for reason in reasons[:_TOLD]]
            more = [f"and {len(reasons) - _TOLD} more"] if len(reasons) > _TOLD else []
            raise LabelError("labels of a sample contradict each other:\n  " + "\n  ".join(texts + more))
        if self.action == "report":
            for kind in fresh:
                _log.warning(
                    "labels contradict each other, %s: %s (further samples of this kind are counted)", kind, first[kind]
                )
        return self.action == "report"

    def report(self) -> str:
        """Return the counts as text, a line for all and one for each kind of reason, the most frequent first."""
        verb = {"report": "reported", "drop": "dropped", "raise": "raised"}[self.action]
        lines = [f"{self.checked} samples checked, {self.rejected} with contradictory labels ({verb})"]
        lines += [f"  {kind}: {count} samples" for kind, count in self.reasons.most_common()]
        return "\n".join(lines)
