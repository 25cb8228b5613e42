"""Shards as others read them: Python's tarfile, tar, WebDataset and Hugging Face's datasets."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from export_samples import empty_sample, full_sample, samples
from PIL import Image
from recording_samples import key_of, record, sample

from blendtorch.recording import Recording, typed_json
from blendtorch.wire.body import DTYPES

Sample = dict[str, Any]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Hugging Face's library, without a network and a home."""
    with pytest.MonkeyPatch.context() as environment:
        home = str(tmp_path_factory.mktemp("huggingface"))
        for name, value in {"HF_HOME": home, "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}.items():
            environment.setenv(name, value)
        import datasets

        assert datasets.config.HF_DATASETS_OFFLINE
        datasets.disable_progress_bars()
        yield datasets


def by_webdataset(shards: list[Path], spec: str = "rgb8") -> list[Sample]:
    return list(webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False).decode(spec))


def by_hugging_face(datasets: Any, shards: list[Path], cache: Path, streaming: bool) -> list[Sample]:
    """Rows, as arrays where that is possible."""
    files = {"train": [str(shard) for shard in shards]}
    rows = datasets.load_dataset(
        "webdataset", data_files=files, split="train", streaming=streaming, cache_dir=str(cache)
    )
    return list(rows)


def arrays_of(one: Sample) -> Sample:
    return {name: value for name, value in one.items() if isinstance(value, np.ndarray)}


def json_of(one: Sample) -> Sample:
    """What `KEY.json` says to others."""
    return json.loads(typed_json.dumps({name: one[name] for name in one if name not in arrays_of(one)}))


def same(a: Any, b: Any) -> bool:
    """Equality where NaN equals NaN."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


# --- tar -------------------------------------------------------------------------------------------------------------


def test_tarfile_lists_and_extracts_shards(tmp_path: Path) -> None:
    made = [sample(i) for i in range(5)]
    shards = record(tmp_path, made, shard_samples=2)
    assert [shard.name for shard in shards] == [f"samples-00-0000{i}.tar" for i in range(3)]
    number = 0
    for shard in shards:
        with tarfile.open(shard, errorlevel=2) as file:
            first, *members = file.getmembers()
            assert first.name == "__blendtorch__"
            assert all(one.isreg() and one.mode == 0o644 and (one.uid, one.mtime) == (0, 0) for one in members)
            by_key: dict[str, list[str]] = {}
            for one in members:
                by_key.setdefault(one.name.partition(".")[0], []).append(one.name.partition(".")[2])
            for key, names in by_key.items():
                assert key == key_of(number)
                assert names == ["image.npy", "depth.npy", "json"]
                for name in ("image", "depth"):
                    content = file.extractfile(f"{key}.{name}.npy")
                    assert content is not None
                    array = np.load(io.BytesIO(content.read()), allow_pickle=False)
                    assert array.tobytes() == made[number][name].tobytes()
                number += 1
    assert number == 5


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar")
def test_tar_extracts_shards_and_numpy_maps_what_it_has_extracted(tmp_path: Path) -> None:
    (shard,) = record(tmp_path / "recording", [sample(3)])
    result = subprocess.run(
        ["tar", "-xvf", str(shard), "-C", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    assert len(result.stdout.split()) == 4
    mapped = np.load(tmp_path / f"{key_of(3)}.image.npy", mmap_mode="r")
    assert np.array_equal(mapped, sample(3)["image"])


def test_the_same_samples_make_the_same_file(tmp_path: Path) -> None:
    one, other = (record(tmp_path / name, [sample(i) for i in range(3)]) for name in "ab")
    assert one[0].read_bytes() == other[0].read_bytes()


# --- WebDataset ------------------------------------------------------------------------------------------------------


def test_webdataset_gives_the_same_samples_and_passes_over_the_description(tmp_path: Path) -> None:
    made = samples()[3:]  # the second of them is empty
    shards = record(tmp_path, made, shard_samples=2)
    found = by_webdataset(shards)
    assert len(found) == len(made) == len(Recording(tmp_path))
    for row, expected in zip(found, made, strict=True):
        own = {name for name in row if not name.startswith("__")}
        assert own == {f"{name}.npy" for name in arrays_of(expected)} | {"json"}
        for name, array in arrays_of(expected).items():
            assert (row[f"{name}.npy"].dtype, row[f"{name}.npy"].shape) == (array.dtype, array.shape)
            assert row[f"{name}.npy"].tobytes() == array.tobytes()
        assert same(row["json"], json_of(expected))


def test_webdataset_reads_each_dtype_and_shape(tmp_path: Path) -> None:
    made = {name: np.ones((2, 3), name) for name in DTYPES}
    made |= {"zero-d": np.array(3), "none": np.zeros((0, 3)), "deep": np.ones((1,) * 8)}
    (row,) = by_webdataset(record(tmp_path, [made]))
    for name, array in made.items():
        assert (row[f"{name}.npy"].dtype, row[f"{name}.npy"].shape) == (array.dtype, array.shape)


def test_webdataset_decodes_images(tmp_path: Path) -> None:
    made = [{"image": full_sample(i)["image"], "n": i} for i in range(3)]
    shards = record(tmp_path, made, encode={"image": "png"})
    for row, expected in zip(by_webdataset(shards), made, strict=True):
        assert np.array_equal(row["image.png"], expected["image"])
        assert row["json"] == {"n": expected["n"]}
    assert np.allclose(by_webdataset(shards, "torchrgb")[0]["image.png"].numpy()[0], made[0]["image"][..., 0] / 255)


def test_webdataset_reads_a_shard_that_was_left_unfinished_up_to_there(tmp_path: Path) -> None:
    (shard,) = record(tmp_path, [sample(i) for i in range(3)])
    partial = tmp_path / "samples-00-00000.tar.partial"
    partial.write_bytes(shard.read_bytes()[:-1024])
    assert [row["__key__"] for row in by_webdataset([partial])] == [key_of(i) for i in range(3)]


# --- Hugging Face ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "whole"])
@pytest.mark.parametrize("encoding", ["npy", "png"])
def test_hugging_face_gives_the_same_samples(datasets: Any, tmp_path: Path, encoding: str, streaming: bool) -> None:
    made = [full_sample(i) for i in range(2)]
    shards = record(tmp_path / "recording", made, shard_samples=1, encode={"image": encoding})
    found = by_hugging_face(datasets, shards, tmp_path / "cache", streaming)
    assert [row["__key__"] for row in found] == Recording(shards).keys
    for row, expected in zip(found, made, strict=True):
        assert {*row} == {
            "__key__",
            "__url__",
            "json",
            f"image.{encoding}",
            "ids.npy",
            "depth.npy",
            "normals_camera.npy",
        }
        if encoding == "png":
            assert isinstance(row["image.png"], Image.Image)
        assert np.array_equal(np.asarray(row[f"image.{encoding}"]), expected["image"])
        for name in ("ids", "depth", "normals_camera"):
            assert np.array_equal(np.asarray(row[f"{name}.npy"], expected[name].dtype), expected[name])
        assert same(row["json"], json_of(expected))


# What Arrow has no type for.
NO_ARROW = ("complex64", "complex128")


def test_hugging_face_knows_the_dtypes(datasets: Any, tmp_path: Path) -> None:
    made = {name: np.ones((2, 3), name) for name in DTYPES if name not in NO_ARROW}
    shards = record(tmp_path / "recording", [made, made])
    files = {"train": [str(shard) for shard in shards]}
    rows = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    for name, array in made.items():
        assert rows.features[f"{name}.npy"].feature.feature.dtype == name
        found = rows.with_format("numpy")[0][f"{name}.npy"]
        assert np.array_equal(found, array)


def labels_alone(number: int, empty: bool) -> Sample:
    return {"labels": (empty_sample if empty else full_sample)(number)["labels"], "mask": np.zeros((0, 4), np.float32)}


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "whole"])
def test_hugging_face_takes_samples_that_show_nothing(datasets: Any, tmp_path: Path, streaming: bool) -> None:
    """Tables without rows are empty lists, of which Arrow cannot tell what they would hold."""
    made = [labels_alone(i, empty=i in (0, 1, 2, 3, 7)) for i in range(8)]
    shards = record(tmp_path / "recording", made)
    found = by_hugging_face(datasets, shards, tmp_path / "cache", streaming)
    for row, expected in zip(found, made, strict=True):
        table = row["json"]["labels"]["instances"]
        for name, column in json_of(expected)["labels"]["instances"].items():
            assert same(table[name], column)
        assert np.asarray(row["mask.npy"]).size == 0


def test_hugging_face_needs_something_to_see_in_the_first_five_samples(datasets: Any, tmp_path: Path) -> None:
    """Its limit, not ours: it takes the types of all samples from the first five (datasets 5). Streaming does not mind."""
    made = [labels_alone(i, empty=i < 5) for i in range(6)]
    shards = record(tmp_path / "recording", made)
    (*_, last) = by_hugging_face(datasets, shards, tmp_path / "cache", streaming=True)
    assert last["json"]["labels"]["instances"]["id"] == made[5]["labels"]["instances"]["id"].tolist()
    with pytest.raises(Exception, match="error occurred while generating"):
        by_hugging_face(datasets, shards, tmp_path / "cache", streaming=False)


def test_nothing_is_written_beside_the_shards_by_other_readers(datasets: Any, tmp_path: Path) -> None:
    shards = record(tmp_path / "recording", [sample(0)])
    by_webdataset(shards)
    by_hugging_face(datasets, shards, tmp_path / "cache", streaming=True)
    assert os.listdir(tmp_path / "recording") == [shards[0].name]


def test_large_arrays_begin_on_a_page_and_are_read_by_all(tmp_path: Path) -> None:
    """The header has spaces for that; how many depends on where it lies."""
    made = [
        {
            "a": np.full((300, 301), i, np.uint8),
            "b": np.full((7, i), i),
            "c": np.full(70_000 + i, i, np.float32),
            "i": i,
        }
        for i in range(20)
    ]
    (shard,) = record(tmp_path, made)
    recording = Recording(shard)
    again = Recording(shard)  # by its index file
    assert list(tmp_path.glob(".*.index.npz"))
    by_others = by_webdataset([shard])
    with tarfile.open(shard) as archive:
        for member in archive:
            if member.name.endswith((".a.npy", ".c.npy")):
                data = shard.read_bytes()[member.offset_data :][: member.size]
                elements = len(data) - np.load(io.BytesIO(data)).nbytes
                assert (member.offset_data + elements) % 4096 == 0
    for i, one in enumerate(made):
        for name in "abc":
            np.testing.assert_array_equal(recording[i][name], one[name])
            np.testing.assert_array_equal(again[i][name], one[name])
            np.testing.assert_array_equal(by_others[i][f"{name}.npy"], one[name])
        assert recording[i]["a"].ctypes.data % 4096 == 0
