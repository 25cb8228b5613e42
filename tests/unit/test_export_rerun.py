"""Recordings for Rerun: what its own reader finds in the file is what the labels say."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rerun = pytest.importorskip("rerun", reason="needs rerun-sdk: blendtorch[view]", exc_type=ImportError)

from export_samples import CLASSES, SHAPE, full_sample, samples, write_recording  # noqa: E402
from label_spheres import ORTHOGRAPHIC  # noqa: E402
from rerun.chunk import RrdReader  # noqa: E402

from blendtorch.errors import ConfigError  # noqa: E402
from blendtorch.export.rerun import FILE, RerunLog, export_rerun, log_sample  # noqa: E402
from blendtorch.labels import ids_to_rgb  # noqa: E402
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter  # noqa: E402

IMAGE, DEPTH = "/world/camera/image", "/world/camera/depth"
Found = dict[tuple[str, int], dict[str, Any]]


def read(file: Path) -> Found:
    """By entity and place on the timeline "sample": each component's values."""
    reader = RrdReader(file)
    (store,) = reader.recordings()
    found: Found = {}
    for chunk in reader.stream(store=store):
        batch = chunk.to_record_batch()
        if chunk.is_static:
            continue
        wanted = [name for name in batch.schema.names if ":" in name or name in ("sample", "episode", "frame")]
        for row in batch.select(wanted).to_pylist():
            there = {name: value for name, value in row.items() if value is not None}
            found.setdefault((chunk.entity_path, there.pop("sample")), {}).update(there)
    return found


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Path]:
    folder = tmp_path_factory.mktemp("rerun")
    made = samples()
    for place, sample in enumerate(made):
        sample["episode"], sample["frameid"], sample["reward"] = place // 2, 10 + place, 0.5 * place
        sample["flow_forward"] = np.zeros((*SHAPE, 2), np.float32)
    calls = []
    recording = write_recording(folder / "recorded", made)
    summary = export_rerun(recording, folder / "out", progress=lambda *done: calls.append(done))
    assert summary.written == {"samples": 6}
    assert summary.left_out == {"fields flow_forward, which Rerun cannot show": 6}
    assert calls == [(place, 6) for place in range(1, 7)]
    assert sorted(path.name for path in folder.iterdir()) == ["out", "recorded"]
    return read(folder / "out" / FILE), folder / "out" / FILE


def only(components: dict[str, Any], name: str) -> Any:
    (value,) = components[name]
    return value


def test_rerun_itself_finds_the_file_right(exported: tuple[Found, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rerun_cli", "rrd", "verify", str(exported[1])]
    # It writes into its user's home, and counts sessions there.
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **homes})
    assert "1 file verified without error" in done.stdout + done.stderr


def test_the_file_brings_its_views(exported: tuple[Found, Path]) -> None:
    reader = RrdReader(exported[1])
    (views,) = reader.blueprints()
    assert views.application_id == reader.recordings()[0].application_id
    names, origins = set(), set()
    for chunk in reader.stream(store=views):
        batch = chunk.to_record_batch()
        for row in batch.select([name for name in batch.schema.names if name.startswith("ViewBlueprint:")]).to_pylist():
            names |= set(row.get("ViewBlueprint:display_name") or [])
            origins |= set(row.get("ViewBlueprint:space_origin") or [])
    assert names >= {"picture", "space", "ids", "depth", "normals_camera", "numbers"}
    assert {origin.strip("/") for origin in origins} >= {"world", IMAGE[1:], DEPTH[1:], "plots"}


def test_pictures_and_times(exported: tuple[Found, Path]) -> None:
    found, _ = exported
    for place, sample in enumerate(samples()):
        picture = found[IMAGE, place]
        np.testing.assert_array_equal(pixels(picture, "Image").reshape(*SHAPE, 3), sample["image"])
        assert (picture["episode"], picture["frame"]) == (place // 2, 10 + place)
        assert only(found["/plots/reward", place], "Scalars:scalars") == 0.5 * place


def pixels(components: dict[str, Any], archetype: str, dtype: type = np.uint8) -> np.ndarray:
    return np.frombuffer(bytes(only(components, f"{archetype}:buffer")), dtype)


def test_boxes_with_class_names(exported: tuple[Found, Path]) -> None:
    found, _ = exported
    instances = samples()[0]["labels"]["instances"]
    rows = np.flatnonzero(instances["pixels"])
    assert len(rows) < len(instances["pixels"])
    there = found[f"{IMAGE}/boxes", 0]
    centers, halves = (np.array(there[f"Boxes2D:{name}"]) for name in ("centers", "half_sizes"))
    np.testing.assert_allclose(np.concatenate([centers - halves, centers + halves], 1), instances["box"][rows])
    names = [CLASSES.get(instances["class_id"][row], instances["object"][row]) for row in rows]
    assert there["Boxes2D:labels"] == names
    assert {"car", "post", "ball", "Floor"} == set(names)
    assert found[f"{IMAGE}/boxes", 4].get("Boxes2D:centers", []) == []


def test_the_depth_cloud_lies_on_the_objects(exported: tuple[Found, Path]) -> None:
    """Points as Rerun's shader makes them: (index - offset) * depth / focal length, by the camera's transform."""
    found, _ = exported
    sample = samples()[1]
    instances = sample["labels"]["instances"]
    components, transform = found[DEPTH, 1], found["/world/camera", 1]
    depth = pixels(components, "DepthImage", np.float32).reshape(SHAPE)
    assert only(components, "DepthImage:meter") == 1.0
    np.testing.assert_array_equal(depth, np.where(np.isfinite(sample["depth"]), sample["depth"], 0))
    assert only(components, "DepthImage:depth_range") == [depth[depth > 0].min(), depth.max()]
    k = np.array(only(components, "Pinhole:image_from_camera")).reshape(3, 3).T  # column after column
    y, x = np.nonzero(depth)
    d = depth[y, x].astype(np.float64)
    in_camera = np.stack([(x - k[0, 2]) * d / k[0, 0], (y - k[1, 2]) * d / k[1, 1], d])
    rotation = np.array(only(transform, "Transform3D:mat3x3")).reshape(3, 3).T
    in_world = rotation @ in_camera + np.array(only(transform, "Transform3D:translation"))[:, None]
    rows = np.searchsorted(instances["id"], sample["ids"][y, x])
    in_object = (
        np.linalg.inv(instances["world_from_object"])[rows] @ np.vstack([in_world, np.ones(len(d))]).T[..., None]
    )
    # Half a pixel beside would be off by some 0.05.
    np.testing.assert_allclose(np.linalg.norm(in_object[:, :3, 0], axis=1), 1, atol=1e-3)


def test_space_is_projected_onto_the_picture_by_k(exported: tuple[Found, Path]) -> None:
    camera = samples()[0]["labels"]["camera"]
    components = exported[0][IMAGE, 0]
    k = np.array(only(components, "Pinhole:image_from_camera")).reshape(3, 3).T
    np.testing.assert_allclose(k, camera["intrinsics"], rtol=1e-6)
    assert only(components, "Pinhole:resolution") == [SHAPE[1], SHAPE[0]]
    assert only(components, "Pinhole:camera_xyz") == [3, 2, 5]  # right, down, forward


def test_ids_have_names_and_the_usual_colours(exported: tuple[Found, Path]) -> None:
    found, _ = exported
    sample = samples()[0]
    components = found[f"{IMAGE}/ids", 0]
    np.testing.assert_array_equal(pixels(components, "SegmentationImage", np.uint16).reshape(SHAPE), sample["ids"])
    infos = [one["class_description"]["info"] for one in only(components, "AnnotationContext:context")]
    assert [info["id"] for info in infos] == np.unique(sample["ids"]).tolist()
    names = dict(zip(sample["labels"]["instances"]["id"], sample["labels"]["instances"]["object"], strict=True))
    assert [info["label"] for info in infos if info["id"]] == [names[info["id"]] for info in infos if info["id"]]
    colors = [[info["color"] >> shift & 255 for shift in (24, 16, 8)] for info in infos]
    np.testing.assert_array_equal(colors, ids_to_rgb(np.unique(sample["ids"])))


def test_3d_boxes_are_drawn_edge_by_edge(exported: tuple[Found, Path]) -> None:
    found, _ = exported
    corners = samples()[0]["labels"]["instances"]["box3d_world"]
    strips = np.array(found["/world/objects", 0]["LineStrips3D:strips"])
    for box, strip in zip(corners, strips, strict=True):
        places = np.linalg.norm(strip[:, None] - box, axis=2)
        assert places.min(axis=1).max() < 1e-5
        walked = places.argmin(axis=1)
        edges = {frozenset(pair) for pair in zip(walked[:-1].tolist(), walked[1:].tolist(), strict=True)}
        # Neighbours in the order of the schema: around the first face, around the second, and across.
        assert edges == {
            frozenset(pair) for i in range(4) for pair in ((i, (i + 1) % 4), (4 + i, 4 + (i + 1) % 4), (i, i + 4))
        }


@pytest.mark.parametrize("missing", [["box3d_world"], ["box3d_world", "world_from_object"]])
def test_3d_boxes_from_what_labels_have(missing: list[str], tmp_path: Path) -> None:
    sample = full_sample()
    corners = sample["labels"]["instances"]["box3d_world"]
    for column in missing:
        del sample["labels"]["instances"][column]
    strips = logged([sample], tmp_path)["/world/objects", 0]["LineStrips3D:strips"]
    np.testing.assert_allclose(np.array(strips)[:, :4], corners[:, :4], atol=1e-5)


def logged(made: list[dict[str, Any]], folder: Path) -> Found:
    with RerunLog("test", classes=CLASSES) as rerun_log:
        rerun_log.save(folder / "test.rrd")
        for sample in made:
            rerun_log.log(sample)
    return read(folder / "test.rrd")


def test_keypoints(exported: tuple[Found, Path]) -> None:
    found, _ = exported
    keypoints = samples()[0]["labels"]["keypoints"]
    rows = np.flatnonzero(keypoints["visibility"])
    flat, space = found[f"{IMAGE}/keypoints", 0], found["/world/keypoints", 0]
    np.testing.assert_allclose(flat["Points2D:positions"], keypoints["xy"][rows], rtol=1e-6)
    assert flat["Points2D:labels"] == [keypoints["name"][row] for row in rows]
    np.testing.assert_allclose(space["Points3D:positions"], keypoints["xyz_world"], rtol=1e-5)
    seen = keypoints["visibility"][rows] == 2
    colors = np.array(flat["Points2D:colors"])
    assert set(colors[seen]).isdisjoint(colors[~seen])


def test_what_a_sample_lacks_is_not_left_from_the_one_before(exported: tuple[Found, Path]) -> None:
    found, _ = exported
    cleared = {entity for (entity, place), components in found.items() if place == 5 and is_cleared(components)}
    assert cleared == {"/images/normals_camera"}  # the empty sample before had no keypoints to be cleared
    cleared = {entity for (entity, place), components in found.items() if place == 4 and is_cleared(components)}
    assert cleared == {f"{IMAGE}/keypoints", "/world/keypoints"}


def is_cleared(components: dict[str, Any]) -> bool:
    return any(name.startswith("Clear:") for name in components)


def test_an_orthographic_camera_has_pictures_and_no_pinhole(exported: tuple[Found, Path], tmp_path: Path) -> None:
    alone = logged([full_sample(0, ORTHOGRAPHIC)], tmp_path)
    for found, place in ((alone, 0), (exported[0], 2)):
        there = {name for (_, at), components in found.items() if at == place for name in components}
        assert not {name for name in there if name.startswith("Pinhole")}
        assert there >= {"Image:buffer", "DepthImage:buffer", "Transform3D:translation", "LineStrips3D:strips"}
    # After a pinhole camera its pinhole has to go.
    assert is_cleared(exported[0][IMAGE, 2])
    assert is_cleared(exported[0][DEPTH, 2])
    assert not is_cleared(alone[IMAGE, 0])


def test_ids_beyond_16_bits_are_numbered_anew(tmp_path: Path) -> None:
    sample = {"image": np.zeros((2, 2, 3), np.uint8), "ids": np.array([[0, 2**32 - 1], [70_000, 5]], np.uint32)}
    components = logged([sample], tmp_path)[f"{IMAGE}/ids", 0]
    assert pixels(components, "SegmentationImage", np.uint16).tolist() == [0, 3, 2, 1]
    infos = [one["class_description"]["info"] for one in only(components, "AnnotationContext:context")]
    assert [(info["id"], info["label"]) for info in infos] == [(0, ""), (1, "5"), (2, "70000"), (3, "4294967295")]


def test_a_sample_without_labels(tmp_path: Path) -> None:
    sample = {"image": full_sample()["image"], "boxes": np.array([[1, 2, 5, 9], [0, 0, 0, 0]]), "note": "a text"}
    found = logged([sample, {"image": sample["image"]}], tmp_path)
    np.testing.assert_allclose(found[f"{IMAGE}/boxes", 0]["Boxes2D:centers"], [[3, 5.5]])
    assert is_cleared(found[f"{IMAGE}/boxes", 1])
    assert set(found) == {(IMAGE, 0), (IMAGE, 1), (f"{IMAGE}/boxes", 0), (f"{IMAGE}/boxes", 1)}


def test_jpeg_is_smaller(tmp_path: Path) -> None:
    rough = {"image": np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8).repeat(4, 0).repeat(4, 1)}
    recording = write_recording(tmp_path / "recorded", [rough])
    sizes = []
    for name, quality in (("whole.rrd", None), ("small.rrd", 60)):
        export_rerun(recording, tmp_path / name, jpeg_quality=quality)
        sizes.append((tmp_path / name).stat().st_size)
    assert "EncodedImage:blob" in read(tmp_path / "small.rrd")[IMAGE, 0]
    assert sizes[1] < sizes[0]


def test_what_rerun_does_not_take_is_an_error() -> None:
    sample = full_sample()
    sample["labels"]["camera"]["intrinsics"] = np.eye(2)
    with pytest.raises((ValueError, IndexError)):
        log_sample(rerun.RecordingStream("test"), sample, place=0, shown=set())


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = write_recording(tmp_path / "recorded", [full_sample()])
    (tmp_path / "taken.rrd").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists"):
        export_rerun(recording, tmp_path / "taken.rrd")
    assert (tmp_path / "taken.rrd").read_bytes() == b"mine"
    with pytest.raises(ConfigError, match="jpeg_quality is 0"):
        export_rerun(recording, tmp_path / "a.rrd", jpeg_quality=0)
    with pytest.raises(ConfigError, match="no samples"):
        export_rerun(recording[:0], tmp_path / "a.rrd")
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ConfigError, match=r'pip install "blendtorch\[view\]"'):
        export_rerun(recording, tmp_path / "a.rrd")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recorded", "taken.rrd"]


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    recording = write_recording(tmp_path / "recorded", [full_sample()])
    with pytest.raises(KeyboardInterrupt):
        export_rerun(recording, tmp_path / "a.rrd", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["recorded"]


def test_a_damaged_sample_is_left_out(tmp_path: Path) -> None:
    with RecordingWriter(RecordingSettings(tmp_path / "r", encode={"image": "png"})) as writer:
        for step in range(3):
            writer.write({"image": full_sample(step)["image"]})
    (shard,) = (tmp_path / "r").glob("*.tar")
    content = bytearray(shard.read_bytes())
    middle = content.index(b"IDAT", content.index(b"IDAT") + 4)
    content[middle + 4 : middle + 30] = bytes(26)
    shard.write_bytes(content)
    summary = export_rerun(Recording(tmp_path / "r"), tmp_path / "out")
    assert summary.written == {"samples": 2}
    assert summary.left_out == {"samples that cannot be read": 1}
