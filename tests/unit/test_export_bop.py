"""`export_bop`: the files are read with json and Pillow alone, and compared with what is known of the scenes."""

import json
from pathlib import Path
from typing import Any

import label_spheres
import numpy as np
import pytest
from export_samples import empty_sample, full_sample, write_recording
from label_spheres import ORTHOGRAPHIC
from PIL import Image

from blendtorch.errors import ConfigError
from blendtorch.export.bop import export_bop
from blendtorch.export.bop_annotations import camera_entry, depth_steps, gt_info_entry
from blendtorch.export.bop_models import MOST_SCALES, Models

ALL = {"train": 1.0}
EMPTY = 2
"""Which of `world` is a picture of nothing."""


def world() -> list[dict[str, Any]]:
    """Rotated, scaled and mirrored ellipsoids, some cut by the frame, some hidden; each sample has objects of its own."""
    samples = [label_spheres.sample(8, seed=1), label_spheres.sample(8, seed=2), empty_sample(), full_sample(1)]
    for number, sample in enumerate(samples):
        table = sample["labels"]["instances"]
        table["object"] = [f"{number}/{name}" for name in table["object"]]
        sample["image"] = np.random.default_rng(number).integers(0, 255, (*sample["ids"].shape, 4), dtype=np.uint8)
    return samples


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("bop")
    samples = world()
    recording = write_recording(folder / "recording", samples, [f"{i:09}-0000" for i in range(len(samples))])
    export_bop(recording, folder / "dataset", splits=ALL, depth_scale=0.2)
    return samples, folder / "dataset"


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def boxes(dataset: Path, obj_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest corner and size of a model, mm."""
    info = load(dataset / "models/models_info.json")[str(obj_id)]
    return np.array([info[f"min_{axis}"] for axis in "xyz"]), np.array([info[f"size_{axis}"] for axis in "xyz"])


def annotations(dataset: Path) -> Any:
    """Yields of each instance: image number, number in it, camera (K, depth scale), rotation, translation, gt, gt_info."""
    scene = dataset / "train/000000"
    cameras, gt, info = (load(scene / f"{name}.json") for name in ("scene_camera", "scene_gt", "scene_gt_info"))
    assert list(cameras) == list(gt) == list(info) == ["0", "1", "2", "3"]
    for image in gt:
        matrix = np.reshape(cameras[image]["cam_K"], (3, 3))
        for i, (one, about) in enumerate(zip(gt[image], info[image], strict=True)):
            rotation, translation = np.reshape(one["cam_R_m2c"], (3, 3)), np.array(one["cam_t_m2c"])
            yield int(image), i, matrix, rotation, translation, one, about


def test_pictures_are_those_of_the_samples(exported: tuple[list[dict[str, Any]], Path]) -> None:
    samples, dataset = exported
    scene = dataset / "train/000000"
    for i, sample in enumerate(samples):
        rgb, depth = pixels(scene / f"rgb/{i:06}.png"), pixels(scene / f"depth/{i:06}.png")
        np.testing.assert_array_equal(rgb, sample["image"][..., :3])
        assert depth.dtype == np.uint16
        known = np.isfinite(sample["depth"])
        np.testing.assert_array_equal(depth > 0, known)
        np.testing.assert_allclose(depth[known] * 0.2, 1000 * sample["depth"][known].astype(float), rtol=0, atol=0.1001)
    shown = [i for i, *_ in annotations(dataset)]
    assert len(list((scene / "mask_visib").iterdir())) == len(shown) > 20
    assert EMPTY not in shown
    assert load(scene / "scene_samples.json") == {str(i): f"{i:09}-0000" for i in range(4)}


def test_pixels_lie_on_the_models_that_they_show(exported: tuple[list[dict[str, Any]], Path]) -> None:
    """BOP's own arithmetic: pixel (x, y) is at ((x - cx) z / fx, (y - cy) z / fy, z); models are ellipsoids here."""
    _, dataset = exported
    scene, off_by = dataset / "train/000000", {0.0: [], 0.5: []}
    for image, i, matrix, rotation, translation, one, _ in annotations(dataset):
        low, size = boxes(dataset, one["obj_id"])
        y, x = np.nonzero(pixels(scene / f"mask_visib/{image:06}_{i:06}.png"))
        z = pixels(scene / f"depth/{image:06}.png")[y, x] * 0.2
        for shift, errors in off_by.items():
            xy = (np.stack([x, y], 1) + shift - matrix[:2, 2]) * z[:, None] / np.diag(matrix)[:2]
            in_model = (np.column_stack([xy, z]) - translation) @ rotation
            errors.extend(np.abs(np.linalg.norm((in_model - low - size / 2) / (size / 2), axis=1) - 1))
    assert len(off_by[0.0]) > 5000
    assert max(off_by[0.0]) < 2e-3
    assert np.median(off_by[0.5]) > 0.01  # so the test would see a wrong pixel convention


def test_silhouettes_fill_their_boxes(exported: tuple[list[dict[str, Any]], Path]) -> None:
    """Pixel centres within the projected outline: half a pixel beyond the box on each side, as a mean."""
    _, dataset = exported
    directions = np.random.default_rng(0).normal(size=(20_000, 3))
    sphere = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    beyond = []
    for _, _, matrix, rotation, translation, one, about in annotations(dataset):
        low, size = boxes(dataset, one["obj_id"])
        homogeneous = (low + size / 2 + sphere * size / 2) @ rotation.T + translation
        xy = (homogeneous @ matrix.T)[:, :2] / homogeneous[:, 2:]
        x, y, width, height = about["bbox_obj"]
        beyond.append([*((x, y) - xy.min(axis=0)), *(xy.max(axis=0) - (x + width, y + height))])
    assert np.min(beyond) > -0.1
    assert np.max(beyond) < 1.1
    np.testing.assert_allclose(np.mean(beyond, axis=0), 0.5, atol=0.15)


def test_masks_and_counts_agree_with_ids(exported: tuple[list[dict[str, Any]], Path]) -> None:
    samples, dataset = exported
    for image, i, *_, about in annotations(dataset):
        mask = pixels(dataset / f"train/000000/mask_visib/{image:06}_{i:06}.png")
        assert set(np.unique(mask)) == {0, 255}
        table = samples[image]["labels"]["instances"]
        row = int(np.flatnonzero(table["pixels"])[i])
        np.testing.assert_array_equal(mask > 0, samples[image]["ids"] == table["id"][row])
        y, x = np.nonzero(mask)
        assert about["bbox_visib"] == [x.min(), y.min(), x.max() - x.min(), y.max() - y.min()]
        assert about["px_count_visib"] == len(x)
        assert about["visib_fract"] == pytest.approx(len(x) / about["px_count_all"], abs=1e-6)
        assert about["px_count_valid"] == pytest.approx(
            about["px_count_all"] * (1 - table["truncation"][row]), abs=0.01
        )


def test_camera_and_objects_meet_in_the_world(exported: tuple[list[dict[str, Any]], Path]) -> None:
    samples, dataset = exported
    cameras = load(dataset / "train/000000/scene_camera.json")
    models = load(dataset / "objects.json")
    for image, i, _, rotation, translation, one, _ in annotations(dataset):
        camera, table = cameras[str(image)], samples[image]["labels"]["instances"]
        row = int(np.flatnonzero(table["pixels"])[i])
        world_from_camera = np.reshape(camera["cam_R_w2c"], (3, 3)).T
        origin = world_from_camera @ (translation - np.array(camera["cam_t_w2c"]))
        np.testing.assert_allclose(origin, 1000 * table["world_from_object"][row][:3, 3], atol=1e-6)
        scaled = world_from_camera @ rotation * models[str(one["obj_id"])]["scale"]
        np.testing.assert_allclose(scaled, table["world_from_object"][row][:3, :3], atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
        assert models[str(one["obj_id"])]["objects"] == [table["object"][row]]


def test_camera_has_bops_pixels() -> None:
    camera = full_sample()["labels"]["camera"]
    entry = camera_entry(camera, 0.1)
    k = camera["intrinsics"]
    assert entry["cam_K"] == [k[0, 0], 0, k[0, 2] - 0.5, 0, k[1, 1], k[1, 2] - 0.5, 0, 0, 1]
    assert entry["depth_scale"] == 0.1
    camera["camera_from_world_opencv"][0, 0] *= 1.1
    assert "cam_R_w2c" not in camera_entry(camera, 0.1)


def test_camera_json_is_of_the_first_image(exported: tuple[list[dict[str, Any]], Path]) -> None:
    samples, dataset = exported
    k = samples[0]["labels"]["camera"]["intrinsics"]
    expected = {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2] - 0.5, "cy": k[1, 2] - 0.5}
    assert load(dataset / "camera.json") == expected | {"depth_scale": 0.2, "width": 128, "height": 96}


def test_depth_becomes_steps() -> None:
    depth = np.array([[0.0, 0.00004, 0.5, 6.5535], [6.5537, np.inf, np.nan, -1.0]], np.float32)
    steps, too_far = depth_steps(depth, 0.1)
    assert steps.tolist() == [[0, 0, 5000, 65535], [0, 0, 0, 0]]
    assert too_far == 1
    assert depth_steps(depth, 1.0)[0].tolist() == [[0, 0, 500, 6554], [6554, 0, 0, 0]]


def test_holes_in_depth_are_not_valid() -> None:
    table = full_sample()["labels"]["instances"]
    row = table["object"].index("Car.B")
    whole = gt_info_entry(table, row, int(table["pixels"][row]))
    assert (
        whole["px_count_valid"] == whole["px_count_all"]
    )  # it is within the frame, and what hides it has a depth, too
    assert gt_info_entry(table, row, int(table["pixels"][row]) - 7)["px_count_valid"] == whole["px_count_all"] - 7
    assert gt_info_entry(table, row, None)["px_count_valid"] == 0


def test_far_depth_is_counted(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recording", [full_sample()])
    summary = export_bop(recording, tmp_path / "near", splits=ALL, depth_scale=0.1)
    far = int((np.isfinite(full_sample()["depth"]) & (full_sample()["depth"] > 6.5535)).sum())
    assert summary.left_out["pixels of depth beyond 6.5535 m"] == far > 100
    assert any("depth_scale=0.1 6.553 m" in problem for problem in summary.problems)
    fine = export_bop(recording, tmp_path / "far", splits=ALL, depth_scale=2.0)
    assert not any("pixels of depth" in why for why in fine.left_out)
    assert any("ten times as finely" in problem for problem in fine.problems)


def test_left_out_are_instances_that_nothing_shows(tmp_path: Path) -> None:
    sample = full_sample()
    table = sample["labels"]["instances"]
    recording = write_recording(tmp_path / "recording", [sample])
    summary = export_bop(recording, tmp_path / "dataset", splits=ALL)
    unseen = int((table["pixels"] == 0).sum())
    assert summary.left_out == {"instances without visible pixels": unseen}
    expected = {"instances": 9 - unseen, "images in train": 1, "scenes in train": 1, "models": 9 - unseen}
    assert summary.written == expected
    few = export_bop(recording, tmp_path / "few", splits=ALL, min_pixels=100)
    assert few.written["instances"] == int((table["pixels"] >= 100).sum()) < 9 - unseen
    assert few.left_out["instances of fewer than 100 pixels"] == 9 - unseen - few.written["instances"]


def test_obj_ids_are_of_objects_and_their_scales(tmp_path: Path) -> None:
    samples = [full_sample(0), full_sample(1), full_sample(2)]
    table = samples[2]["labels"]["instances"]
    row = table["object"].index("Car.A")
    table["world_from_object"][row][:3, :3] *= 2
    table["scale"][row] *= 2
    recording = write_recording(tmp_path / "recording", samples, [f"{i:09}-0000" for i in range(3)])
    summary = export_bop(recording, tmp_path / "dataset", splits=ALL)
    objects = load(tmp_path / "dataset/objects.json")
    cars = {i: one for i, one in objects.items() if one["name"] == "Car.A"}
    assert [one["instances"] for one in cars.values()] == [2, 1]
    (first, one), (second, other) = cars.items()
    np.testing.assert_allclose(other["scale"], 2 * np.array(one["scale"]))
    np.testing.assert_allclose(
        boxes(tmp_path / "dataset", int(second))[1], 2 * boxes(tmp_path / "dataset", int(first))[1]
    )
    assert any("Car.A, have several scales" in problem for problem in summary.problems)
    info = load(tmp_path / "dataset/models/models_info.json")
    assert list(info) == list(objects) == [str(i + 1) for i in range(len(objects))]
    size = [info[first][f"size_{axis}"] for axis in "xyz"]
    np.testing.assert_allclose(size, [2600, 2200, 1800], rtol=1e-6)
    assert info[first]["diameter"] == pytest.approx(np.linalg.norm(size))


def test_obj_ids_are_classes(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recording", [full_sample()])
    summary = export_bop(recording, tmp_path / "dataset", splits=ALL, obj_ids="class")
    objects = load(tmp_path / "dataset/objects.json")
    assert {i: one["name"] for i, one in objects.items()} == {"1": "car", "2": "post", "3": "ball"}
    assert objects["1"]["objects"] == ["Car.A", "Car.B"]
    assert summary.left_out["instances without a class"] == 1  # the floor
    assert any("3 models are not rigid: boxes of obj_id 2 (post)" in problem for problem in summary.problems)


def test_obj_ids_are_given(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recording", [full_sample()])
    summary = export_bop(recording, tmp_path / "dataset", splits=ALL, obj_ids={"Car.B": 5, "Seed": 0, "Nobody": 9})
    gt = load(tmp_path / "dataset/train/000000/scene_gt.json")["0"]
    assert [one["obj_id"] for one in gt] == [5, 0]
    assert list(load(tmp_path / "dataset/models/models_info.json")) == ["0", "5"]
    assert summary.left_out["instances of objects that obj_ids lacks"] == 5
    assert len(list((tmp_path / "dataset/train/000000/mask_visib").iterdir())) == 2


def test_boxes_of_mirrored_models() -> None:
    models = Models("object", {})
    models.obj_id("Cube", 0, np.array([-1.0, -2.0, -1.0]), np.array([[0, 1, 0], [1, 2, 3]], np.float32))
    expected = {"min_x": -1000, "min_y": -4000, "min_z": -3000, "size_x": 1000, "size_y": 2000, "size_z": 3000}
    assert models.models_info() == {"1": expected | {"diameter": pytest.approx(np.sqrt(14) * 1000)}}


def test_scales_at_random_are_refused() -> None:
    models = Models("object", {})
    scales = np.linspace(1, 2, MOST_SCALES)
    ids = [models.obj_id("Cube", 0, np.full(3, scale), None) for scale in [*scales, *(scales * (1 + 1e-7))]]
    assert ids == 2 * list(range(1, MOST_SCALES + 1))
    assert models.obj_id("Cone", 0, np.full(3, -1.0), None) == MOST_SCALES + 1
    with pytest.raises(ConfigError, match=f"Cube has more than {MOST_SCALES} scales"):
        models.obj_id("Cube", 0, np.full(3, 3.0), None)


def test_splits_and_scenes(tmp_path: Path) -> None:
    keys = [f"{episode:09}-{frame:04}" for episode in range(12) for frame in range(3)]
    recording = write_recording(tmp_path / "recording", [empty_sample() for _ in keys], keys)
    calls: list[tuple[int, int]] = []
    summary = export_bop(
        recording,
        tmp_path / "dataset",
        splits={"train": 0.5, "val": 0.5, "test": 0.0},
        images_per_scene=4,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(i, 36) for i in range(1, 37)]
    found: dict[str, list[str]] = {}
    for split in ("train", "val"):
        scenes = sorted((tmp_path / "dataset" / split).iterdir())
        assert [scene.name for scene in scenes] == [f"{i:06}" for i in range(summary.written[f"scenes in {split}"])]
        names = [load(scene / "scene_samples.json") for scene in scenes]
        assert all(list(one) == ["0", "1", "2", "3"] for one in names[:-1])
        found[split] = [key for one in names for key in one.values()]
        assert summary.written[f"images in {split}"] == len(found[split]) > 0
        assert all(
            load(scene / "scene_gt.json") == {i: [] for i in one} for scene, one in zip(scenes, names, strict=True)
        )
    assert sorted(found["train"] + found["val"]) == keys
    assert not {key[:9] for key in found["train"]} & {key[:9] for key in found["val"]}
    assert not (tmp_path / "dataset/test").exists()


def test_what_samples_lack(tmp_path: Path) -> None:
    bare = full_sample()
    for name in ("image", "depth", "ids"):
        del bare[name]
    for column in ("box_amodal", "pose", "scale", "bounds"):
        del bare["labels"]["instances"][column]
    unlabelled = full_sample(1)
    del unlabelled["labels"]
    recording = write_recording(tmp_path / "recording", [bare, unlabelled], ["000000000-0000", "000000001-0000"])
    summary = export_bop(recording, tmp_path / "dataset", splits=ALL)
    scene = tmp_path / "dataset/train/000000"
    assert sorted(path.name for path in scene.iterdir()) == ["scene_camera.json", "scene_gt.json", "scene_samples.json"]
    pose = full_sample()["labels"]["instances"]["pose"][1]
    first = load(scene / "scene_gt.json")["0"][0]
    np.testing.assert_allclose(np.reshape(first["cam_R_m2c"], (3, 3)), pose[:3, :3], atol=1e-9)
    np.testing.assert_allclose(first["cam_t_m2c"], 1000 * pose[:3, 3], atol=1e-6)
    assert load(tmp_path / "dataset/models/models_info.json") == {}
    assert summary.left_out["samples without labels"] == 1
    text = str(summary)
    for said in ("no picture", "no depth", "no masks", "1 scenes have no scene_gt_info.json", "no column bounds"):
        assert said in text


def test_sheared_objects_are_told(tmp_path: Path) -> None:
    sample = full_sample()
    sample["labels"]["instances"]["world_from_object"][1][0, 1] += 0.5
    summary = export_bop(write_recording(tmp_path / "recording", [sample]), tmp_path / "dataset", splits=ALL)
    assert any(problem.startswith("1 instances are sheared") for problem in summary.problems)
    told = export_bop(write_recording(tmp_path / "other", [full_sample()]), tmp_path / "rigid", splits=ALL)
    assert not any("sheared" in problem for problem in told.problems)


def test_jpg(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recording", [full_sample()])
    export_bop(recording, tmp_path / "dataset", splits={"train_pbr": 1.0}, image_format="jpg", quality=90)
    rgb = pixels(tmp_path / "dataset/train_pbr/000000/rgb/000000.jpg")
    assert np.abs(rgb.astype(int) - full_sample()["image"]).mean() < 5


def broken(kind: str) -> dict[str, Any]:
    sample = full_sample()
    if kind == "orthographic":
        return full_sample(0, ORTHOGRAPHIC)
    if kind == "distorted":
        sample["labels"]["camera"]["distortion"] = np.zeros(5)
    elif kind == "other shape":
        sample["depth"] = sample["depth"][:50]
    elif kind == "no depth":
        sample["depth"] = sample["ids"]
    elif kind == "no poses":
        for column in ("pose", "world_from_object"):
            del sample["labels"]["instances"][column]
    else:
        del sample["labels"]
    return sample


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("orthographic", "sample 000000001-0000: its camera is orthographic"),
        ("distorted", "sample 000000001-0000: its picture is distorted"),
        ("other shape", r"depth: expected the camera's shape \(96, 128\), got \(50, 128\)"),
        ("no depth", "depth: expected depth in metres"),
        ("no poses", "neither the column pose nor world_from_object"),
        ("no labels", "none of the 1 samples can be exported"),
    ],
)
def test_what_bop_cannot_hold_is_refused(tmp_path: Path, kind: str, message: str) -> None:
    recording = write_recording(tmp_path / "recording", [broken(kind)], ["000000001-0000"])
    with pytest.raises(ConfigError, match=message):
        export_bop(recording, tmp_path / "dataset")
    assert [path.name for path in tmp_path.iterdir()] == ["recording"]


def test_samples_that_contradict_themselves_are_left_out(tmp_path: Path) -> None:
    made = [full_sample(), broken("other shape"), broken("no depth"), broken("no poses")]
    recording = write_recording(tmp_path / "recording", made, [f"{i:09}-0000" for i in range(4)])
    summary = export_bop(recording, tmp_path / "dataset", splits=ALL)
    assert summary.written["images in train"] == 1
    assert summary.left_out["samples whose labels and images do not belong together"] == 3
    assert summary.problems[0].startswith("000000001-0000: depth: expected the camera's shape")


@pytest.mark.parametrize(
    "options",
    [
        {"depth_scale": 0},
        {"min_pixels": 0},
        {"images_per_scene": 0},
        {"obj_ids": "name"},
        {"obj_ids": {"Cube": -1}},
        {"obj_ids": {"Cube": 1.5}},
        {"splits": {"train": 0.5}},
        {"image_format": "bmp"},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    recording = write_recording(tmp_path / "recording", [empty_sample()])
    with pytest.raises(ConfigError):
        export_bop(recording, tmp_path / "dataset", **options)
    assert not (tmp_path / "dataset").exists()
