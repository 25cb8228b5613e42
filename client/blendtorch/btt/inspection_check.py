"""What `check_labels` says of a recording's labels, counted by kind."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..labels import check_labels


@dataclass(frozen=True)
class CheckReport:
    """What `blendtorch.labels.check_labels` says of the samples.

    Attributes:
        checked: Samples that have labels.
        wrong: Those whose labels contradict each other, or the schema.
        kinds: How many samples have a reason of each kind, the most frequent first.
        examples: The first reason of each kind, "KEY: KIND: REASON".
    """

    checked: int
    wrong: int
    kinds: dict[str, int]
    examples: dict[str, str]


def reasons_of(sample: Mapping[str, Any]) -> list[str] | None:
    """What is wrong with the labels of a sample; None where it has none."""
    if sample.get("labels") is None:
        return None
    return check_labels(sample["labels"], ids=sample.get("ids"), depth=sample.get("depth"))


class CheckCollector:
    """Collects the reasons of sample after sample."""

    def __init__(self) -> None:
        self._checked = self._wrong = 0
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, key: str, reasons: list[str] | None) -> None:
        """Adds what `reasons_of` says of a sample."""
        if reasons is None:
            return
        self._checked += 1
        self._wrong += bool(reasons)
        first = {reason.partition(":")[0]: reason for reason in reversed(reasons)}
        self._kinds.update(first.keys())
        for kind, reason in first.items():
            self._examples.setdefault(kind, f"{key}: {reason}")

    def report(self) -> CheckReport:
        """What was found."""
        return CheckReport(self._checked, self._wrong, dict(self._kinds.most_common()), self._examples)
