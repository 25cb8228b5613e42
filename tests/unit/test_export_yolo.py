"""YOLO: what `export_yolo` writes, read by what Ultralytics documents; where `ultralytics` is installed, by that, too."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import CLASSES, SHAPE, empty_sample, full_sample, keys, samples, write_recording
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from blendtorch.errors import ConfigError
from blendtorch.export import ExportSummary
from blendtorch.export.yolo import export_yolo
from blendtorch.labels import boxes_from_ids

pytest.importorskip("contourpy")
from blendtorch.export.polygons import INSET_PX, outline, rings_of

HALVES = {"train": 0.5, "val": 0.5}
TASKS = ("detect", "segment", "pose")
NAMES = ["nose", "tail", "lamp", "tip", "top"]
HEIGHT, WIDTH = SHAPE
TEXT_PX = 0.0001
"""What six digits of a share of the width may be off by."""

Made = dict[str, tuple[Path, ExportSummary]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("yolo")
    recording = write_recording(folder / "recording")
    found = {}
    for task in TASKS:
        mirrored = {"nose": "tail"} if task == "pose" else None
        summary = export_yolo(recording, folder / task, task=task, splits=HALVES, mirrored=mirrored)  # type: ignore[arg-type]
        found[task] = folder / task, summary
    return found


def labels_of(folder: Path) -> dict[str, list[list[float]]]:
    """Key to the rows of its file."""
    return {
        file.stem: [[float(number) for number in line.split()] for line in file.read_text().splitlines()]
        for file in folder.glob("labels/*/*.txt")
    }


def expected(sample: dict[str, Any], task: str) -> list[int]:
    """Rows of the instances that should be there, in order."""
    table, points = sample["labels"]["instances"], sample["labels"].get("keypoints")
    chosen = np.flatnonzero((table["class_id"] > 0) & (table["pixels"] > 0)).tolist()
    if task != "pose":
        return chosen
    with_points = set()
    if points:
        with_points = {name for name, v in zip(points["object"], points["visibility"], strict=True) if v}
    return [row for row in chosen if table["object"][row] in with_points and not table["instancer"][row]]


def pixels(row: list[float]) -> np.ndarray:
    return np.reshape(row, (-1, 2)) * (WIDTH, HEIGHT)


@pytest.mark.parametrize("task", TASKS)
def test_files_and_classes(made: Made, task: str) -> None:
    yaml = pytest.importorskip("yaml")
    folder, summary = made[task]
    data = yaml.safe_load((folder / "data.yaml").read_text())
    assert data.pop("names") == dict(enumerate(CLASSES.values()))
    assert (data.pop("train"), data.pop("val")) == ("images/train", "images/val")
    if task == "pose":
        assert data.pop("kpt_shape") == [5, 3]
        assert data.pop("flip_idx") == [1, 0, 2, 3, 4]
        assert data.pop("kpt_names") == dict.fromkeys(range(3), NAMES)
    assert data == {}  # and no path: that would be one of this machine
    assert sorted(os.listdir(folder)) == ["data.yaml", "images", "labels"]
    count = 0
    for split in HALVES:
        images = sorted(file.stem for file in (folder / "images" / split).iterdir())
        assert images == sorted(file.stem for file in (folder / "labels" / split).iterdir())
        assert summary.written[f"images in {split}"] == len(images) == 3
        count += summary.written[f"instances in {split}"]
    assert count == sum(len(expected(sample, task)) for sample in samples()) > 0
    for sample, key in zip(samples(), keys(), strict=True):
        (file,) = folder.glob(f"images/*/{key}.png")
        with Image.open(file) as image:
            np.testing.assert_array_equal(np.asarray(image), sample["image"])


@pytest.mark.parametrize("task", TASKS)
def test_instances_are_those_that_are_seen(made: Made, task: str) -> None:
    found = labels_of(made[task][0])
    assert sorted(found) == sorted(keys())
    for key, sample in zip(keys(), samples(), strict=True):
        class_ids = sample["labels"]["instances"]["class_id"][expected(sample, task)]
        assert [row[0] for row in found[key]] == [list(CLASSES).index(one) for one in class_ids.tolist()]
    assert found["000000002-0000"] == []


@pytest.mark.parametrize("task", ["detect", "pose"])
def test_boxes_are_those_of_the_ids(made: Made, task: str) -> None:
    found = labels_of(made[task][0])
    for key, sample in zip(keys(), samples(), strict=True):
        wanted = sample["labels"]["instances"]["id"][expected(sample, task)]
        boxes, _ = boxes_from_ids(sample["ids"], wanted)
        for row, box in zip(found[key], boxes, strict=True):
            centre, size = pixels(row[1:5])
            np.testing.assert_allclose([*(centre - size / 2), *(centre + size / 2)], box, atol=TEXT_PX)
            assert len(row) == (5 if task == "detect" else 5 + 3 * 5)


def test_keypoints_are_those_of_the_labels(made: Made) -> None:
    found = labels_of(made["pose"][0])
    seen = 0
    for key, sample in zip(keys(), samples(), strict=True):
        points = sample["labels"].get("keypoints")
        for row, instance in zip(found[key], expected(sample, "pose"), strict=True):
            wanted = np.zeros((5, 3))
            for place, owner in enumerate(points["object"]):
                if owner == sample["labels"]["instances"]["object"][instance] and points["visibility"][place]:
                    wanted[NAMES.index(points["name"][place])] = [*points["xy"][place], points["visibility"][place]]
            rows = np.reshape(row[5:], (5, 3)) * (WIDTH, HEIGHT, 1)
            np.testing.assert_allclose(rows, wanted, atol=TEXT_PX)
            seen += np.count_nonzero(wanted[:, 2])
    assert seen > 10


def test_polygons_are_the_masks(made: Made) -> None:
    mask_module = pytest.importorskip("pycocotools.mask")
    found = labels_of(made["segment"][0])
    scores = {}
    for key, sample in zip(keys(), samples(), strict=True):
        table = sample["labels"]["instances"]
        for row, instance in zip(found[key], expected(sample, "segment"), strict=True):
            mask = sample["ids"] == table["id"][instance]
            polygon = pixels(row[1:])
            np.testing.assert_array_equal(filled(polygon, SHAPE), mask)
            np.testing.assert_allclose(
                [*polygon.min(axis=0), *polygon.max(axis=0)], table["box"][instance], atol=INSET_PX + TEXT_PX
            )
            drawn = mask_module.decode(mask_module.frPyObjects([polygon.ravel().tolist()], *SHAPE))[..., 0] > 0
            scores[key, table["object"][instance]] = (mask & drawn).sum() / (mask | drawn).sum(), mask.sum()
    assert {name for _, name in scores} == {"Car.A", "Car.B", "Cut", "Dot", "Post", "Seed"}
    assert all(score >= 0.95 for score, size in scores.values() if size > 100), scores


def filled(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which pixels have their centre in a polygon, by the rule of even and odd: crossings of a ray to the left."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for line in zip(polygon.tolist(), np.roll(polygon, -1, axis=0).tolist(), strict=True):
        (x1, y1), (x2, y2) = sorted(line)  # so that a bridge is rounded alike there and back
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x > x1 + (y - y1) / (y2 - y1) * (x2 - x1))
    return inside


SMALL = arrays.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))).filter(np.any)


@given(SMALL)
def test_every_outline_is_its_mask(mask: np.ndarray) -> None:
    """With holes, parts, parts in holes, pixels that touch at corners, and pixels at the border."""
    polygon = outline(mask)
    assert len(polygon) >= 4
    np.testing.assert_array_equal(filled(polygon, mask.shape), mask)  # type: ignore[arg-type]
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose([*polygon.min(axis=0), *polygon.max(axis=0)], box, atol=INSET_PX + 1e-9)
    x, y = np.floor(polygon).astype(int).T  # as Ultralytics rounds them
    assert mask[y, x].all()


def test_outlines_have_a_point_a_corner() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 5:50] = True
    near, far = (5 + INSET_PX, 10 + INSET_PX), (50 - INSET_PX, 30 - INSET_PX)
    assert sorted(map(tuple, outline(mask))) == [near, (near[0], far[1]), (far[0], near[1]), far]
    mask[15:20, 10:20] = False
    ((outer, hole),) = rings_of(mask)
    assert (len(outer), len(hole), len(outline(mask))) == (4, 4, 10)  # two for the way there and back


def test_parts_of_long_outlines_are_joined_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blendtorch.export.polygons._PAIRS", 50)
    mask = np.random.default_rng(0).random((20, 20)) < 0.5
    np.testing.assert_array_equal(filled(outline(mask), (20, 20)), mask)


def exported(tmp_path: Path, sample: dict[str, Any], **options: Any) -> tuple[list[list[float]], ExportSummary]:
    recording = write_recording(tmp_path / "recording", [sample], ["one"])
    summary = export_yolo(recording, tmp_path / "set", **{"splits": {"train": 1.0, "val": 0.0}} | options)
    return labels_of(tmp_path / "set")["one"], summary


def test_what_has_no_class_and_what_is_small(tmp_path: Path) -> None:
    rows, summary = exported(tmp_path / "keep", full_sample(), without_class="keep")
    assert [row[0] for row in rows] == [1, 1, 3, 2, 0, 2, 3]
    assert 'names:\n  0: "object"\n  1: "car"\n' in (tmp_path / "keep" / "set" / "data.yaml").read_text()
    rows, summary = exported(tmp_path / "skip", full_sample(), min_pixels=100, image_format="jpg")
    assert [row[0] for row in rows] == [0, 0, 2, 1]
    assert summary.left_out == {
        "instances without visible pixels": 2,
        "instances of fewer than 100 pixels": 2,
        "instances without a class": 1,
    }
    with Image.open(tmp_path / "skip" / "set" / "images" / "train" / "one.jpg") as image:
        assert image.format == "JPEG"
    assert summary.problems == [
        "no sample fell into val, and Ultralytics refuses that: splits go by episodes, and need many of them."
    ]


def test_polygons_need_ids_and_boxes_do_not(tmp_path: Path) -> None:
    sample = full_sample()
    del sample["ids"]
    rows, _ = exported(tmp_path / "detect", sample)
    assert len(rows) == 6
    recording = write_recording(tmp_path / "two", [sample, full_sample()], ["without", "with"])
    summary = export_yolo(recording, tmp_path / "set", task="segment", splits={"train": 1.0, "val": 0.0})
    assert list(labels_of(tmp_path / "set")) == ["with"]
    assert summary.left_out["samples without ids"] == 1


def test_pose_needs_keypoints(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"pose" needs keypoints, and no object'):
        exported(tmp_path, empty_sample(), task="pose")
    assert os.listdir(tmp_path) == ["recording"]


def test_keypoints_out_of_the_image_are_zeros(tmp_path: Path) -> None:
    sample = full_sample()
    table = sample["labels"]["keypoints"]
    assert (table["name"][0], table["object"][0]) == ("nose", "Car.A")
    table["xy"][0], table["visibility"][0] = (-5.0, 300.0), 0
    rows, _ = exported(tmp_path, sample, task="pose")
    assert rows[0][5:8] == [0, 0, 0]
    assert rows[0][10] == 2


def test_flips_are_known_or_not_done(tmp_path: Path) -> None:
    exported(tmp_path / "unknown", full_sample(), task="pose")
    assert "flip_idx" not in (tmp_path / "unknown" / "set" / "data.yaml").read_text()
    exported(tmp_path / "none", full_sample(), task="pose", mirrored={})
    assert "flip_idx: [0, 1, 2, 3, 4]" in (tmp_path / "none" / "set" / "data.yaml").read_text()
    _, summary = exported(tmp_path / "wrong", full_sample(), task="pose", mirrored={"nose": "snout"})
    assert "flip_idx" not in (tmp_path / "wrong" / "set" / "data.yaml").read_text()
    assert summary.problems[-1].startswith("mirrored names snout, expected names among nose, tail, lamp")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "obb"}, "task: expected one of detect, segment, pose"),
        ({"splits": {"train": 1.0}}, 'needs "train" and "val", got no val. A share of 0 will do'),
        ({"splits": {"train": 0.5, "val": 0.1}}, "sum to 0.6"),
        ({"image_format": "bmp"}, "image_format: expected one of png, jpg"),
        ({"without_class": "drop"}, "without_class: expected one of"),
        ({"min_pixels": 0}, "min_pixels: expected at least 1"),
        ({"mirrored": {}}, 'mirrored: expected with task="pose" alone'),
    ],
)
def test_other_options_are_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        exported(tmp_path, full_sample(), **options)
    assert os.listdir(tmp_path) == ["recording"]


@pytest.mark.parametrize("task", TASKS)
def test_ultralytics_reads_the_same(made: Made, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
    pytest.importorskip(
        "ultralytics", reason="ultralytics is not installed; its format is read by these tests themselves"
    )
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    data = check_det_dataset(made[task][0] / "data.yaml")
    assert list(data["names"].values()) == list(CLASSES.values())
    read = 0
    for split in HALVES:
        for label in YOLODataset(img_path=data[split], data=data, task=task, augment=False).labels:
            place = keys().index(Path(label["im_file"]).stem)
            sample = samples()[place]
            instances = expected(sample, task)
            assert label["shape"] == SHAPE
            assert label["cls"].ravel().tolist() == [
                list(CLASSES).index(one) for one in sample["labels"]["instances"]["class_id"][instances].tolist()
            ]
            boxes, _ = boxes_from_ids(sample["ids"], sample["labels"]["instances"]["id"][instances])
            centre, size = np.split(label["bboxes"] * np.tile((WIDTH, HEIGHT), 2), 2, axis=1)
            np.testing.assert_allclose(np.hstack([centre - size / 2, centre + size / 2]), boxes, atol=0.02)
            for row, segment in zip(instances, label["segments"], strict=task == "segment"):
                drawn = polygon2mask(SHAPE, [(segment * (WIDTH, HEIGHT)).ravel()]) > 0
                mask = sample["ids"] == sample["labels"]["instances"]["id"][row]
                assert not (mask & ~drawn).any()
                assert (mask & drawn).sum() / (mask | drawn).sum() >= 0.95  # less is a bridge between parts
            if task == "pose":
                assert label["keypoints"].shape == (len(instances), 5, 3)
                written = labels_of(made[task][0])[keys()[place]]
                wanted = np.reshape([row[5:] for row in written], label["keypoints"].shape)
                np.testing.assert_allclose(label["keypoints"], wanted, atol=1e-6)
            read += 1
    assert read == len(keys())
