"""The index that is kept beside a shard: it saves a pass over the headers, and whatever it holds does no harm."""

import io
import json
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_samples import assert_sample, honest, key_of, readable, record, run, sample, shard_of

from blendtorch.recording import Recording, shard_index
from blendtorch.recording.index_file import index_path

COUNT = 4


def indexed(folder: Path) -> tuple[Path, Path]:
    """A shard with an index, and the index."""
    (shard,) = record(folder, [sample(number) for number in range(COUNT)])
    Recording(shard)
    return shard, index_path(shard)


def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the passes over headers from now on."""
    passes: list[int] = []
    scan = shard_index.scan

    def counted(descriptor: int) -> Any:
        passes.append(descriptor)
        return scan(descriptor)

    monkeypatch.setattr(shard_index, "scan", counted)
    return passes


def check_all(source: Path) -> None:
    recording = Recording(source)
    assert (recording.keys, recording.problems) == ([key_of(number) for number in range(COUNT)], [])
    for number, found in enumerate(recording):
        assert_sample(found, sample(number))


def test_the_second_opening_reads_no_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard, index = indexed(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([shard.name, index.name])
    passes = scans(monkeypatch)
    check_all(tmp_path)
    assert passes == []
    assert Recording(tmp_path).schema == Recording(tmp_path).schema


def test_an_index_says_the_same_as_the_headers(tmp_path: Path) -> None:
    broken = shard_of(tmp_path, honest("a"), honest("b")[:-1024], honest("c"), honest("a"), honest("z"))
    first, second = Recording(broken), Recording(broken)
    assert first._shards[0].index.skipped
    for name in ("keys", "skipped", "problems", "schema", "metadata", "parts"):
        assert getattr(first, name) == getattr(second, name)


def test_an_index_of_a_shard_that_has_changed_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard, _ = indexed(tmp_path)
    (other,) = record(tmp_path / "other", [{**sample(number), "note": "longer than before"} for number in range(2)])
    state = shard.stat()
    passes = scans(monkeypatch)
    for size, time in ((True, False), (False, True)):
        content = other.read_bytes() if size else other.read_bytes().ljust(state.st_size, b"\0")
        shard.write_bytes(content)
        os.utime(shard, ns=(0, state.st_mtime_ns + (0 if not time else 1)))
        assert Recording(tmp_path)[1]["note"] == "longer than before"
    assert len(passes) == 2


def test_no_index_is_kept_of_shards_that_are_not_ended(tmp_path: Path) -> None:
    (shard,) = record(tmp_path, [sample(number) for number in range(COUNT)])
    shard = shard.rename(shard.with_name(shard.name + ".partial"))
    shard.write_bytes(shard.read_bytes()[:-1024])
    check_all(tmp_path)
    shard.rename(shard.with_name("copied.tar"))
    Recording(tmp_path)
    assert os.listdir(tmp_path) == ["copied.tar"]


def test_an_index_can_be_read_by_who_can_read_the_shard(tmp_path: Path) -> None:
    (shard,) = record(tmp_path, [sample(0)])
    shard.chmod(0o640)
    Recording(shard)
    assert index_path(shard).stat().st_mode & 0o777 == 0o640


def test_an_index_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    (shard,) = record(tmp_path, [sample(number) for number in range(COUNT)])
    index_path(shard).mkdir()  # in its place
    check_all(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([shard.name, index_path(shard).name])


# --- Lies ------------------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any], dict[str, np.ndarray]], None]


def rewrite(index: Path, change: Change) -> None:
    """Changes what an index says: its JSON, and its arrays."""
    with np.load(index) as file:
        arrays = {name: file[name].copy() for name in file.files}
    about = json.loads(arrays.pop("about").tobytes())
    change(about, arrays)
    with open(index, "wb") as stream:
        np.savez(stream, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)


def about(**changes: Any) -> Change:
    return lambda said, arrays: said.update(changes)


def array(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(said: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = make(arrays[name])

    return change


def put(name: str, place: Any, value: Any) -> Change:
    def change(said: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays[name][place] = value

    return change


def kind(place: int, value: Any) -> Change:
    """Changes dtype (0), shape (1) or the header's size (2) of the first kind of array."""

    def change(said: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        said["kind_table"][0][place] = value

    return change


def members(*values: Any) -> Change:
    def change(said: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        said["members"][: len(values)] = values

    return change


# Of the shard: members image.npy, depth.npy, json; kinds uint8 4x4x3 and float32 4x4.
LIES: dict[str, Change] = {
    "another version": about(version=2),
    "stale size": lambda said, arrays: said["stamp"].__setitem__(0, 1),
    "stale time": lambda said, arrays: said["stamp"].__setitem__(1, 1),
    "stamp is a number": about(stamp=1),
    "offset beyond the file": put("offsets", (0, 0), 1 << 40),
    "offset at the end": lambda said, arrays: put("offsets", (0, 0), said["stamp"][0])(said, arrays),
    "largest offset": put("offsets", (0, 0), np.iinfo(np.int64).max),
    "largest size": put("sizes", (0, 0), np.iinfo(np.int64).max),
    "smallest offset": put("offsets", (0, 0), np.iinfo(np.int64).min),
    "negative offset of json": put("offsets", (1, 2), -1),
    "negative offset and kind": put("offsets", (1, 0), -7),
    "negative size": put("sizes", (0, 2), -5),
    "other size": put("sizes", (0, 0), 3),
    "no kind of an array": put("kinds", (0, 0), -1),
    "kind beyond the table": put("kinds", (0, 0), 99),
    "another kind": put("kinds", (0, 0), 1),
    "kind of json": put("kinds", (0, 2), 0),
    "smallest kind": put("kinds", (0, 0), np.iinfo(np.int32).min),
    "offsets are floats": array("offsets", lambda a: a.astype(float)),
    "offsets are int32": array("offsets", lambda a: a.astype(np.int32)),
    "offsets are unsigned": array("offsets", lambda a: a.astype(np.uint64)),
    "offsets are big-endian": array("offsets", lambda a: a.astype(">i8")),
    "offsets are objects": array("offsets", lambda a: a.astype(object)),
    "offsets are flat": array("offsets", np.ravel),
    "offsets are transposed": array("offsets", np.transpose),
    "offsets have one row less": array("offsets", lambda a: a[1:]),
    "sizes have one column less": array("sizes", lambda a: a[:, 1:]),
    "kinds are truths": array("kinds", lambda a: a > 0),
    "kinds are int64": array("kinds", lambda a: a.astype(np.int64)),
    "keys are texts": array("keys", lambda a: a.astype("U")),
    "keys are numbers": array("keys", lambda a: np.arange(len(a))),
    "keys are a table": array("keys", lambda a: a[:, None]),
    "one key less": array("keys", lambda a: a[1:]),
    "keys that are no texts": array("keys", lambda a: np.array([b"\xff"] * len(a))),
    "keys that are paths": array("keys", lambda a: np.array([b"../%d" % i for i in range(len(a))])),
    "keys with nulls": array("keys", lambda a: np.array([b"a\0%d" % i for i in range(len(a))])),
    "empty keys": array("keys", lambda a: np.zeros(len(a), "S1")),
    "the same key": array("keys", lambda a: a[[0] * len(a)]),
    "no keys": lambda said, arrays: arrays.__delitem__("keys"),
    "unknown dtype": kind(0, "object"),
    "dtype is a list": kind(0, []),
    "dtype is none": kind(0, None),
    "larger shape": kind(1, [1000, 1000, 3]),
    "huge shape": kind(1, [10**30]),
    "negative shape": kind(1, [-4, -4, 3]),
    "negative lengths": kind(1, [-1, -48]),
    "shape of fractions": kind(1, [4.0, 4.0, 3.0]),
    "shape of truths": kind(1, [True, 48]),
    "shape of texts": kind(1, ["4", "4", "3"]),
    "shape is a text": kind(1, "443"),
    "shape is a number": kind(1, 48),
    "shape is none": kind(1, None),
    "shape in shape": kind(1, [[4], [4], [3]]),
    "too many dimensions": kind(1, [1] * 40 + [48]),
    "no elements, too many rows": kind(1, [0, 10**30]),
    "header is a fraction": kind(2, 128.0),
    "other header": kind(2, 64),
    "header is a text": kind(2, "128"),
    "kind of two": lambda said, arrays: said["kind_table"][0].pop(),
    "kind table is an object": about(kind_table={}),
    "kind table is none": about(kind_table=None),
    "members are numbers": members(1, 2, 3),
    "members are lists": members([], []),
    "members are none": about(members=None),
    "members are a text": about(members="abc"),
    "members are an object": about(members={"image.npy": 0, "depth.npy": 1, "json": 2}),
    "a member less": about(members=["image.npy", "json"]),
    "no json": members("image.npy", "depth.npy", "x.npy"),
    "json twice": members("json", "depth.npy", "json"),
    "a member twice": members("depth.npy", "depth.npy"),
    "a member of no kind": members("image.mp4"),
    "a member without kind": members("image"),
    "a member in a path": members("../../image.npy"),
    "an image as an array": members("image.png"),
    "end is a text": about(end="x"),
    "skipped is a text": about(skipped="x"),
    "skipped is a list": about(skipped=[1]),
    "skipped is negative": about(skipped=-5),
    "problems are none": about(problems=None),
    "problems are a text": about(problems="abc"),
    "problems are numbers": about(problems=[1, None]),
    "description is no json": about(description="{"),
    "description is a number": about(description=1),
    "description of a newer version": about(description='{"format": "blendtorch recording", "version": 2}'),
    "no description": lambda said, arrays: said.pop("description"),
    "nothing": lambda said, arrays: said.clear(),
}


@pytest.mark.parametrize("name", LIES)
def test_an_index_that_lies_is_made_anew(tmp_path: Path, name: str) -> None:
    shard, index = indexed(tmp_path)
    before = index.read_bytes()
    rewrite(index, LIES[name])
    assert index.read_bytes() != before
    check_all(shard)
    check_all(shard)  # with the one that was made anew


def npz(**contents: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def claims(shape: tuple[int, ...], content: bytes = b"", descr: str = "|u1") -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": descr, "fortran_order": False, "shape": shape})
    return head.getvalue() + content


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return open, (str(self.path), "w")


FILES: dict[str, Callable[[bytes, Path], bytes]] = {
    "empty": lambda honest, trace: b"",
    "text": lambda honest, trace: b"hello",
    "cut": lambda honest, trace: honest[: len(honest) // 2],
    "cut at its end": lambda honest, trace: honest[:-5],
    "empty zip": lambda honest, trace: npz(),
    "pickle": lambda honest, trace: pickle.dumps(Bomb(trace)),
    "pickle in an array": lambda honest, trace: npz(about=claims((1,), pickle.dumps(Bomb(trace)), "|O")),
    "an array alone": lambda honest, trace: claims((3,), b"abc"),
    "an array alone that claims a terabyte": lambda honest, trace: claims((1 << 40,)),
    "an array that claims a terabyte": lambda honest, trace: npz(about=claims((1 << 40,), b"abc")),
    "an array that claims all": lambda honest, trace: npz(about=claims((1 << 62,), b"abc")),
    "a thousand times compressed": lambda honest, trace: npz(about=claims((1 << 25,), bytes(1 << 25))),
    "a header that is open": lambda honest, trace: npz(about=b"\x93NUMPY\1\0\x08\0{(     \n"),
    "unknown compression": lambda honest, trace: npz(about=claims((3,), b"abc")).replace(b"\x08\0", b"\x63\0"),
    "encrypted": lambda honest, trace: (
        npz(about=claims((3,), b"abc"))
        .replace(b"PK\3\4\x14\0\0\0", b"PK\3\4\x14\0\1\0")
        .replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0")
    ),
    "damaged deflate": lambda honest, trace: npz(about=claims((300,), os.urandom(300))).replace(b"NUMPY", b"\xff" * 5),
    "deep": lambda honest, trace: npz(about=claims((100_000,), b"[" * 100_000)),
    "no utf-8": lambda honest, trace: npz(about=claims((3,), b"\xff\xfe{")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_place_of_an_index_does_no_harm(tmp_path: Path, name: str) -> None:
    shard, index = indexed(tmp_path / "r")
    content = FILES[name](index.read_bytes(), tmp_path / "trace")
    index.write_bytes(content)
    tracemalloc.start()
    check_all(shard)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert not (tmp_path / "trace").exists()
    assert len(list((tmp_path / "r").iterdir())) == 2


def test_damaged_indexes_do_no_harm(tmp_path: Path) -> None:
    shard, index = indexed(tmp_path)
    honest_bytes = index.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(100):
        changed = bytearray(honest_bytes)
        for at in rng.integers(0, len(changed), rng.integers(1, 4)):
            changed[at] ^= 1 << rng.integers(8)
        index.write_bytes(changed)
        found = readable(shard)
        assert len(found) == COUNT
        for key, one in found.items():
            assert_sample(one, sample(int(key[:9])))


def test_an_index_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    shard, index = indexed(tmp_path)
    index.unlink()
    os.mkfifo(index)
    code = """
import signal, sys
signal.alarm(5)
from blendtorch.recording import Recording
print(len(Recording(sys.argv[1])))
"""
    assert int(run(code, shard)) == COUNT


def test_an_index_with_its_shard_in_another_folder_is_used_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    indexed(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    passes = scans(monkeypatch)
    check_all(tmp_path / "new")
    assert passes == []
