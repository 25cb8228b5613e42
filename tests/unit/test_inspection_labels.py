"""What labels say as a set: the same as plain numpy finds with all rows in one table."""

from typing import Any

import numpy as np
import pytest
from export_samples import samples

from blendtorch.btt.inspection_labels import (
    CENTRE_BINS,
    DEPTH_EDGES,
    FRACTION_EDGES,
    SIZE_EDGES,
    LabelCollector,
    LabelReport,
)
from blendtorch.btt.inspection_moments import Summary

H, W = 60, 80


def table(rng: np.random.Generator, count: int, optional: bool = True) -> dict[str, Any]:
    """Labels of no scene: what is counted need not be possible."""
    corner = rng.uniform((-5, -5), (W - 10, H - 10), (count, 2))
    instances = {
        "id": np.arange(1, count + 1, dtype=np.uint32),
        "object": [f"o{i}" for i in range(count)],
        "instancer": [""] * count,
        "class_id": rng.choice([0, 1, 2, 9], count).astype(np.uint32),
        "pixels": np.where(rng.random(count) < 0.3, 0, rng.integers(1, 20_000, count)),
        "box": np.concatenate([corner, corner + rng.uniform(0.5, 40, (count, 2))], axis=1).astype(np.float32),
    }
    if optional:
        instances["visible_fraction"] = rng.random(count).astype(np.float32)
        instances["truncation"] = np.maximum(0, rng.uniform(-1, 1, count)).astype(np.float32)
        instances["box3d_camera"] = rng.uniform(2, 60, (count, 8, 3))
    return {"camera": {"shape": (H, W)}, "instances": instances}


def collect(labels: list[dict[str, Any]], names: dict[int, str] | None = None) -> LabelReport:
    collector = LabelCollector(names)
    for i, one in enumerate(labels):
        collector.add(f"k{i}", {"labels": one})
    report = collector.report()
    assert report is not None
    return report


def joined(labels: list[dict[str, Any]], column: str) -> np.ndarray:
    return np.concatenate([np.asarray(one["instances"][column]) for one in labels])


def assert_summary(summary: Summary, values: np.ndarray) -> None:
    assert summary.count == len(values)
    assert (summary.min, summary.max) == (values.min(), values.max())
    np.testing.assert_allclose((summary.mean, summary.std), (values.mean(), values.std()), rtol=1e-9)


@pytest.fixture
def many() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [table(rng, int(rng.integers(0, 9))) for _ in range(120)]


def test_counts_are_those_of_one_large_table(many: list[dict[str, Any]]) -> None:
    report = collect(many)
    pixels = joined(many, "pixels")
    per_picture = np.array([(one["instances"]["pixels"] > 0).sum() for one in many])
    assert (report.samples, report.malformed) == (120, 0)
    assert (report.instances, report.seen, report.hidden) == (len(pixels), (pixels > 0).sum(), (pixels == 0).sum())
    assert_summary(report.seen_per_picture, per_picture)
    assert report.seen_counts == {n: (per_picture == n).sum() for n in np.unique(per_picture)}
    empty = [f"k{i}" for i in np.flatnonzero(per_picture == 0)]
    assert len(empty) > 5
    assert (report.empty, report.empty_keys) == (len(empty), empty[:10])
    assert not report.all_same


def test_classes_are_counted(many: list[dict[str, Any]]) -> None:
    report = collect(many, {1: "car", 77: "never"})
    classes, pixels = joined(many, "class_id"), joined(many, "pixels")
    assert list(report.classes) == [0, 1, 2, 9]
    assert [count.name for count in report.classes.values()] == ["no class", "car", "class_2", "class_9"]
    for class_id, count in report.classes.items():
        mine = classes == class_id
        assert (count.seen, count.hidden) == ((mine & (pixels > 0)).sum(), (mine & (pixels == 0)).sum())
        assert count.pixels == pixels[mine].sum()
        rows = [one["instances"] for one in many]
        assert count.pictures == sum(bool(((r["class_id"] == class_id) & (r["pixels"] > 0)).any()) for r in rows)
    seen = [one["instances"]["class_id"][one["instances"]["pixels"] > 0] for one in many]
    assert report.unclassed == sum(len(classes) > 0 and not classes.any() for classes in seen) > 0


def test_where_there_are_no_classes_none_is_missed() -> None:
    one = table(np.random.default_rng(1), 4)
    one["instances"]["class_id"][:] = 0
    assert collect([one]).unclassed == 0


def test_boxes_are_measured(many: list[dict[str, Any]]) -> None:
    report = collect(many)
    seen = joined(many, "pixels") > 0
    box = joined(many, "box")[seen].astype(np.float64)
    width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    assert_summary(report.width, width)
    assert_summary(report.height, height)
    assert_summary(report.area, width * height)
    log = [np.clip(size, 1, 8191) for size in (height, width)]
    np.testing.assert_array_equal(report.size_counts, np.histogram2d(*log, [SIZE_EDGES, SIZE_EDGES])[0])
    pixels = joined(many, "pixels")[seen]
    assert report.small == (pixels < 1024).sum()
    assert report.medium == ((pixels >= 1024) & (pixels < 9216)).sum()
    assert report.large == (pixels >= 9216).sum()
    edge = (box[:, 0] <= 0) | (box[:, 1] <= 0) | (box[:, 2] >= W) | (box[:, 3] >= H)
    assert report.at_edge == edge.sum() > 0
    assert report.frame == (H, W)
    centres = np.clip((box[:, :2] + box[:, 2:]) / 2, 0, (W - 1e-6, H - 1e-6))
    expected = np.histogram2d(centres[:, 1], centres[:, 0], CENTRE_BINS, ((0, H), (0, W)))[0]
    np.testing.assert_array_equal(report.centre_counts, expected)


def test_a_box_that_ends_where_the_picture_does_is_at_its_edge() -> None:
    one = table(np.random.default_rng(8), 5)
    one["instances"]["pixels"][:] = 1
    one["instances"]["box"][:] = [[0, 5, 9, 9], [5, 0, 9, 9], [5, 5, W, 9], [5, 5, 9, H], [1, 1, W - 1, H - 1]]
    assert collect([one]).at_edge == 4


def test_the_limits_of_cocos_sizes() -> None:
    one = table(np.random.default_rng(2), 4)
    one["instances"]["pixels"] = np.array([1023, 1024, 9215, 9216])
    report = collect([one])
    assert (report.small, report.medium, report.large) == (1, 2, 1)


def test_what_is_hidden_and_how_far_it_is(many: list[dict[str, Any]]) -> None:
    report = collect(many)
    seen = joined(many, "pixels") > 0
    fraction, truncation = joined(many, "visible_fraction")[seen], joined(many, "truncation")[seen]
    assert_summary(report.visible_fraction, fraction.astype(np.float64))
    np.testing.assert_array_equal(report.visible_fraction_counts, np.histogram(fraction, FRACTION_EDGES)[0])
    assert_summary(report.truncation, truncation.astype(np.float64))
    assert report.truncated == (truncation > 0).sum()
    depth = joined(many, "box3d_camera")[seen][:, :, 2].mean(axis=1)
    assert_summary(report.depth_m, depth)
    np.testing.assert_array_equal(report.depth_counts, np.histogram(depth, DEPTH_EDGES)[0])
    assert report.depth_of == "centre of the 3D box"


def test_what_is_not_there_is_not_told() -> None:
    rng = np.random.default_rng(3)
    report = collect([table(rng, 3, optional=False)])
    assert (report.visible_fraction.count, report.truncation.count, report.depth_m.count) == (0, 0, 0)
    assert (report.depth_of, report.keypoints) == ("", {})
    assert LabelCollector().report() is None
    without = table(rng, 3)
    del without["camera"]
    assert (collect([without]).frame, collect([without]).at_edge) == (None, None)
    collector = LabelCollector()
    collector.add("k", {"labels": without, "ids": np.zeros((H, W), np.uint32)})
    assert collector.report().frame == (H, W)


def test_depth_is_that_of_the_origin_where_there_is_no_box() -> None:
    one = table(np.random.default_rng(4), 5, optional=False)
    one["instances"]["pose"] = np.tile(np.eye(4), (5, 1, 1))
    one["instances"]["pose"][:, 2, 3] = depth = np.array([1.0, 2.0, 4.0, np.nan, 8.0])
    report = collect([one])
    assert_summary(report.depth_m, depth[(one["instances"]["pixels"] > 0) & np.isfinite(depth)])
    assert report.depth_of == "origin of the object"


def test_keypoints_are_counted() -> None:
    made = samples()
    report = collect([sample["labels"] for sample in made])
    expected: dict[str, list[int]] = {}
    for sample in made:
        points = sample["labels"].get("keypoints", {"name": [], "visibility": []})
        for name, visibility in zip(points["name"], points["visibility"], strict=True):
            expected.setdefault(name, [0, 0, 0])[visibility] += 1
    assert report.keypoints == {name: tuple(counts) for name, counts in expected.items()}
    assert sum(map(sum, expected.values())) == 32


def test_boxes_that_are_none_are_told() -> None:
    one = table(np.random.default_rng(5), 4)
    one["instances"]["pixels"][:] = 9
    one["instances"]["box"][:2] = [[5, 5, 5, 9], [np.nan, 0, 1, 1]]
    report = collect([one])
    assert (report.bad_boxes, report.seen, report.width.count) == (2, 4, 2)


def test_labels_that_are_all_the_same_are_told() -> None:
    one = table(np.random.default_rng(6), 3)
    one["instances"]["pixels"][:] = 5
    other = table(np.random.default_rng(6), 3)
    other["instances"]["pixels"][:] = 5
    assert collect([one, other]).all_same
    assert not collect([one]).all_same
    other["instances"]["box"][0, 0] += 1
    assert not collect([one, other]).all_same
    assert not collect([one, one, other, other]).all_same
    nothing = table(np.random.default_rng(6), 0)
    assert not collect([nothing, nothing]).all_same


MALFORMED: dict[str, Any] = {
    "no instances": {"camera": {"shape": (H, W)}},
    "no dict": [1, 2],
    "no column": {"instances": {"id": np.ones(1, np.uint32)}},
    "length": {"pixels": np.zeros(7, np.int64)},
    "shape": {"box": np.zeros((3, 2), np.float32)},
    "dtype": {"pixels": np.zeros(3)},
    "texts": {"class_id": ["a", "b", "c"]},
    "visibility": {"keypoints": {"name": ["a"], "visibility": np.zeros(2, np.uint8)}},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_labels_are_counted_and_passed_over(name: str) -> None:
    good = table(np.random.default_rng(7), 3)
    bad = MALFORMED[name]
    if name in ("length", "shape", "dtype", "texts"):
        bad = {**good, "instances": {**good["instances"], **bad}}
    elif name == "visibility":
        bad = {**good, **bad}
    report = collect([good, bad, bad])
    assert (report.samples, report.malformed, report.instances) == (1, 2, 3)
    assert report.first_malformed.startswith("k1: ")
