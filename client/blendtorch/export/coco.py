"""`export_coco`: a recording as a dataset in the format of COCO.

One JSON file a split, annotations/instances_SPLIT.json, beside the pictures in images/SPLIT
(https://cocodataset.org/#format-data). Annotations pass through a file on their way, so that memory does not grow with the
recording: what all must agree on, classes and names of keypoints, is known at its end alone.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import ConfigError
from .classes import WITHOUT_CLASS, WithoutClass, checked_without_class, class_names, exported_classes
from .labelled import LabelledSample, Progress, labelled_samples
from .pictures import ImageFormat, checked_image_format, image_file
from .rle import rles_of
from .splits import SPLITS, checked_fractions, split_of
from .summary import ExportSummary
from .target import new_folder

if TYPE_CHECKING:
    from ..recording import Recording

_PIXEL_CENTRE = 0.5
_PIXEL_DIGITS = 3
_EXTRAS = (
    "visible_fraction",
    "truncation",
    "pose",
    "scale",
    "bounds",
    "velocity_world",
    "angular_velocity_world",
)
"""Columns that go along under their own names, for programs that know them."""


def export_coco(
    recording: "Recording",
    folder: str | os.PathLike,
    *,
    splits: Mapping[str, float] = SPLITS,
    image_format: ImageFormat = "png",
    quality: int = 95,
    image_field: str = "image",
    without_class: WithoutClass = "auto",
    min_pixels: int = 1,
    skeleton: Sequence[tuple[str, str]] = (),
    extras: bool = True,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write a recording as a dataset in the format of COCO.

    Boxes are X, Y, width, height of the visible pixels, from outer edge to outer edge, as COCO measures them. Masks are
    those of `ids`, pixel for pixel, as compressed run lengths; `area` is their number of pixels. Samples without `ids` have
    boxes and no masks.

    A category has the names of all keypoints that any of its objects has, in order of first sight; its annotations have a
    row x, y, v for each, zeros where it is not in the image or the object has none of that name. x and y are in COCO's
    convention for keypoints, which is not that of its boxes: they count from the *centre* of the first pixel, so they are
    those of the labels less 0.5. Detectron2 adds 0.5 on loading (`load_coco_json`); what does not is off by half a pixel.

    Category ids are class ids. Only where what has no class is exported, as "object", it has the lowest id above 0 that
    is free. Image ids are places in the recording, from 1 on.

    Args:
        recording: The recording.
        folder: Where to, new or empty.
        splits: Share of each split; see `splits.split_of`.
        image_format: "png" or "jpg".
        quality: Of jpg, 1 to 100.
        image_field: Field of the picture.
        without_class: What happens to instances of class 0; see `classes.exported_classes`.
        min_pixels: Instances that fewer pixels show are left out.
        skeleton: Pairs of names of keypoints that are drawn connected, in each category that has both.
        extras: Whether to write what COCO does not know: the sample's key and camera with the images;
            object, instancer, instance id, amodal box, visible fraction, truncation, pose, scale, bounds and velocities
            with the annotations. Names and units are those of docs/labels.md; `bbox_amodal` is X, Y, width, height. What is
            NaN there is null.
        progress: Called with how many samples are done, and how many there are.

    Returns:
        What was written and left out.

    Raises:
        ConfigError: (a ValueError) An option is out of range, or the folder is not empty.
    """
    checked_fractions(splits)
    checked_image_format(image_format, quality)
    checked_without_class(without_class)
    if min_pixels < 1:
        raise ConfigError(f"min_pixels: expected at least 1, got {min_pixels!r}")
    names = class_names(recording.metadata)
    summary = ExportSummary("COCO", Path(os.path.abspath(folder)))
    keypoint_names: dict[int, dict[str, None]] = {}
    seen: set[int] = set()
    with new_folder(folder) as partial:
        spools = {split: _Spool(partial, split) for split in splits}
        try:
            for sample in labelled_samples(recording, summary, image_field, progress):
                split = split_of(sample.key, splits)
                file_name = f"{sample.key}.{image_format}"
                content = image_file(sample.image, image_format, quality)
                (partial / "images" / split / file_name).write_bytes(content)
                annotations, left_out = annotations_of(sample, min_pixels, extras)
                summary.leave_out("instances without visible pixels", left_out[0])
                summary.leave_out(f"instances of fewer than {min_pixels} pixels", left_out[1])
                class_ids = sample.instances["class_id"].tolist()
                seen.update(class_ids)
                for row, points in sample.keypoints.items():
                    keypoint_names.setdefault(class_ids[row], {}).update(dict.fromkeys(points))
                spools[split].add(image_entry(sample, file_name, extras), annotations)
            classes = exported_classes(seen, names, without_class)
            categories = _categories(classes, keypoint_names, skeleton)
            for split, spool in spools.items():
                images, count, dropped = spool.write_json(categories)
                summary.count(f"images in {split}", images)
                summary.count(f"annotations in {split}", count)
                summary.leave_out("instances without a class", dropped)
                if not images:
                    summary.problem(f"no sample fell into {split}: splits go by episodes, and need many of them.")
        finally:
            for spool in spools.values():
                spool.remove()
    return summary


def image_entry(sample: LabelledSample, file_name: str, extras: bool = True) -> dict[str, Any]:
    """Describe the picture of a sample, as an entry of COCO's "images"."""
    height, width = sample.shape
    entry = {"id": sample.index + 1, "file_name": file_name, "width": width, "height": height}
    if extras:
        camera = sample.camera
        entry["key"] = sample.key
        entry |= {name: plain(camera[name]) for name in ("intrinsics", "camera_from_world", "camera_from_world_opencv")}
        if camera["intrinsics"] is None:
            entry["clip_from_camera"] = plain(camera["clip_from_camera"])
        if "distortion" in camera:
            entry["distortion"] = plain(camera["distortion"])
    return entry


def annotations_of(
    sample: LabelledSample, min_pixels: int = 1, extras: bool = True
) -> tuple[list[dict[str, Any]], tuple[int, int]]:
    """Describe the instances of a sample, nearly as entries of COCO's "annotations".

    Args:
        sample: The sample.
        min_pixels: Instances that fewer pixels show are left out.
        extras: Whether to write what COCO does not know.

    Returns:
        annotations: Those of all classes. They have no "id", and instead of "category_id" a "class_id"; "keypoints" is a
            dict of x, y, v by name, x and y in COCO's convention; not there for those that have none.
        left_out: How many have no pixels, and how many have fewer than `min_pixels`.
    """
    table = sample.instances
    boxes, counts = sample.visible()
    pixels = counts.tolist()
    rles = [] if sample.ids is None else rles_of(sample.ids, table["id"].astype(np.int64))
    extra_columns = [name for name in _EXTRAS if name in table] if extras else []
    made = []
    for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        if pixels[row] < min_pixels:
            continue
        annotation: dict[str, Any] = {
            "image_id": sample.index + 1,
            "class_id": int(table["class_id"][row]),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": pixels[row],
            "iscrowd": 0,
        }
        if rles:
            annotation["segmentation"] = {"size": list(sample.shape), "counts": rles[row]}
        if row in sample.keypoints:
            annotation["keypoints"] = {name: _coco_keypoint(*point) for name, point in sample.keypoints[row].items()}
        if extras:
            annotation |= {
                "instance_id": int(table["id"][row]),
                "object": table["object"][row],
                "instancer": table["instancer"][row],
            }
            if "box_amodal" in table:
                left, top, right, bottom = table["box_amodal"][row].tolist()
                sides = (left, top, right - left, bottom - top)
                annotation["bbox_amodal"] = [round(side, _PIXEL_DIGITS) for side in sides]
            annotation |= {name: plain(table[name][row]) for name in extra_columns}
        made.append(annotation)
    none = sum(count == 0 for count in pixels)
    return made, (none, len(pixels) - none - len(made))


def _coco_keypoint(x: float, y: float, visibility: int) -> list[float]:
    if not visibility:
        return [0, 0, 0]
    return [round(x - _PIXEL_CENTRE, _PIXEL_DIGITS), round(y - _PIXEL_CENTRE, _PIXEL_DIGITS), visibility]


def plain(value: Any) -> Any:
    """Turn an array or number into what JSON holds; NaN and infinities, which it does not, into None."""
    if value is None or isinstance(value, str | int):
        return value
    # float32 as short as it can be written: 0.1, not 0.10000000149011612
    numbers = np.asarray(value)
    if numbers.dtype == np.float32:
        numbers = np.array([float(str(one)) for one in numbers.ravel()]).reshape(numbers.shape)
    found = numbers.tolist()
    return found if np.isfinite(numbers).all() else _without_nan(found)


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return value if np.isfinite(value) else None


def _categories(
    classes: Mapping[int, str], keypoint_names: Mapping[int, Mapping[str, None]], skeleton: Sequence[tuple[str, str]]
) -> dict[int, dict[str, Any]]:
    """Make COCO's "categories", by class id."""
    found = {}
    for class_id, name in classes.items():
        category: dict[str, Any] = {"id": class_id, "name": name, "supercategory": ""}
        if class_id == WITHOUT_CLASS:  # programs take category 0 for the background
            category["id"] = next(free for free in range(1, len(classes) + 1) if free not in classes)
        names = list(keypoint_names.get(class_id, ()))
        if names:
            category["keypoints"] = names
            pairs = [(a, b) for a, b in skeleton if a in names and b in names]
            category["skeleton"] = [[names.index(a) + 1, names.index(b) + 1] for a, b in pairs]
        found[class_id] = category
    return found


class _Spool:
    """Entries of one split, a line each, until the categories are known."""

    def __init__(self, folder: Path, split: str) -> None:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "annotations").mkdir(exist_ok=True)
        self._json = folder / "annotations" / f"instances_{split}.json"
        self._paths = [self._json.with_suffix(f".{name}") for name in ("images", "annotations")]
        self._images, self._annotations = (path.open("w+", encoding="utf-8") for path in self._paths)
        self._count = 0

    def add(self, image: dict[str, Any], annotations: list[dict[str, Any]]) -> None:
        self._images.write(_line(image))
        self._annotations.writelines(map(_line, annotations))
        self._count += len(annotations)

    def write_json(self, categories: Mapping[int, dict[str, Any]]) -> tuple[int, int, int]:
        """Write the file. Returns how many images and annotations it has, and how many are of no category."""
        info = {"description": "Recorded with BlendTorch", "version": __version__}
        made = _Counted(_lines(self._images))
        kept = _Counted(_of_categories(_lines(self._annotations), categories))
        with self._json.open("w", encoding="utf-8") as file:
            file.write(f'{{"info": {_dumps(info)},\n"licenses": [],\n')
            file.write(f'"categories": {_dumps(list(categories.values()))},\n')
            file.write('"images": [')
            made.write(file)
            file.write('],\n"annotations": [')
            kept.write(file)
            file.write("]}\n")
        return made.count, kept.count, self._count - kept.count

    def remove(self) -> None:
        for file, path in zip((self._images, self._annotations), self._paths, strict=True):
            file.close()
            path.unlink(missing_ok=True)


class _Counted:
    """Entries, counted as they are written."""

    def __init__(self, entries: Iterator[dict[str, Any]]) -> None:
        self._entries = entries
        self.count = 0

    def write(self, file: IO[str]) -> None:
        for entry in self._entries:
            file.write(",\n" if self.count else "\n")
            file.write(_dumps(entry))
            self.count += 1


def _lines(file: IO[str]) -> Iterator[dict[str, Any]]:
    file.seek(0)
    return map(json.loads, file)


def _of_categories(
    annotations: Iterator[dict[str, Any]], categories: Mapping[int, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Complete annotations, and leave out those of classes that are not exported.

    Ids count from 1 on: COCOeval takes a match with id 0 for none.
    """
    number = 0
    for annotation in annotations:
        category = categories.get(annotation.pop("class_id"))
        if category is None:
            continue
        number += 1
        points = annotation.pop("keypoints", {})
        entry = {"id": number, "image_id": annotation.pop("image_id"), "category_id": category["id"]} | annotation
        if "keypoints" in category:
            rows = [points.get(name, (0, 0, 0)) for name in category["keypoints"]]
            entry["keypoints"] = [value for row in rows for value in row]
            entry["num_keypoints"] = sum(row[2] > 0 for row in rows)
        yield entry


def _line(entry: dict[str, Any]) -> str:
    return _dumps(entry) + "\n"


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False)  # Python would write NaN, which is no JSON
