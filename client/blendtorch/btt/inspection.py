"""`inspect`: what is in a recording, told in numbers, and what looks wrong with it. Each sample is read once.

Imports no torch and no bpy of its own.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, RecordingError
from ..export.classes import class_names
from ..export.splits import episode_of
from .inspection_check import CheckCollector, CheckReport, reasons_of
from .inspection_fields import Facts, FieldCollector, FieldReport, measure
from .inspection_findings import Finding, find
from .inspection_labels import LabelCollector, LabelReport
from .inspection_pictures import Look, PictureCollector, PictureReport, is_picture, look_at

_SEED = 0  # of the samples that are drawn

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Inspection:
    """What is in a recording.

    Attributes:
        samples: Samples of the recording.
        inspected: Those that were looked at. All below is about these.
        unreadable: Those that could not be read, and are not among these.
        first_unreadable: "KEY: reason" of the first one, or "".
        shards: The recording's files; 0 for a list of samples.
        nbytes_on_disk: Their size.
        skipped: Samples that the recording passed over, because they are damaged, incomplete or there twice.
        problems: What the recording says of those.
        metadata: What it says of itself.
        instances: For each Blender instance (`btid`) how many samples it made.
        restarts: How often instances were restarted in between (the greatest `btepoch` of each, summed).
        episodes: Samples by the index in their keys; those of an episode share it. About all samples.
        fields: By name; those of nested dicts as "labels.instances.box".
        passed_over: Values of fields beyond 500 names, which were not looked at.
        labels: None where no sample has any.
        pictures: None where no sample has a picture.
        check: None where it was not asked for.
        findings: What looks wrong, the worst first.
    """

    samples: int
    inspected: int
    unreadable: int
    first_unreadable: str
    shards: int
    nbytes_on_disk: int
    skipped: int
    problems: list[str]
    metadata: dict[str, Any]
    instances: dict[int, int]
    restarts: int
    episodes: "Episodes"
    fields: dict[str, FieldReport]
    passed_over: int
    labels: LabelReport | None
    pictures: PictureReport | None
    check: CheckReport | None
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong with it; notes do not count."""
        return not any(finding.is_problem for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it: dicts with texts as keys, lists, numbers. What is not finite is None."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True)
class Episodes:
    """Attributes: how many indices there are; the least, mean and greatest number of samples of one."""

    count: int
    min: int
    mean: float
    max: int


def inspect(
    recording: Sequence[Mapping[str, Any]],
    *,
    every: int = 1,
    samples: int | None = None,
    check: bool = False,
    classes: Mapping[int, str] | None = None,
    allow_nan: Collection[str] = (),
    progress: Progress | None = None,
) -> Inspection:
    """Look at all samples of a recording, or at some, and tell what is in them.

    Each sample is read once and let go. A recording of any length takes the same memory, but for some hundred bytes a
    sample by which copies are found.

    Args:
        recording: A `Recording`, or a list of samples.
        every: Looks at the samples 0, every, 2 every, ...
        samples: Looks at that many at most, drawn at random, the same ones each time; instead of `every`.
        check: Also asks `check_labels` what is wrong with the labels of each sample, some milliseconds each.
        classes: Names of classes by id; by default what the recording's metadata says.
        allow_nan: Fields that may have NaN, besides flow, whose NaN stands for what is unknown.
        progress: Is called with (done, total) after each sample.

    Returns:
        What was found.

    Raises:
        ConfigError: (a ValueError) An argument is out of range.
    """
    picked = _pick(len(recording), every, samples)
    metadata = dict(getattr(recording, "metadata", None) or {})
    keys = getattr(recording, "keys", None)
    keys = list(keys) if isinstance(keys, list) else [f"{i:09d}" for i in range(len(recording))]
    collector = _Collector(class_names(metadata) if classes is None else classes)
    for done, index in enumerate(picked, start=1):
        try:
            measured = _measure(recording[index], check)
        except RecordingError as error:
            collector.add_unreadable(f"{keys[index]}: {error}")
        else:
            collector.add(keys[index], measured)
        if progress is not None:
            progress(done, len(picked))
    inspection = collector.inspection(recording, keys, check)
    return replace(inspection, findings=find(inspection, allow_nan))


def _pick(length: int, every: int, samples: int | None) -> list[int]:
    if every < 1:
        raise ConfigError(f"every: expected 1 or more, got {every}")
    if samples is None:
        return list(range(0, length, every))
    if every != 1:
        raise ConfigError("every and samples are two ways to say the same: expected one of them")
    if samples < 1:
        raise ConfigError(f"samples: expected 1 or more, got {samples}")
    count = min(samples, length)
    # At even distances they would be of one instance, where two instances take turns.
    return sorted(np.random.default_rng(_SEED).choice(length, count, replace=False).tolist())


class _Measured(NamedTuple):
    """One sample, and what takes long to find out about it."""

    sample: Mapping[str, Any]
    facts: dict[str, Facts]
    picture: tuple[str, Look] | None
    reasons: list[str] | None


def _measure(sample: Mapping[str, Any], check: bool) -> _Measured:
    facts = measure(sample)
    pictures = [name for name, of_field in facts.items() if is_picture(of_field) and of_field.counts is not None]
    name = "image" if "image" in facts and is_picture(facts["image"]) else next(iter(pictures), None)
    picture = None if name is None else (name, look_at(facts[name]))
    return _Measured(sample, facts, picture, reasons_of(sample) if check else None)


class _Collector:
    """Collects what is known of sample after sample."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._fields = FieldCollector()
        self._labels = LabelCollector(names)
        self._pictures: dict[str, PictureCollector] = {}
        self._check = CheckCollector()
        self._instances: Counter[int] = Counter()
        self._epochs: dict[int, int] = {}
        self._inspected = self._unreadable = 0
        self._first_unreadable = ""

    def add_unreadable(self, why: str) -> None:
        self._unreadable += 1
        self._first_unreadable = self._first_unreadable or why

    def add(self, key: str, found: "_Measured") -> None:
        self._inspected += 1
        self._fields.add(found.facts)
        self._labels.add(key, found.sample)
        self._check.add(key, found.reasons)
        if found.picture is not None:
            name, look = found.picture
            self._pictures.setdefault(name, PictureCollector()).add(key, look)
        btid, epoch = found.sample.get("btid"), found.sample.get("btepoch", 0)
        if isinstance(btid, int | np.integer) and isinstance(epoch, int | np.integer):
            self._instances[int(btid)] += 1
            self._epochs[int(btid)] = max(self._epochs.get(int(btid), 0), int(epoch))

    def inspection(self, recording: Any, keys: list[str], checked: bool) -> Inspection:
        shards = list(getattr(recording, "shards", ()))
        schema = getattr(recording, "schema", None) or {}
        pictures = [collector.report(name) for name, collector in self._pictures.items()]
        episodes = Counter(map(episode_of, keys)).values()
        return Inspection(
            samples=len(recording),
            inspected=self._inspected,
            unreadable=self._unreadable,
            first_unreadable=self._first_unreadable,
            shards=len(shards),
            nbytes_on_disk=sum(os.stat(shard).st_size for shard in shards),
            skipped=getattr(recording, "skipped", 0),
            problems=list(getattr(recording, "problems", ())),
            metadata=dict(getattr(recording, "metadata", None) or {}),
            instances=dict(sorted(self._instances.items())),
            restarts=sum(self._epochs.values()),
            episodes=Episodes(
                len(episodes), min(episodes, default=0), len(keys) / max(1, len(episodes)), max(episodes, default=0)
            ),
            fields=self._fields.report({name: field.encoding for name, field in schema.items()}),
            passed_over=self._fields.passed_over,
            labels=self._labels.report(),
            pictures=max(pictures, key=lambda report: report.pictures, default=None),
            check=self._check.report() if checked else None,
            findings=[],
        )


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
