"""`export_hdf5`: the files are read by h5py, as the documentation says, and are what was recorded."""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from exact import assert_exact
from export_samples import METADATA, empty_sample, full_sample, keys, samples, write_recording

from blendtorch.errors import ConfigError
from blendtorch.export import ExportSummary
from blendtorch.export.hdf5 import export_hdf5
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter
from blendtorch.wire.body import DTYPES

ALL = {"all": 1.0}


def export(tmp_path: Path, made: list[dict[str, Any]], **options: Any) -> tuple[h5py.File, ExportSummary]:
    """Records samples and exports them into one file, which is returned open."""
    recording = write_recording(tmp_path / "recording", made, [f"{i:09}-0000" for i in range(len(made))])
    summary = export_hdf5(recording, tmp_path / "export", splits=ALL, **options)
    return h5py.File(tmp_path / "export/all.h5"), summary


def read_sample(file: h5py.File, i: int) -> dict[str, Any]:
    """A sample by what the documentation says of the layout alone."""
    found: dict[str, Any] = {}

    def read(path: str, node: h5py.Dataset | h5py.Group) -> None:
        layout = node.attrs.get("layout")
        if layout in (None, "table") or path == "key" or path.startswith("present/"):
            return
        if f"present/{path}" in file and not file[f"present/{path}"][i]:
            return
        if layout == "rows":
            first, end = node.parent["row_splits"][i : i + 2]
            value = list(node.asstr()[first:end]) if h5py.check_string_dtype(node.dtype) else node[first:end]
        elif layout == "ragged":
            first, end = node["row_splits"][i : i + 2]
            value = node["values"][first:end].reshape(node["shapes"][i])
        elif layout == "stacked":
            value = node[i]
        else:
            value = json.loads(node.asstr()[i]) if layout == "json" else node.asstr()[i]
        inner = found
        *folders, name = path.split("/")
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = value

    file.visititems(read)
    return found


def as_read(value: Any) -> Any:
    """A sample as it comes out of a file: in order of names, numbers as numpy's, shape an array, without None."""
    if isinstance(value, dict):
        return {name: as_read(one) for name, one in sorted(value.items()) if one is not None}
    if isinstance(value, tuple):
        return np.array(value)
    kinds = {int: np.int64, float: np.float64, bool: np.bool_}
    return kinds[type(value)](value) if type(value) in kinds else value


def assert_round_trip(file: h5py.File, made: list[dict[str, Any]]) -> None:
    assert len(file["key"]) == len(made)
    for i, sample in enumerate(made):
        assert_exact(as_read(read_sample(file, i)), as_read(sample), f"sample {i}")


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_samples_come_back(tmp_path: Path, compression: Any) -> None:
    file, summary = export(tmp_path, samples(), compression=compression)
    wanted = samples()
    for sample in wanted:  # a table without rows has lost its columns, and what it is a table of
        for table in ("instances", "keypoints"):
            if not len(next(iter(sample["labels"].get(table, {"": []}).values()))):
                sample["labels"].pop(table, None)
    for i, sample in enumerate(wanted):
        found = read_sample(file, i)
        if not len(found["labels"]["instances"]["id"]):
            del found["labels"]["instances"]
        assert_exact(as_read(found), as_read(sample), f"sample {i}")
    assert file["key"].asstr()[:].tolist() == [f"{i:09}-0000" for i in range(6)]
    assert summary.written == {"samples in all": 6, "fields": 9}
    assert not summary.left_out
    assert file["image"].compression == compression
    assert file["labels/camera/intrinsics"].compression is None


def test_what_is_said_of_the_data(tmp_path: Path) -> None:
    file, _ = export(tmp_path, [full_sample()])
    assert file.attrs["format"] == "blendtorch hdf5"
    assert file.attrs["format_version"] == 1
    assert json.loads(file.attrs["metadata"])["classes"] == METADATA["classes"]
    assert "outer corner of the upper left pixel" in file.attrs["conventions"]
    assert dict(file["depth"].attrs) == {
        "layout": "stacked",
        "unit": "m",
        "about": "along the optical axis; background inf",
    }
    assert file["labels/instances/pose"].attrs["frame"] == "OpenCV camera axes"


def test_long_metadata(tmp_path: Path) -> None:
    text = "é" * 100_000  # more than the 64 KiB that an attribute may have within its object
    with RecordingWriter(RecordingSettings(tmp_path / "recording", metadata={"note": text})) as writer:
        writer.write({"x": 1}, key="000000000-0000")
    export_hdf5(Recording(tmp_path / "recording"), tmp_path / "export", splits=ALL)
    with h5py.File(tmp_path / "export/all.h5") as file:
        assert json.loads(file.attrs["metadata"])["note"] == text


def test_a_picture_is_a_chunk(tmp_path: Path) -> None:
    made = [
        {"image": np.full((240, 320, 3), i, np.uint8), "small": np.full((2, 3), i, np.float32), "x": i}
        for i in range(5)
    ]
    file, _ = export(tmp_path, made)
    assert file["image"].chunks == (1, 240, 320, 3)
    assert file["small"].chunks == (5, 2, 3)
    assert_round_trip(file, made)


def test_all_dtypes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(3):
        sample: dict[str, Any] = {}
        for name, dtype in DTYPES.items():
            sample[name] = rng.integers(0, 2, (4, 5)).astype(dtype)
            sample[f"{name}_flat"] = rng.integers(0, 2, ()).astype(dtype)
        made.append(sample)
    file, _ = export(tmp_path, made)
    for i, sample in enumerate(made):
        for name, value in read_sample(file, i).items():
            assert value.dtype == sample[name].dtype, name
            assert value.tobytes() == sample[name].tobytes(), name


def test_what_is_no_array(tmp_path: Path) -> None:
    made = [
        {
            "text": "Grüße",
            "list": [1, "a"],
            "dict": {"b": [1.5, None]},
            "yes": True,
            "count": 3,
            "reward": 1,
            "big": 2**64,
        },
        {"text": "", "list": [], "dict": {}, "yes": False, "count": -(2**63), "reward": 0.5, "big": 1},
    ]
    file, _ = export(tmp_path, made)
    made[0]["reward"] = 1.0  # one dtype for all
    for i, sample in enumerate(made):
        found = read_sample(file, i)
        assert found == sample
        assert found["yes"].dtype == bool
        assert found["count"].dtype == np.int64
    assert [file[name].attrs["layout"] for name in ("text", "list", "dict", "big")] == ["text", "json", "json", "json"]


def test_what_json_makes_simpler(tmp_path: Path) -> None:
    value = {"array": np.array([[1, 2]], np.uint8), "tuple": (1, 2), "bytes": b"\xff", "scalar": np.float32(0.5)}
    file, _ = export(tmp_path, [{"odd": value, "nul": "a\0b", "lone": "\ud800", "bytes": b"ab"}])
    expected = {"array": [[1, 2]], "tuple": [1, 2], "bytes": "/w==", "scalar": 0.5}
    assert read_sample(file, 0) == {"odd": expected, "nul": "a\0b", "lone": "\ud800", "bytes": "YWI="}


def test_numbers_and_texts_that_become_something_else(tmp_path: Path) -> None:
    values = [[1, 2, "three", None, [4]], ["a", None, "b", 3.5, {"c": 1}], ["a", "b\0", "c", "d", "e"]]
    made = [{f"field{i}": column[place] for i, column in enumerate(values)} for place in range(5)]
    file, _ = export(tmp_path, made)
    for i, sample in enumerate(made):
        assert read_sample(file, i) == {name: value for name, value in sample.items() if value is not None}
    assert all(file[f"field{i}"].attrs["layout"] == "json" for i in range(3))
    assert "__before__" not in file


def test_numpy_scalars(tmp_path: Path) -> None:
    made = [{"a": np.float32(0.1), "b": np.uint8(7), "c": np.bool_(True), "d": np.complex64(1 + 2j)} for _ in range(2)]
    file, _ = export(tmp_path, made)
    found = read_sample(file, 1)
    assert found == {"a": np.float64(np.float32(0.1)), "b": 7, "c": True, "d": 1 + 2j}


def test_arrays_of_different_shapes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = [(4, 3), (4, 3), (0, 3), (70_000, 3), (1, 2)]
    made: list[dict[str, Any]] = [
        {"points": rng.random(shape, np.float32), "none_first": rng.random(shape[::-1])} for shape in shapes
    ]
    made.insert(2, {"other": 1})
    made[0]["none_first"] = np.zeros((2, 0))
    for compression in (None, "gzip"):
        folder = tmp_path / str(compression)
        file, summary = export(folder, made, compression=compression)
        assert_round_trip(file, made)
        assert file["points"].attrs["layout"] == "ragged"
        assert file["points/shapes"][2].tolist() == [0, 0]
        assert file["points/row_splits"][:4].tolist() == [0, 12, 24, 24]
    assert any("differ in shape" in problem and "none_first, points" in problem for problem in summary.problems)


def test_what_samples_lack(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = [
        {"x": 1, "late": None},
        {"x": 2, "float": np.ones(3), "int": np.ones(3, np.int32), "text": "a", "reward": 1.5},
        {"late": 5},
        {"x": 4, "float": np.full(3, 2.0), "text": "b", "flag": True},
    ]
    file, summary = export(tmp_path, made)
    assert_round_trip(file, made)
    np.testing.assert_array_equal(file["float"], [[np.nan] * 3, [1.0] * 3, [np.nan] * 3, [2.0] * 3])
    assert file["int"][:].tolist() == [[0] * 3, [1] * 3, [0] * 3, [0] * 3]
    assert file["x"][:].tolist() == [1, 2, 0, 4]
    assert file["text"].asstr()[:].tolist() == ["", "a", "", "b"]
    np.testing.assert_array_equal(file["reward"], [np.nan, 1.5, np.nan, np.nan])
    assert file["present/late"][:].tolist() == [False, False, True, False]
    assert summary.problems == [
        "some samples lack flag, float, int, late, reward and 2 more: present/... of the files tells which"
    ]


def test_rows_of_samples_that_lack_a_column(tmp_path: Path) -> None:
    made = [full_sample(0), {"image": full_sample(1)["image"]}, full_sample(2), empty_sample(), full_sample(3)]
    del made[0]["labels"]["instances"]["pose"], made[2]["labels"]["instances"]["object"]
    made[4]["labels"]["instances"]["note"] = [{"a": row} for row in range(9)]
    file, _ = export(tmp_path, made)
    table = file["labels/instances"]
    assert table["row_splits"][:].tolist() == [0, 9, 9, 18, 18, 27]
    np.testing.assert_array_equal(np.isnan(table["pose"]).all(axis=(1, 2)), np.repeat([True, False], [9, 18]))
    assert table["object"].asstr()[9:18].tolist() == [""] * 9
    assert file["present/labels/instances/object"][:].tolist() == [True, False, False, True, True]
    assert json.loads(table["note"].asstr()[20]) == {"a": 2}
    np.testing.assert_array_equal(table["pose"][18:], made[4]["labels"]["instances"]["pose"])


def test_many_rows(tmp_path: Path) -> None:
    """More than a chunk holds, of columns that are written at different times."""
    rng = np.random.default_rng(0)
    made = []
    for count in (3000, 0, 1, 9000, 2500):
        table = {"id": np.arange(count), "name": [f"n{i}" for i in range(count)], "wide": rng.random((count, 3))}
        table["score"] = [0.5] * count  # a list, without dtype where it is empty
        made.append({"labels": {"things": table}})
    del made[3]["labels"]["things"]["wide"], made[4]["labels"]["things"]["score"]
    file, _ = export(tmp_path, made)
    table = file["labels/things"]
    ends = np.cumsum([3000, 0, 1, 9000, 2500])
    assert table["row_splits"][:].tolist() == [0, *ends]
    for i, sample in enumerate(made):
        first, end = table["row_splits"][i : i + 2]
        np.testing.assert_array_equal(table["id"][first:end], sample["labels"]["things"]["id"])
        assert table["name"].asstr()[first:end].tolist() == sample["labels"]["things"]["name"]
        expected = sample["labels"]["things"].get("wide", np.full((9000, 3), np.nan))
        np.testing.assert_array_equal(table["wide"][first:end], expected)
    np.testing.assert_array_equal(table["score"], np.repeat([0.5, np.nan], [12_001, 2500]))


def test_labels_of_another_kind(tmp_path: Path) -> None:
    made = [{"labels": {"weather": "rain", "sun": np.array([1.0, 2.0]), "list": [1]}}, {"labels": {"weather": "snow"}}]
    file, _ = export(tmp_path, made)
    assert_round_trip(file, made)
    plain, _ = export(tmp_path / "plain", [{"labels": 3}, {"labels": 4}])
    assert plain["labels"][:].tolist() == [3, 4]


def test_names_that_are_none_for_hdf5(tmp_path: Path) -> None:
    file, _ = export(tmp_path, [{"a/b": 1, ".": 2, "c.d": 3, "e\0": 4}])
    assert {name: file[name][0] for name in file if name != "key"} == {"a%2Fb": 1, "%2E": 2, "c.d": 3, "e%00": 4}


def test_splits_are_files(tmp_path: Path) -> None:
    names = [f"{episode:09}-{frame:04}" for episode in range(12) for frame in range(3)]
    recording = write_recording(tmp_path / "recording", [{"x": i} for i in range(36)], names)
    calls: list[tuple[int, int]] = []
    splits = {"train": 0.5, "val": 0.5, "none": 0.0}
    summary = export_hdf5(recording, tmp_path / "export", splits=splits, progress=lambda *call: calls.append(call))
    assert calls == [(i, 36) for i in range(1, 37)]
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["train.h5", "val.h5"]
    found = {}
    for split in ("train", "val"):
        with h5py.File(tmp_path / f"export/{split}.h5") as file:
            found[split] = file["key"].asstr()[:].tolist()
            assert file["x"][:].tolist() == [names.index(key) for key in found[split]]
            assert summary.written[f"samples in {split}"] == len(found[split]) > 0
    assert sorted(found["train"] + found["val"]) == names
    assert not {key[:9] for key in found["train"]} & {key[:9] for key in found["val"]}
    assert summary.written["samples in none"] == 0
    assert not summary.problems


def test_chosen_fields(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recording")
    export_hdf5(recording, tmp_path / "export", splits=ALL, fields=["image", "btseq"])
    with h5py.File(tmp_path / "export/all.h5") as file:
        assert sorted(file) == ["btseq", "image", "key"]


def test_pictures_that_are_encoded_and_damaged(tmp_path: Path) -> None:
    with RecordingWriter(RecordingSettings(tmp_path / "recording", encode={"image": "png"})) as writer:
        for i, sample in enumerate(samples()):
            writer.write({"image": sample["image"], "note": "x" * i}, key=keys()[i])
    (shard,) = (tmp_path / "recording").iterdir()
    content = bytearray(shard.read_bytes())
    second = content.index(b"IDAT", content.index(b"IDAT") + 1)
    content[second + 4 : second + 40] = bytes(36)
    shard.write_bytes(content)
    summary = export_hdf5(Recording(tmp_path / "recording"), tmp_path / "export", splits=ALL)
    assert summary.left_out == {"samples that cannot be read": 1}
    with h5py.File(tmp_path / "export/all.h5") as file:
        assert file["key"].asstr()[:].tolist() == keys()[:1] + keys()[2:]
        wanted = [sample["image"] for i, sample in enumerate(samples()) if i != 1]
        np.testing.assert_array_equal(file["image"], wanted)
        assert file["note"].asstr()[:].tolist() == ["", "xx", "xxx", "xxxx", "xxxxx"]


class Frames(torch.utils.data.Dataset):
    """That of the documentation."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, None
        with h5py.File(path) as file:
            self.count = len(file["key"])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        if self.file is None:  # each worker opens the file for itself
            self.file = h5py.File(self.path)
        table = self.file["labels/instances"]
        first, end = table["row_splits"][i : i + 2]
        return {"image": self.file["image"][i], "largest": table["pixels"][first:end].max(initial=0)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_of_torch(tmp_path: Path, workers: int) -> None:
    recording = write_recording(tmp_path / "recording")
    export_hdf5(recording, tmp_path / "export", splits=ALL)
    loader = torch.utils.data.DataLoader(Frames(tmp_path / "export/all.h5"), batch_size=4, num_workers=workers)
    batches = list(loader)
    images = torch.cat([batch["image"] for batch in batches])
    np.testing.assert_array_equal(images.numpy(), [sample["image"] for sample in samples()])
    largest = torch.cat([batch["largest"] for batch in batches])
    assert largest.tolist() == [sample["labels"]["instances"]["pixels"].max(initial=0) for sample in samples()]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"x": np.zeros(3, np.float64)}, r"sample 000000001-0000: x: expected float32 of shape \(3,\).*got float64"),
        ({"x": np.zeros((3, 1), np.float32)}, r"got float32 of shape \(3, 1\)"),
        ({"x": 1.0}, r"expected float32 of shape \(3,\), as in the samples before, got float"),
        ({"number": np.zeros(2)}, r"number: expected int, as in the samples before, got float64 of shape \(2,\)"),
        (
            {"labels": {"t": {"id": np.zeros(2, np.int32)}}},
            r"labels/t: column id: expected rows of int64 of shape \(\)",
        ),
        ({"labels": {"t": 3}}, "labels/t: expected a table"),
        ({"labels": 3}, "labels: expected a dict of labels"),
        ({"key": 3}, "field key: expected another name"),
        ({"labels": {"t": {"row_splits": [1]}}}, "column row_splits: expected another name"),
    ],
)
def test_what_does_not_go_into_one_file(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    first = {"x": np.zeros(3, np.float32), "number": 1, "labels": {"t": {"id": np.zeros(2, np.int64)}}}
    with pytest.raises(ConfigError, match=message):
        export(tmp_path, [first, second])
    assert [path.name for path in tmp_path.iterdir()] == ["recording"]


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zip"},
        {"fields": "image"},
        {"fields": ["image", "nothing"]},
        {"splits": {"train": 2.0}},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    recording = write_recording(tmp_path / "recording", [empty_sample()])
    with pytest.raises(ConfigError):
        export_hdf5(recording, tmp_path / "export", **options)
    assert not (tmp_path / "export").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "recording", [empty_sample()])
    export_hdf5(recording, tmp_path / "export", splits=ALL)
    with pytest.raises(ConfigError, match="not empty"):
        export_hdf5(recording, tmp_path / "export", splits=ALL)


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = write_recording(tmp_path / "recording", [empty_sample()])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r'pip install "blendtorch\[export\]"'):
        export_hdf5(recording, tmp_path / "export")
