"""What a recording's fields hold: dtypes, shapes, ranges, what is not finite, what never changes. Plain numpy.

Nested dicts are taken apart: a column of labels is the field "labels.instances.box".
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .inspection_moments import Moments, Summary

MAX_FIELDS = 500
"""Fields that are told apart: a dict whose keys are the names of random objects has new ones in each sample."""
_MAX_DISTINCT = 1000  # texts and shapes of a field that are told apart


@dataclass(frozen=True)
class FieldReport:
    """What one field holds, over the samples that were looked at.

    Attributes:
        name: Its name, with dots for what is in nested dicts.
        samples: How many samples have it.
        dtypes: For each dtype (of numpy, or "int", "float", "bool", "text", "list", "None", ... of Python) how many
            samples have it.
        shapes: For each shape ("480x640x3"; "" for a single value) how many samples have it.
        shape: All of them as one text: "480x640x3", "4..9x4" where the first axis varies, "2 kinds" where even the
            number of axes does.
        encoding: How it is stored ("npy", "png", ...), where the recording says so.
        nbytes: Bytes of the decoded values.
        elements: Numbers in all of them.
        range: Of the finite numbers, in float64. Empty for complex numbers and texts.
        nan, posinf, neginf: How many numbers are not finite.
        distinct_texts: How many different texts (1000: as many or more). None where there are none.
        uniform: How many samples have an array of more than one number, all of which are equal.
        is_same: Whether all samples that have it hold the same, and at least two do.
    """

    name: str
    samples: int
    dtypes: dict[str, int]
    shapes: dict[str, int]
    shape: str
    encoding: str | None
    nbytes: int
    elements: int
    range: Summary
    nan: int
    posinf: int
    neginf: int
    distinct_texts: int | None
    uniform: int
    is_same: bool

    @property
    def nan_share(self) -> float:
        """Part of its numbers that are NaN."""
        return self.nan / self.elements if self.elements else 0.0

    @property
    def inf_share(self) -> float:
        """Part of its numbers that are infinite."""
        return (self.posinf + self.neginf) / self.elements if self.elements else 0.0

    @property
    def is_array(self) -> bool:
        """Whether it ever is an array of one axis or more."""
        return any(self.shapes)

    @property
    def is_constant(self) -> bool:
        """Whether all its numbers, in all samples, are one and the same finite number."""
        return bool(self.elements) and self.range.count == self.elements and self.range.min == self.range.max

    @property
    def is_zero(self) -> bool:
        """Whether that number is 0."""
        return self.is_constant and self.range.min == 0


class Facts(NamedTuple):
    """What is known of the value of one field in one sample."""

    dtype: str
    shape: tuple[int, ...]
    value: Any
    """The array, or what it is instead."""
    nbytes: int
    elements: int
    moments: Moments
    nan: int
    posinf: int
    neginf: int
    counts: np.ndarray | None
    """Of uint8: how often each value is there. (C, 256) int64 of a picture of C = 3 or 4 channels, else (1, 256)."""
    texts: tuple[str, ...] | None
    """A text, or those of a list of texts."""


def measure(sample: Mapping[str, Any]) -> dict[str, Facts]:
    """The facts of each field of a sample. Reads each number once or twice, and keeps none but by reference."""
    return {name: _facts(value) for name, value in _leaves(sample)}


def _leaves(value: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _facts(value: Any) -> Facts:
    dtype, array = _as_array(value)
    if array is None:
        texts = (value,) if isinstance(value, str) else _texts(value)
        shape = () if isinstance(value, str) or texts is None else (len(texts),)
        return Facts(dtype, shape, value, 0, 0, Moments(), 0, 0, 0, None, texts)
    nan = posinf = neginf = 0
    counts = None
    moments = Moments()
    if array.dtype == np.uint8 and array.size:
        counts = _count_bytes(array)
        moments = Moments.of_bytes(counts.sum(axis=0))
    elif array.dtype.kind in "biu":
        moments.add(array.view(np.uint8) if array.dtype.kind == "b" else array)
    elif array.dtype.kind in "fc":
        finite = np.isfinite(array)
        if not finite.all():
            nan = int(np.isnan(array).sum())
            if array.dtype.kind == "f":
                posinf, neginf = int(np.isposinf(array).sum()), int(np.isneginf(array).sum())
            else:
                posinf = int(array.size - finite.sum()) - nan  # of complex numbers the sign is none
        if array.dtype.kind == "f":
            moments.add(array if not nan + posinf + neginf else array[finite])
    elements = array.size if array.dtype.kind in "biufc" else 0
    return Facts(dtype, array.shape, array, array.nbytes, elements, moments, nan, posinf, neginf, counts, None)


def _as_array(value: Any) -> tuple[str, np.ndarray | None]:
    """The name of a value's dtype, and the value as an array where it has numbers or is a list of texts."""
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype), np.asarray(value)
    if isinstance(value, bool | int | float):
        array = np.asarray(value)
        # Python's integers have no end.
        return type(value).__name__, array if array.dtype.kind in "biuf" else np.asarray(float(value))
    if isinstance(value, str):
        return "text", None
    if isinstance(value, list | tuple):
        if not value or isinstance(value[0], str):
            return type(value).__name__, None
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError):  # ragged
            return type(value).__name__, None
        return type(value).__name__, array if array.dtype.kind in "biuf" and array.size else None
    if hasattr(value, "__array__"):  # a tensor
        array = np.asarray(value)
        return str(array.dtype), array
    return "None" if value is None else type(value).__name__, None


def _texts(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def _count_bytes(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] in (3, 4):
        # Pillow counts each channel in one pass, four times as fast as numpy.
        return np.array(Image.fromarray(array).histogram(), np.int64).reshape(array.shape[2], 256)
    return np.bincount(array.reshape(-1), minlength=256)[None]


@dataclass
class _Field:
    """What was seen of one field so far."""

    samples: int = 0
    dtypes: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    axes: list[tuple[int, int]] | None = None  # least and greatest length of each
    mixed_axes: bool = False
    nbytes: int = 0
    elements: int = 0
    moments: Moments = field(default_factory=Moments)
    nan: int = 0
    posinf: int = 0
    neginf: int = 0
    texts: set[str] | None = None
    uniform: int = 0
    first: Any = None  # as long as all are the same
    is_same: bool = True

    def add(self, facts: Facts) -> None:
        shape = "x".join(map(str, facts.shape))
        self.dtypes[facts.dtype] += 1
        if shape in self.shapes or len(self.shapes) < _MAX_DISTINCT:
            self.shapes[shape] += 1
        if self.axes is None:
            self.axes = [(n, n) for n in facts.shape]
        elif len(self.axes) != len(facts.shape):
            self.mixed_axes = True
        else:
            self.axes = [(min(a, n), max(b, n)) for (a, b), n in zip(self.axes, facts.shape, strict=True)]
        self.nbytes += facts.nbytes
        self.elements += facts.elements
        self.moments.merge(facts.moments)
        self.nan, self.posinf, self.neginf = (
            self.nan + facts.nan,
            self.posinf + facts.posinf,
            self.neginf + facts.neginf,
        )
        if facts.texts is not None:
            self.texts = self.texts or set()
            self.texts.update(facts.texts[: _MAX_DISTINCT - len(self.texts)])
        moments = facts.moments
        self.uniform += 1 < facts.elements == moments.count and moments.min == moments.max
        if self.samples == 0:
            self.first = facts.value
        elif self.is_same and not _equal(self.first, facts.value):
            self.is_same, self.first = False, None
        self.samples += 1

    def report(self, name: str, encoding: str | None) -> FieldReport:
        if self.mixed_axes:
            shape = f"{len(self.shapes)} kinds"
        else:
            shape = "x".join(str(a) if a == b else f"{a}..{b}" for a, b in self.axes or [])
        return FieldReport(
            name=name,
            samples=self.samples,
            dtypes=dict(self.dtypes.most_common()),
            shapes=dict(self.shapes.most_common()),
            shape=shape,
            encoding=encoding,
            nbytes=self.nbytes,
            elements=self.elements,
            range=self.moments.summary(),
            nan=self.nan,
            posinf=self.posinf,
            neginf=self.neginf,
            distinct_texts=None if self.texts is None else len(self.texts),
            uniform=self.uniform,
            is_same=self.is_same and self.samples > 1,
        )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.dtype != other.dtype:
            return False
        return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    try:
        return bool(one == other)
    except ValueError:  # a list with arrays in it
        return False


class FieldCollector:
    """Collects what the fields of sample after sample hold."""

    def __init__(self) -> None:
        self._fields: dict[str, _Field] = {}
        self.passed_over = 0
        """Values of fields beyond `MAX_FIELDS`, which were not looked at."""

    def add(self, facts: Mapping[str, Facts]) -> None:
        """Adds what `measure` says of a sample."""
        for name, of_field in facts.items():
            if name not in self._fields:
                if len(self._fields) >= MAX_FIELDS:
                    self.passed_over += 1
                    continue
                self._fields[name] = _Field()
            self._fields[name].add(of_field)

    def report(self, encodings: Mapping[str, str] | None = None) -> dict[str, FieldReport]:
        """What was seen, by name, in the order in which the fields came.

        Args:
            encodings: How fields are stored, by name.
        """
        known = encodings or {}
        return {
            name: seen.report(name, known.get(name, known.get(name.partition(".")[0])))
            for name, seen in self._fields.items()
        }
