"""COCO: what `export_coco` writes, as pycocotools reads it."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import CLASSES, empty_sample, full_sample, keys, samples, write_recording
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from blendtorch.errors import ConfigError
from blendtorch.export import ExportSummary
from blendtorch.export.coco import export_coco
from blendtorch.export.rle import rles_of
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter

mask_module = pytest.importorskip("pycocotools.mask")
COCO = pytest.importorskip("pycocotools.coco").COCO
COCOeval = pytest.importorskip("pycocotools.cocoeval").COCOeval

HALVES = {"train": 0.5, "val": 0.5}
PLACES = {key: place for place, key in enumerate(keys())}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportSummary]:
    folder = tmp_path_factory.mktemp("coco")
    recording = write_recording(folder / "recording")
    summary = export_coco(recording, folder / "set", splits=HALVES, skeleton=[("nose", "tail"), ("nose", "ear")])
    return folder / "set", summary


def strict(file: Path) -> dict[str, Any]:
    """JSON as it is specified, without NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def exported(tmp_path: Path, sample: dict[str, Any], **options: Any) -> tuple[dict[str, Any], ExportSummary]:
    """Record one sample, export it, and read what was written."""
    with RecordingWriter(RecordingSettings(tmp_path / "recording", metadata=options.pop("metadata", {}))) as writer:
        writer.write(sample, key="one")
    options = {"splits": {"train": 1.0}} | options
    summary = export_coco(Recording(tmp_path / "recording"), tmp_path / "set", **options)
    return strict(tmp_path / "set" / "annotations" / "instances_train.json"), summary


@pytest.mark.parametrize("split", HALVES)
def test_masks_are_those_of_the_ids(made: tuple[Path, ExportSummary], split: str) -> None:
    coco = COCO(made[0] / "annotations" / f"instances_{split}.json")
    assert coco.imgs
    for image in coco.imgs.values():
        sample = samples()[image["id"] - 1]
        table = sample["labels"]["instances"]
        wanted = {int(one) for one in table["id"][(table["class_id"] > 0) & (table["pixels"] > 0)]}
        annotations = coco.imgToAnns[image["id"]]
        assert {one["instance_id"] for one in annotations} == wanted
        for one in annotations:
            np.testing.assert_array_equal(coco.annToMask(one).astype(bool), sample["ids"] == one["instance_id"])
            assert one["bbox"] == mask_module.toBbox(one["segmentation"]).tolist()
            assert one["area"] == mask_module.area(one["segmentation"])
            assert one["iscrowd"] == 0
            row = table["id"].tolist().index(one["instance_id"])
            assert one["category_id"] == table["class_id"][row]


@pytest.mark.parametrize("split", HALVES)
def test_pictures_are_those_of_the_recording(made: tuple[Path, ExportSummary], split: str) -> None:
    found = strict(made[0] / "annotations" / f"instances_{split}.json")
    assert sorted(os.listdir(made[0] / "images" / split)) == sorted(one["file_name"] for one in found["images"])
    for one in found["images"]:
        assert one["file_name"] == one["key"] + ".png"
        assert one["id"] == PLACES[one["key"]] + 1
        sample = samples()[PLACES[one["key"]]]
        with Image.open(made[0] / "images" / split / one["file_name"]) as image:
            np.testing.assert_array_equal(np.asarray(image), sample["image"])
        assert (one["height"], one["width"]) == sample["image"].shape[:2]
        camera = sample["labels"]["camera"]
        np.testing.assert_array_equal(one["camera_from_world"], camera["camera_from_world"])
        np.testing.assert_array_equal(one["camera_from_world_opencv"], camera["camera_from_world_opencv"])
        if camera["intrinsics"] is None:
            assert one["intrinsics"] is None
            np.testing.assert_array_equal(one["clip_from_camera"], camera["clip_from_camera"])
        else:
            np.testing.assert_array_equal(one["intrinsics"], camera["intrinsics"])


def test_every_sample_is_in_one_split(made: tuple[Path, ExportSummary]) -> None:
    found = [strict(made[0] / "annotations" / f"instances_{split}.json") for split in HALVES]
    assert sorted(one["key"] for part in found for one in part["images"]) == sorted(keys())
    episodes = [{one["key"][:9] for one in part["images"]} for part in found]
    assert not episodes[0] & episodes[1]
    for part in found:  # COCOeval takes id 0 for no match
        assert [one["id"] for one in part["annotations"]] == list(range(1, len(part["annotations"]) + 1))


def test_categories_have_the_keypoints_of_all_their_objects(made: tuple[Path, ExportSummary]) -> None:
    for split in HALVES:
        categories = strict(made[0] / "annotations" / f"instances_{split}.json")["categories"]
        assert {one["id"]: one["name"] for one in categories} == CLASSES
        by_name = {one["name"]: one for one in categories}
        assert by_name["car"]["keypoints"] == ["nose", "tail", "lamp", "tip"]
        assert by_name["car"]["skeleton"] == [[1, 2]]
        assert by_name["post"]["keypoints"] == ["top"]
        assert "keypoints" not in by_name["ball"]


def test_keypoints_are_those_of_the_labels_counted_from_pixel_centres(made: tuple[Path, ExportSummary]) -> None:
    names = ["nose", "tail", "lamp", "tip"]
    seen = 0
    for split in HALVES:
        coco = COCO(made[0] / "annotations" / f"instances_{split}.json")
        for one in coco.loadAnns(coco.getAnnIds(catIds=[1])):
            table = samples()[one["image_id"] - 1]["labels"].get("keypoints", {"object": []})
            expected = np.zeros((4, 3))
            for row, owner in enumerate(table["object"]):
                if owner == one["object"] and table["visibility"][row]:
                    place = names.index(table["name"][row])
                    expected[place] = [*(table["xy"][row] - 0.5), table["visibility"][row]]
            np.testing.assert_allclose(np.reshape(one["keypoints"], (4, 3)), expected, atol=0.0005)
            assert one["num_keypoints"] == np.count_nonzero(expected[:, 2])
            seen += one["num_keypoints"]
        assert all("keypoints" not in one for one in coco.loadAnns(coco.getAnnIds(catIds=[3])))
        assert all(one["num_keypoints"] == 0 for one in coco.loadAnns(coco.getAnnIds(catIds=[2])))
    assert seen > 10


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
def test_the_truth_scores_1_against_itself_and_less_when_moved(made: tuple[Path, ExportSummary], kind: str) -> None:
    truth = COCO(made[0] / "annotations" / "instances_val.json")
    content = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}[kind]
    chosen = [one for one in truth.anns.values() if kind != "keypoints" or one["category_id"] == 1]
    found = [{name: one[name] for name in ("image_id", "category_id", content)} | {"score": 1.0} for one in chosen]
    assert average_precision(truth, found, kind) == 1.0
    for one in found:
        one[content] = moved(one[content], kind)
    assert average_precision(truth, found, kind) < 0.9


def average_precision(truth: Any, found: list[dict[str, Any]], kind: str) -> float:
    evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(found))), kind)
    if kind == "keypoints":
        evaluation.params.catIds = [1]
        evaluation.params.kpt_oks_sigmas = np.full(4, 0.05)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


def moved(content: Any, kind: str) -> Any:
    if kind == "bbox":
        return [content[0] + 3, *content[1:]]
    if kind == "segm":
        mask = np.roll(mask_module.decode(content), 3, axis=1)
        return mask_module.encode(np.asfortranarray(mask)) | {"counts": mask_module.encode(mask)["counts"].decode()}
    return [value + 3 * (place % 3 == 0) for place, value in enumerate(content)]


def test_the_summary(made: tuple[Path, ExportSummary]) -> None:
    summary = made[1]
    rows = [(c, n) for s in samples() for c, n in zip(*columns(s, "class_id", "pixels"), strict=True)]
    assert summary.folder == made[0]
    assert sum(summary.written[f"images in {split}"] for split in HALVES) == 6
    assert sum(summary.written[f"annotations in {split}"] for split in HALVES) == sum(c > 0 and n > 0 for c, n in rows)
    assert summary.left_out == {
        "instances without visible pixels": sum(n == 0 for _, n in rows),
        "instances without a class": sum(c == 0 and n > 0 for c, n in rows),
    }
    assert summary.problems == []


def columns(sample: dict[str, Any], *names: str) -> list[list[int]]:
    return [sample["labels"]["instances"][name].tolist() for name in names]


# ---- run lengths


@given(arrays.arrays(np.uint32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_run_lengths_are_those_of_pycocotools(ids: np.ndarray) -> None:
    same_run_lengths(ids, [3, 1, 2, 7])


@pytest.mark.parametrize("seed", range(4))
def test_long_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    """Counts of several characters, and differences of both signs."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((700, 900), np.uint32)
    for number in range(1, 40):
        y, x = rng.integers(0, 700), rng.integers(0, 900)
        ids[y : y + rng.integers(1, 500), x : x + rng.integers(1, 500)] = number
    ids[rng.random(ids.shape) < 0.01] = 0
    same_run_lengths(ids, list(range(1, 40)))
    same_run_lengths(np.full((2000, 3000), 5), [5])
    same_run_lengths(np.eye(300, dtype=np.int64) * (2**32 - 1), [2**32 - 1])


def same_run_lengths(ids: np.ndarray, wanted: list[int]) -> None:
    for counts, one in zip(rles_of(ids, np.array(wanted)), wanted, strict=True):
        mask = ids == one
        expected = mask_module.encode(np.asfortranarray(mask, np.uint8))["counts"].decode() if mask.any() else ""
        assert counts == expected


# ---- options, and samples that lack something


def test_keypoints_out_of_the_image_are_zeros(tmp_path: Path) -> None:
    """Whatever is known of where they are: behind the camera nothing is."""
    sample = full_sample()
    table = sample["labels"]["keypoints"]
    assert (table["name"][0], table["object"][0]) == ("nose", "Car.A")
    table["xy"][0], table["visibility"][0] = np.nan, 0
    table["xy"][1], table["visibility"][1] = (-5.0, 300.0), 0
    found, _ = exported(tmp_path, sample)
    (car,) = [one for one in found["annotations"] if one["object"] == "Car.A"]
    assert (car["keypoints"], car["num_keypoints"]) == ([0] * 12, 0)


def test_what_coco_does_not_know_goes_along(tmp_path: Path) -> None:
    sample = full_sample()
    table = sample["labels"]["instances"]
    table["velocity_world"][1] = np.nan
    found, _ = exported(tmp_path, sample)
    assert len(found["annotations"]) == 6
    for one in found["annotations"]:
        row = table["id"].tolist().index(one["instance_id"])
        assert (one["object"], one["instancer"]) == (table["object"][row], table["instancer"][row])
        x, y, width, height = one["bbox_amodal"]
        np.testing.assert_allclose([x, y, x + width, y + height], table["box_amodal"][row], atol=0.002)
        for name in ("visible_fraction", "truncation", "pose", "scale", "bounds", "angular_velocity_world"):
            np.testing.assert_allclose(one[name], table[name][row], rtol=1e-6)
        if row == 1:
            assert one["velocity_world"] == [None] * 3
    assert {one["instancer"] for one in found["annotations"]} == {"", "Emitter"}


def test_and_may_be_left_out(tmp_path: Path) -> None:
    found, _ = exported(tmp_path, full_sample(), extras=False)
    assert set(found["images"][0]) == {"id", "file_name", "width", "height"}
    names = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"}
    assert {name for one in found["annotations"] for name in one} == names | {"keypoints", "num_keypoints"}


def test_without_ids_there_are_boxes_and_no_masks(tmp_path: Path) -> None:
    sample = full_sample()
    del sample["ids"]
    found, summary = exported(tmp_path, sample)
    table = sample["labels"]["instances"]
    for one in found["annotations"]:
        assert "segmentation" not in one
        row = table["id"].tolist().index(one["instance_id"])
        x, y, width, height = one["bbox"]
        assert [x, y, x + width, y + height] == table["box"][row].tolist()
        assert one["area"] == table["pixels"][row]
    assert summary.left_out == {"instances without visible pixels": 2, "instances without a class": 1}


def test_what_has_no_class(tmp_path: Path) -> None:
    skipped, summary = exported(tmp_path / "skip", full_sample())
    assert {one["id"] for one in skipped["categories"]} == {1, 2, 3}
    assert summary.left_out["instances without a class"] == 1
    kept, _ = exported(tmp_path / "keep", full_sample(), without_class="keep", metadata={"classes": {"1": "car"}})
    assert {one["id"]: one["name"] for one in kept["categories"]} == {1: "car", 2: "class_2", 3: "class_3", 4: "object"}
    assert [one["object"] for one in kept["annotations"] if one["category_id"] == 4] == ["Floor"]
    nothing = full_sample()
    nothing["labels"]["instances"]["class_id"][:] = 0
    found, _ = exported(tmp_path / "auto", nothing)
    assert [(one["id"], one["name"]) for one in found["categories"]] == [(1, "object")]
    assert len(found["annotations"]) == 7
    assert {one["category_id"] for one in found["annotations"]} == {1}
    assert found["categories"][0]["keypoints"] == ["nose", "tail", "lamp", "top", "tip"]


def test_small_instances_can_be_left_out(tmp_path: Path) -> None:
    found, summary = exported(tmp_path, full_sample(), min_pixels=100)
    assert {one["object"] for one in found["annotations"]} == {"Car.A", "Car.B", "Cut", "Post"}
    assert summary.left_out["instances of fewer than 100 pixels"] == 2
    assert summary.left_out["instances without visible pixels"] == 2


def test_an_empty_picture_is_an_image_without_annotations(tmp_path: Path) -> None:
    found, _ = exported(tmp_path, empty_sample(), metadata={"classes": {"1": "car"}})
    assert len(found["images"]) == 1
    assert found["annotations"] == []
    assert [one["name"] for one in found["categories"]] == ["car"]


def test_jpg(tmp_path: Path) -> None:
    sample = full_sample()
    sample["image"] = np.dstack([sample["image"], np.full(sample["image"].shape[:2], 255, np.uint8)])
    found, _ = exported(tmp_path, sample, image_format="jpg", quality=90)
    assert found["images"][0]["file_name"] == "one.jpg"
    with Image.open(tmp_path / "set" / "images" / "train" / "one.jpg") as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert np.abs(np.asarray(image, np.float64) - sample["image"][..., :3]).mean() < 4


def test_samples_that_lack_something_are_left_out_and_counted(tmp_path: Path) -> None:
    good, bare, blind, other = (full_sample() for _ in range(4))
    del bare["labels"], blind["image"]
    other["image"] = other["image"][:-1]
    recording = write_recording(tmp_path / "recording", [good, bare, blind, other], ["good", "bare", "blind", "other"])
    calls: list[tuple[int, int]] = []
    summary = export_coco(
        recording, tmp_path / "set", splits={"train": 1.0, "val": 0.0}, progress=lambda *now: calls.append(now)
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert summary.written == {
        "images in train": 1,
        "annotations in train": 6,
        "images in val": 0,
        "annotations in val": 0,
    }
    assert summary.left_out["samples without labels"] == 1
    assert summary.left_out["samples without image"] == 1
    assert summary.left_out["samples whose labels and images do not belong together"] == 1
    assert summary.problems == [
        "other: image: expected the camera's shape (96, 128), got (95, 128, 3)",
        "no sample fell into val: splits go by episodes, and need many of them.",
    ]
    assert COCO(tmp_path / "set" / "annotations" / "instances_val.json").imgs == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"splits": {"train": 0.5}}, "sum to 0.5"),
        ({"image_format": "bmp"}, "image_format: expected one of png, jpg"),
        ({"quality": 0}, "quality: expected 1 to 100"),
        ({"without_class": "drop"}, "without_class: expected one of"),
        ({"min_pixels": 0}, "min_pixels: expected at least 1"),
    ],
)
def test_other_options_are_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    recording = write_recording(tmp_path / "recording", [full_sample()], ["one"])
    with pytest.raises(ConfigError, match=says):
        export_coco(recording, tmp_path / "set", **options)
    assert os.listdir(tmp_path) == ["recording"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recording", [full_sample()], ["one"])
    with pytest.raises(ConfigError, match="recording is not empty; nothing is overwritten"):
        export_coco(recording, tmp_path / "recording")
    assert len(Recording(tmp_path / "recording")) == 1
