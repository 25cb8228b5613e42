"""What a recording's pictures look like as a set: copies of each other, blank ones, how bright they are. Plain numpy."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .inspection_fields import Facts
from .inspection_moments import Histogram, Moments, Summary

TOLD = 10
"""Keys that a report names one by one."""
BRIGHTNESS_EDGES = np.linspace(0, 256, 65)
_BLOCKS, _PER_BLOCK, _COLOR_STEP = (8, 9), 16, 4


@dataclass(frozen=True)
class Copies:
    """Pictures that are equal, byte for byte.

    Attributes:
        count: How many.
        keys: The keys of the first `TOLD` of them.
    """

    count: int
    keys: list[str]


@dataclass(frozen=True)
class PictureReport:
    """What the pictures look like as a set.

    Attributes:
        field: The field that was looked at.
        pictures: How many there are.
        distinct: How many different ones; two are the same when dtype, shape and all bytes are.
        copies: The sets of equal pictures, largest first.
        distinct_hashes: How many different difference hashes they have (see `signature`).
        alike: Pictures that are no copy, and look like an earlier one: same `signature`. Blank ones are not counted.
        blank: Pictures of one colour.
        blank_keys: The keys of the first `TOLD` of them.
        brightness: Of the pictures' means over all pixels and R, G and B, sRGB values 0 to 255. uint8 pictures alone.
        brightness_counts: (64,) int64, how many of these means are in each of 64 equal bins from 0 to 256.
        value_counts: (C, 256) int64, how often each value is there, by channel. None without uint8 pictures, or when
            they have different numbers of channels.
    """

    field: str
    pictures: int
    distinct: int
    copies: list[Copies]
    distinct_hashes: int
    alike: int
    blank: int
    blank_keys: list[str]
    brightness: Summary
    brightness_counts: np.ndarray
    value_counts: np.ndarray | None

    @property
    def duplicates(self) -> int:
        """Pictures that are equal to an earlier one."""
        return self.pictures - self.distinct


class Look(NamedTuple):
    """What is known of one picture."""

    digest: bytes
    """Of dtype, shape and bytes."""
    signature: tuple[int, tuple[int, ...]]
    is_blank: bool
    brightness: float | None
    counts: np.ndarray | None


def is_picture(facts: Facts) -> bool:
    """Whether the value of a field is H x W x 3 or 4 numbers."""
    return len(facts.shape) == 3 and facts.shape[2] in (3, 4) and facts.elements > 0


def look_at(facts: Facts) -> Look:
    """What is to be known of a picture."""
    image = np.ascontiguousarray(facts.value)
    # Not a question of security; of the hashes in Python's hashlib it is the fastest where the processor has it built in.
    digest = hashlib.sha1(f"{facts.dtype} {facts.shape}".encode(), usedforsecurity=False)
    digest.update(image.data)
    brightness = None
    if facts.counts is not None:
        is_blank = all(np.count_nonzero(channel) == 1 for channel in facts.counts)
        colors = facts.counts[:3].sum(axis=0)
        brightness = float(colors @ np.arange(256) / colors.sum())
    else:
        is_blank = bool((image == image[0, 0]).all())
    return Look(digest.digest(), signature(image), is_blank, brightness, facts.counts)


def signature(image: np.ndarray) -> tuple[int, tuple[int, ...]]:
    """What pictures that differ by little have in common: a difference hash, and a rough mean colour.

    The hash has 64 bits: of 8 x 9 blocks, is the one to the right brighter? N. Krawetz, "Kind of Like That",
    hackerfactor.com 2013 (dHash). Alone it takes small things before the same background for the same picture; with the
    colour seldom. A block's brightness is the mean of R, G and B of 16 x 16 pixels that are spread over it.

    Args:
        image: (H, W, C) numbers; of these the first three channels.

    Returns:
        The hash, and the means of R, G and B in steps of 4.
    """
    height, width = image.shape[:2]
    rows, columns = (
        ((np.arange(n * _PER_BLOCK) + 0.5) * size / (n * _PER_BLOCK)).astype(np.intp)
        for n, size in zip(_BLOCKS, (height, width), strict=True)
    )
    picked = image[rows[:, None], columns, :3].reshape(_BLOCKS[0], _PER_BLOCK, _BLOCKS[1], _PER_BLOCK, 3)
    colors = picked.sum(axis=(1, 3), dtype=np.float64)
    bright = colors.sum(axis=-1)
    bits = np.packbits(bright[:, 1:] > bright[:, :-1]).tobytes()
    means = colors.sum(axis=(0, 1)) / (picked.size / 3)
    return int.from_bytes(bits, "big"), tuple(
        np.nan_to_num(means // _COLOR_STEP, posinf=0, neginf=0).astype(int).tolist()
    )


class PictureCollector:
    """Collects what picture after picture looks like."""

    def __init__(self) -> None:
        self._pictures = 0
        self._first: dict[bytes, str] = {}  # the key of the first picture of each digest
        self._copies: dict[bytes, list[str]] = {}
        self._copy_counts: dict[bytes, int] = {}
        self._signatures: set[tuple[int, tuple[int, ...]]] = set()
        self._alike = 0
        self._blank = 0
        self._blank_keys: list[str] = []
        self._brightness = Moments()
        self._brightness_counts = Histogram(BRIGHTNESS_EDGES)
        self._value_counts: np.ndarray | None = None
        self._mixed_channels = False

    def add(self, key: str, look: Look) -> None:
        """Adds what `look_at` says of a picture."""
        self._pictures += 1
        if look.digest in self._first:
            keys = self._copies.setdefault(look.digest, [self._first[look.digest]])
            if len(keys) < TOLD:
                keys.append(key)
            self._copy_counts[look.digest] = self._copy_counts.get(look.digest, 1) + 1
        else:
            self._first[look.digest] = key
            self._alike += look.signature in self._signatures and not look.is_blank
        self._signatures.add(look.signature)
        if look.is_blank:
            self._blank += 1
            if len(self._blank_keys) < TOLD:
                self._blank_keys.append(key)
        if look.brightness is not None and look.counts is not None:
            value = np.array([look.brightness])
            self._brightness.add(value)
            self._brightness_counts.add(value)
            if self._value_counts is None:
                self._value_counts = look.counts.copy()
            elif self._value_counts.shape == look.counts.shape:
                self._value_counts += look.counts
            else:
                self._mixed_channels = True

    def report(self, field: str) -> PictureReport:
        """What was seen of the pictures of that field."""
        copies = [Copies(self._copy_counts[digest], keys) for digest, keys in self._copies.items()]
        return PictureReport(
            field=field,
            pictures=self._pictures,
            distinct=len(self._first),
            copies=sorted(copies, key=lambda one: -one.count),
            distinct_hashes=len({bits for bits, _ in self._signatures}),
            alike=self._alike,
            blank=self._blank,
            blank_keys=self._blank_keys,
            brightness=self._brightness.summary(),
            brightness_counts=self._brightness_counts.counts,
            value_counts=None if self._mixed_channels else self._value_counts,
        )
