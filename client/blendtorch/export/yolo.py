"""`export_yolo`: a recording as a dataset for Ultralytics' YOLO.

data.yaml, pictures in images/SPLIT and, for each, labels/SPLIT/KEY.txt with a line an instance
(https://docs.ultralytics.com/datasets/detect, .../segment and .../pose). Lines pass through a file on their way, so that
memory does not grow with the recording: the numbers of classes and the names of keypoints are known at its end alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, get_args

import numpy as np

from ..errors import ConfigError
from .classes import WithoutClass, checked_without_class, class_names, exported_classes
from .labelled import LabelledSample, Progress, labelled_samples
from .pictures import ImageFormat, checked_image_format, image_file
from .polygons import contour_library, outline
from .splits import SPLITS, checked_fractions, split_of
from .summary import ExportSummary
from .target import new_folder

if TYPE_CHECKING:
    from ..recording import Recording

Task = Literal["detect", "segment", "pose"]
Row = tuple[int, str, dict[str, tuple[float, float, int]] | None]


def export_yolo(
    recording: "Recording",
    folder: str | os.PathLike,
    *,
    task: Task = "detect",
    splits: Mapping[str, float] = SPLITS,
    image_format: ImageFormat = "png",
    quality: int = 95,
    image_field: str = "image",
    without_class: WithoutClass = "auto",
    min_pixels: int = 1,
    mirrored: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write a recording as a dataset for Ultralytics' YOLO: `yolo detect train data=FOLDER/data.yaml`.

    Classes are numbered from 0 on, in the order of their class ids. Boxes are those of the visible pixels, coordinates are
    divided by width and height of the image. A picture without instances has an empty file of labels. FOLDER can be moved:
    data.yaml names no path, so that its own folder is meant.

    Tasks:

    * "detect": class and box, x and y of the centre, width, height.
    * "segment": class and one polygon round the visible pixels of `ids`; see `polygons.outline`. Ultralytics takes the
      boxes from the polygons. Samples without `ids` are left out.
    * "pose": class, box, and x, y, v for each name of a keypoint that any object of the recording has, in order of first
      sight; v is COCO's visibility, and zeros stand where the object has none of that name. Ultralytics knows one list of
      keypoints for all classes. Instances that have no keypoint in the image are left out, as its own converter does
      (`convert_coco` in ultralytics/data/converter.py).

    Args:
        recording: The recording.
        folder: Where to, new or empty.
        task: "detect", "segment" or "pose".
        splits: Share of each split, "train" and "val" among them; see `splits.split_of`.
        image_format: "png" or "jpg".
        quality: Of jpg, 1 to 100.
        image_field: Field of the picture.
        without_class: What happens to instances of class 0; see `classes.exported_classes`.
        min_pixels: Instances that fewer pixels show are left out.
        mirrored: For "pose": which keypoint is which in a mirror, such as {"hand.L": "hand.R"}; the others are themselves.
            It becomes `flip_idx`, without which Ultralytics does not flip pictures.
        progress: Called with how many samples are done, and how many there are.

    Returns:
        What was written and left out.

    Raises:
        ConfigError: (a ValueError) An option is out of range, the folder is not empty, contourpy is missing for "segment",
            or there are no keypoints for "pose".
    """
    if task not in get_args(Task):
        raise ConfigError(f"task: expected one of {', '.join(get_args(Task))}, got {task!r}")
    checked_fractions(splits)
    if missing := {"train", "val"} - set(splits):
        raise ConfigError(
            f'splits: Ultralytics needs "train" and "val", got no {" and no ".join(sorted(missing))}. A share of 0 will do.'
        )
    checked_image_format(image_format, quality)
    checked_without_class(without_class)
    if min_pixels < 1:
        raise ConfigError(f"min_pixels: expected at least 1, got {min_pixels!r}")
    if mirrored is not None and task != "pose":
        raise ConfigError(f'mirrored: expected with task="pose" alone, got it with {task!r}')
    if task == "segment":
        contour_library()  # before anything is written
    names = class_names(recording.metadata)
    summary = ExportSummary(f"YOLO ({task})", Path(os.path.abspath(folder)))
    keypoint_names: dict[int, dict[str, None]] = {}
    seen: set[int] = set()
    with new_folder(folder) as partial:
        for kind in ("images", "labels"):
            for split in splits:
                (partial / kind / split).mkdir(parents=True)
        spool_path = partial / "labels.spool"
        with spool_path.open("w+", encoding="utf-8") as spool:
            for sample in labelled_samples(recording, summary, image_field, progress):
                if task == "segment" and sample.ids is None:
                    summary.leave_out("samples without ids")
                    continue
                split = split_of(sample.key, splits)
                content = image_file(sample.image, image_format, quality)
                (partial / "images" / split / f"{sample.key}.{image_format}").write_bytes(content)
                class_ids = sample.instances["class_id"].tolist()
                seen.update(class_ids)
                for row, points in sample.keypoints.items():
                    keypoint_names.setdefault(class_ids[row], {}).update(dict.fromkeys(points))
                spool.write(json.dumps([split, sample.key, rows_of(sample, task, min_pixels, summary)]) + "\n")
            classes = exported_classes(seen, names, without_class)
            points_of_all: list[str] = []
            if task == "pose":
                points_of_all = list(dict.fromkeys(name for one in classes for name in keypoint_names.get(one, ())))
                if not points_of_all:
                    raise ConfigError(
                        'task: "pose" needs keypoints, and no object of a class that is exported has any; '
                        '`annotate(keypoints)` of btb.LabelRenderer makes them. "detect" needs none.'
                    )
            _write_labels(spool, partial / "labels", list(classes), points_of_all, splits, summary)
        spool_path.unlink()
        text = _data_yaml(list(splits), list(classes.values()), points_of_all, mirrored, summary)
        (partial / "data.yaml").write_text(text, encoding="utf-8")
    return summary


def rows_of(sample: LabelledSample, task: Task, min_pixels: int, summary: ExportSummary) -> list[Row]:
    """Describe the instances of a sample, as lines of its file of labels nearly are.

    Args:
        sample: The sample; for "segment" one with ids.
        task: "detect", "segment" or "pose".
        min_pixels: Instances that fewer pixels show are left out.
        summary: Counts what is left out.

    Returns:
        For each instance of whatever class its class id, the numbers that follow the class, and for "pose" its keypoints by
        name: x, y, v, which follow them.
    """
    height, width = sample.shape
    size = np.array([width, height], np.float64)
    boxes, pixels = sample.visible()
    found: list[Row] = []
    for row, (box, count) in enumerate(zip(boxes.astype(np.float64), pixels.tolist(), strict=True)):
        if count < min_pixels:
            why = f"instances of fewer than {min_pixels} pixels" if count else "instances without visible pixels"
            summary.leave_out(why)
            continue
        points = None
        if task == "pose":
            points = {name: (x / width, y / height, v) for name, (x, y, v) in sample.keypoints.get(row, {}).items()}
            if not any(v for *_, v in points.values()):
                summary.leave_out("instances without a keypoint in the image")
                continue
        if task == "segment":
            assert sample.ids is not None
            left, top, right, bottom = box.astype(int)
            mask = sample.ids[top:bottom, left:right] == sample.instances["id"][row]
            numbers = (np.add(outline(mask), (left, top)) / size).ravel()
        else:
            low, high = np.clip(box.reshape(2, 2) / size, 0.0, 1.0)
            numbers = np.concatenate([(low + high) / 2, high - low])
        found.append((int(sample.instances["class_id"][row]), _text(numbers.tolist()), points))
    return found


def _write_labels(
    spool: IO[str],
    folder: Path,
    class_ids: list[int],
    keypoints: list[str],
    splits: Mapping[str, float],
    summary: ExportSummary,
) -> None:
    number_of = {class_id: number for number, class_id in enumerate(class_ids)}
    for split in splits:
        summary.count(f"images in {split}", 0)
        summary.count(f"instances in {split}", 0)
    spool.seek(0)
    for split, key, rows in map(json.loads, spool):
        lines = []
        for class_id, text, points in rows:
            if class_id not in number_of:
                continue
            line = f"{number_of[class_id]} {text}"
            for name in keypoints:
                x, y, v = points.get(name, (0.0, 0.0, 0))
                line += f" {_text([x, y])} {v}"
            lines.append(line + "\n")
        (folder / split / f"{key}.txt").write_text("".join(lines), encoding="ascii")
        summary.count(f"images in {split}")
        summary.count(f"instances in {split}", len(lines))
        summary.leave_out("instances without a class", len(rows) - len(lines))
    for split in ("train", "val"):
        if not summary.written[f"images in {split}"]:
            summary.problem(
                f"no sample fell into {split}, and Ultralytics refuses that: splits go by episodes, and need many of them."
            )


def _data_yaml(
    splits: Sequence[str],
    classes: Sequence[str],
    keypoints: Sequence[str],
    mirrored: Mapping[str, str] | None,
    summary: ExportSummary,
) -> str:
    """Write data.yaml. Texts are quoted as in JSON, which is YAML, too."""
    lines = ["# Written by BlendTorch. No `path`: images are sought beside this file."]
    lines += [f"{split}: images/{split}" for split in splits]
    lines += ["names:"] + [f"  {number}: {json.dumps(name)}" for number, name in enumerate(classes)]
    if keypoints:
        lines += [f"kpt_shape: [{len(keypoints)}, 3]"]
        if mirrored is not None:
            lines += _flip_idx(keypoints, mirrored, summary)
        lines += ["kpt_names:"] + [f"  {number}: {json.dumps(list(keypoints))}" for number in range(len(classes))]
    return "\n".join(lines) + "\n"


def _flip_idx(keypoints: Sequence[str], mirrored: Mapping[str, str], summary: ExportSummary) -> list[str]:
    """For each keypoint the number of the one that is in its place in a mirror."""
    pairs = {**mirrored, **{b: a for a, b in mirrored.items()}}
    if unknown := sorted(set(pairs) - set(keypoints)):
        summary.problem(
            f"mirrored names {', '.join(unknown)}, expected names among {', '.join(keypoints)}. data.yaml has no flip_idx "
            "now, so Ultralytics will not flip pictures."
        )
        return []
    return [f"flip_idx: {[keypoints.index(pairs.get(name, name)) for name in keypoints]}"]


def _text(numbers: Sequence[float]) -> str:
    return " ".join([f"{number:.6f}" for number in numbers])
