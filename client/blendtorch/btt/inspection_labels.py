"""What a recording's labels say as a set: instances, classes, sizes, how much of them is seen. Plain numpy."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..export.classes import class_name
from ..labels.schema import INSTANCES, KEYPOINTS
from .inspection_moments import Histogram, Moments, Summary, bin_of
from .inspection_pictures import TOLD

SIZE_EDGES = 2.0 ** np.arange(0, 13.01, 0.25)
"""Of box widths and heights, pixels: 1 to 8192, four bins for each doubling."""
FRACTION_EDGES = np.linspace(0, 1, 21)
"""Of visible fractions and truncation."""
DEPTH_EDGES = 10.0 ** (np.arange(-200, 501) / 100)
"""Of depth, metres: 1 cm to 100 km, a hundred bins for each factor of ten."""
CENTRE_BINS = 48
"""Of box centres, over the height and over the width of the picture."""
COCO_SMALL, COCO_MEDIUM = 32**2, 96**2
"""Pixels of a mask. COCO calls an object small below 32^2, medium below 96^2, large from there on; "area" is the number
of pixels in its mask (https://cocodataset.org/#detection-eval, Metrics)."""
_MAX_NAMES = 200  # of keypoints that are told apart


@dataclass(frozen=True)
class ClassCount:
    """One class. Attributes: its name ("class_7" where it has none, "no class" for 0); instances that are seen, and that no
    pixel shows; pixels of all of them; pictures in which it is seen.
    """

    name: str
    seen: int
    hidden: int
    pixels: int
    pictures: int


@dataclass(frozen=True)
class LabelReport:
    """What the labels say as a set. An instance is *seen* where at least one pixel shows it, else *hidden*.

    Attributes:
        samples: Samples whose labels could be read.
        malformed: Samples whose labels could not, with the reason for the first one.
        first_malformed: "KEY: reason", or "".
        instances, seen, hidden: Instances of all samples; seen + hidden = instances.
        seen_per_picture: Of the number of instances that are seen in a picture.
        seen_counts: For each such number, how many pictures have it.
        empty, empty_keys: Pictures in which no instance is seen, and the keys of the first `TOLD` of them.
        unclassed: Pictures in which instances are seen, but none whose class is above 0. 0 where no classes are used.
        classes: By class id.
        width, height, area: Of the boxes of instances that are seen, pixels and square pixels.
        size_counts: (52, 52) int64, heights by widths, bins of `SIZE_EDGES`.
        small, medium, large: Instances that are seen, by COCO's sizes of masks (pixels, not boxes).
        bad_boxes: Instances that are seen and have a box without extent, or one that is not finite.
        at_edge: Instances that are seen and whose box touches the edge of the picture. None where its size is unknown.
        centre_counts: (48, 48) int64, rows by columns, box centres over the picture.
        frame: (H, W) of the first picture, or None.
        visible_fraction, truncation, depth_m: Of instances that are seen. Empty where no sample has the column.
        visible_fraction_counts: (20,) int64, bins of `FRACTION_EDGES`.
        truncated: Instances that are seen and of which a part is beyond the frame.
        depth_of: What depth is measured at: "centre of the 3D box", "origin of the object", or "".
        depth_counts: (700,) int64, bins of `DEPTH_EDGES`.
        keypoints: By name, how many have visibility 0, 1 and 2.
        all_same: Whether id, box and pixels of all samples are equal, there are two at least, and something is seen.
    """

    samples: int
    malformed: int
    first_malformed: str
    instances: int
    seen: int
    hidden: int
    seen_per_picture: Summary
    seen_counts: dict[int, int]
    empty: int
    empty_keys: list[str]
    unclassed: int
    classes: dict[int, ClassCount]
    width: Summary
    height: Summary
    area: Summary
    size_counts: np.ndarray
    small: int
    medium: int
    large: int
    bad_boxes: int
    at_edge: int | None
    centre_counts: np.ndarray
    frame: tuple[int, int] | None
    visible_fraction: Summary
    visible_fraction_counts: np.ndarray
    truncation: Summary
    truncated: int
    depth_m: Summary
    depth_of: str
    depth_counts: np.ndarray
    keypoints: dict[str, tuple[int, int, int]]
    all_same: bool


class _Table(NamedTuple):
    """What is needed of the labels of one sample."""

    id: np.ndarray
    class_id: np.ndarray
    pixels: np.ndarray
    box: np.ndarray
    visible_fraction: np.ndarray | None
    truncation: np.ndarray | None
    depth_m: np.ndarray | None
    depth_of: str
    frame: tuple[int, int] | None
    keypoint_names: list[str]
    visibility: np.ndarray


def _read(sample: Mapping[str, Any]) -> _Table:
    """Takes the labels of a sample apart; raises KeyError, TypeError or ValueError where they are not by the schema."""
    labels = sample["labels"]
    table = labels["instances"]
    count = len(table["id"])

    def column(name: str) -> np.ndarray | None:
        return needed(name) if table.get(name) is not None else None

    def needed(name: str) -> np.ndarray:
        values = np.asarray(table[name])
        expected = (count, *INSTANCES[name].tail)
        kinds = "iu" if "int" in INSTANCES[name].dtype else "iuf"
        if values.dtype.kind not in kinds or values.shape != expected:
            dtype = INSTANCES[name].dtype
            raise ValueError(f"{name} is {values.dtype} of shape {values.shape}, expected {dtype} of shape {expected}")
        return values

    depth_m, depth_of = None, ""
    if (corners := column("box3d_camera")) is not None:
        depth_m, depth_of = corners[:, :, 2].mean(axis=1), "centre of the 3D box"
    elif (pose := column("pose")) is not None:
        depth_m, depth_of = pose[:, 2, 3], "origin of the object"
    keypoints = labels.get("keypoints") or {}
    visibility = np.asarray(keypoints.get("visibility", ()), KEYPOINTS["visibility"].dtype)
    names = list(keypoints.get("name", ()))
    if visibility.shape != (len(names),):
        raise ValueError(f"keypoints: visibility is of shape {visibility.shape}, and there are {len(names)} names")
    return _Table(
        id=needed("id"),
        class_id=needed("class_id"),
        pixels=needed("pixels"),
        box=needed("box"),
        visible_fraction=column("visible_fraction"),
        truncation=column("truncation"),
        depth_m=depth_m,
        depth_of=depth_of,
        frame=_frame(sample),
        keypoint_names=names,
        visibility=visibility,
    )


def _frame(sample: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W) of the picture, from the camera, or else from an image."""
    camera = sample["labels"].get("camera") or {}
    shape = camera.get("shape")
    for name in ("ids", "depth", "image"):
        if shape is None and hasattr(sample.get(name), "shape"):
            shape = sample[name].shape
    return (int(shape[0]), int(shape[1])) if shape is not None and len(shape) >= 2 else None


def _finite(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = values[np.isfinite(values)]
    return found


class LabelCollector:
    """Collects what the labels of sample after sample say."""

    def __init__(self, class_names: Mapping[int, str] | None = None) -> None:
        """Start with none.

        Args:
            class_names: Names of classes by id.
        """
        self._names = dict(class_names or {})
        self._samples = self._malformed = 0
        self._first_malformed = ""
        self._instances = self._seen = self._empty = 0
        self._seen_counts: Counter[int] = Counter()
        self._empty_keys: list[str] = []
        self._class_tables: dict[int, list[int]] = {}  # seen, hidden, pixels, pictures
        self._classless = 0
        self._width, self._height, self._area = Moments(), Moments(), Moments()
        bins = len(SIZE_EDGES) - 1
        self._sizes = np.zeros((bins, bins), np.int64)
        self._coco = np.zeros(3, np.int64)
        self._bad_boxes = self._at_edge = self._truncated = 0
        self._centres = np.zeros((CENTRE_BINS, CENTRE_BINS), np.int64)
        self._frame: tuple[int, int] | None = None
        self._fraction, self._truncation, self._depth = Moments(), Moments(), Moments()
        self._fractions, self._depths = Histogram(FRACTION_EDGES), Histogram(DEPTH_EDGES)
        self._depth_of = ""
        self._keypoints: dict[str, np.ndarray] = {}
        self._first: tuple[bytes, bytes, bytes] | None = None
        self._all_same = True

    def add(self, key: str, sample: Mapping[str, Any]) -> None:
        """Adds the labels of a sample; one without is passed over."""
        if sample.get("labels") is None:
            return
        try:
            table = _read(sample)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self._malformed += 1
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            self._first_malformed = self._first_malformed or f"{key}: {reason}"
            return
        self._samples += 1
        seen = table.pixels > 0
        self._add_counts(key, table, seen)
        self._add_boxes(table, seen)
        if table.visible_fraction is not None:
            fraction = _finite(table.visible_fraction[seen])
            self._fraction.add(fraction)
            self._fractions.add(fraction)
        if table.truncation is not None:
            truncation = _finite(table.truncation[seen])
            self._truncation.add(truncation)
            self._truncated += int((truncation > 0).sum())
        if table.depth_m is not None:
            depth = _finite(table.depth_m[seen])
            self._depth.add(depth)
            self._depths.add(depth)
            self._depth_of = self._depth_of or table.depth_of
        for name, visibility in zip(table.keypoint_names, table.visibility, strict=True):
            if name in self._keypoints or len(self._keypoints) < _MAX_NAMES:
                self._keypoints.setdefault(name, np.zeros(3, np.int64))[min(int(visibility), 2)] += 1

    def _add_counts(self, key: str, table: _Table, seen: np.ndarray) -> None:
        count = int(seen.sum())
        self._instances += len(seen)
        self._seen += count
        self._seen_counts[count] += 1
        if not count:
            self._empty += 1
            if len(self._empty_keys) < TOLD:
                self._empty_keys.append(key)
        elif not (table.class_id[seen] > 0).any():
            self._classless += 1
        for class_id in np.unique(table.class_id).tolist():
            of_class = table.class_id == class_id
            seen_of_class = int((of_class & seen).sum())
            counts = self._class_tables.setdefault(class_id, [0, 0, 0, 0])
            counts[0] += seen_of_class
            counts[1] += int(of_class.sum()) - seen_of_class
            counts[2] += int(table.pixels[of_class].sum())
            counts[3] += seen_of_class > 0
        if self._all_same:
            same = (table.id.tobytes(), table.pixels.tobytes(), table.box.tobytes())
            self._all_same = self._first in (None, same)
            self._first = same

    def _add_boxes(self, table: _Table, seen: np.ndarray) -> None:
        box, pixels = table.box[seen].astype(np.float64), table.pixels[seen]
        self._coco += np.bincount(np.digitize(pixels, (COCO_SMALL, COCO_MEDIUM)), minlength=3)
        good = np.isfinite(box).all(axis=1) & (box[:, 2:] > box[:, :2]).all(axis=1)
        self._bad_boxes += int((~good).sum())
        box = box[good]
        size = box[:, 2:] - box[:, :2]
        self._width.add(size[:, 0])
        self._height.add(size[:, 1])
        self._area.add(size.prod(axis=1))
        np.add.at(self._sizes, (bin_of(size[:, 1], SIZE_EDGES), bin_of(size[:, 0], SIZE_EDGES)), 1)
        if table.frame is not None:
            self._frame = self._frame or table.frame
            height, width = table.frame
            self._at_edge += int(((box[:, :2] <= 0).any(axis=1) | (box[:, 2:] >= (width, height)).any(axis=1)).sum())
            centre = (box[:, :2] + box[:, 2:]) / 2 / (width, height) * CENTRE_BINS
            column, row = np.clip(centre.astype(np.intp), 0, CENTRE_BINS - 1).T
            np.add.at(self._centres, (row, column), 1)

    def report(self) -> LabelReport | None:
        """What was seen; None where no sample has labels."""
        if not self._samples and not self._malformed:
            return None
        per_picture = Moments()
        for number, pictures in self._seen_counts.items():
            per_picture.merge(Moments(pictures, number, 0.0, number, number))
        classes = {
            class_id: ClassCount(
                self._names.get(class_id) or (class_name(class_id, {}) if class_id else "no class"), *counts
            )
            for class_id, counts in sorted(self._class_tables.items())
        }
        return LabelReport(
            samples=self._samples,
            malformed=self._malformed,
            first_malformed=self._first_malformed,
            instances=self._instances,
            seen=self._seen,
            hidden=self._instances - self._seen,
            seen_per_picture=per_picture.summary(),
            seen_counts=dict(sorted(self._seen_counts.items())),
            empty=self._empty,
            empty_keys=self._empty_keys,
            unclassed=self._classless if any(classes) else 0,
            classes=classes,
            width=self._width.summary(),
            height=self._height.summary(),
            area=self._area.summary(),
            size_counts=self._sizes,
            small=int(self._coco[0]),
            medium=int(self._coco[1]),
            large=int(self._coco[2]),
            bad_boxes=self._bad_boxes,
            at_edge=None if self._frame is None else self._at_edge,
            centre_counts=self._centres,
            frame=self._frame,
            visible_fraction=self._fraction.summary(),
            visible_fraction_counts=self._fractions.counts,
            truncation=self._truncation.summary(),
            truncated=self._truncated,
            depth_m=self._depth.summary(),
            depth_of=self._depth_of,
            depth_counts=self._depths.counts,
            keypoints={name: (int(a), int(b), int(c)) for name, (a, b, c) in self._keypoints.items()},
            all_same=self._all_same and self._samples > 1 and self._seen > 0,
        )
