"""A recording as a sequence: indices, slices, sums, copies in other processes, many shards, memory."""

import gc
import mmap
import multiprocessing
import os
import pickle
import random
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_samples import assert_sample, description, header, key_of, member, npy_of, record, run, sample

from blendtorch.errors import MissingFileError
from blendtorch.recording import FieldSchema, Recording, RecordingSettings, RecordingWriter

COUNT = 10


STREAM = {"seed": 3, "scene": None, "script": {"name": "cube.py", "sha256": "0"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten samples in four shards."""
    path = tmp_path_factory.mktemp("ten")
    record(path, [sample(number) for number in range(COUNT)], shard_samples=3, metadata=STREAM)
    return path


def numbers(recording: Recording) -> list[int]:
    """The samples' numbers, by their content, which must be theirs."""
    found = [one["btindex"] for one in recording]
    for one, number in zip(recording, found, strict=True):
        assert_sample(one, sample(number))
    assert recording.keys == [key_of(number) for number in found]
    assert len(recording) == len(found)
    return found


# --- A sequence ------------------------------------------------------------------------------------------------------


def test_indices(folder: Path) -> None:
    recording = Recording(folder)
    for index in range(-COUNT, COUNT):
        assert_sample(recording[index], sample(index % COUNT))
    assert_sample(recording[np.int64(3)], sample(3))
    for index in (COUNT, -COUNT - 1, 10**30, -(10**30)):
        with pytest.raises(IndexError, match=rf"no sample {index}; the recording has {COUNT}"):
            recording[index]
    for other in ("0", 1.0, None, (0,)):
        with pytest.raises((TypeError, IndexError)):
            recording[other]  # type: ignore[call-overload]


def test_it_is_read_as_a_list_is(folder: Path) -> None:
    recording = Recording(folder)
    assert numbers(recording) == [*range(COUNT)]
    assert [one["btindex"] for one in reversed(recording)] == [*range(COUNT)][::-1]
    assert bool(recording)
    assert not recording[:0]


def test_slices_and_slices_of_slices(folder: Path) -> None:
    recording = Recording(folder)
    everything = [*range(COUNT)]
    rng = random.Random(0)
    bounds = [None, *range(-COUNT - 2, COUNT + 3)]
    for _ in range(30):
        part, expected = recording, everything
        for _ in range(rng.randrange(1, 4)):
            cut = slice(rng.choice(bounds), rng.choice(bounds), rng.choice([None, 1, 2, 3, -1, -2]))
            part, expected = part[cut], expected[cut]
        assert isinstance(part, Recording)
        assert numbers(part) == expected
        assert (part.schema, part.metadata, part.shards) == (recording.schema, recording.metadata, recording.shards)
    with pytest.raises(ValueError, match="zero"):
        recording[::0]
    with pytest.raises(IndexError, match="the recording has 2"):
        recording[3:5][2]


def test_sums(folder: Path, tmp_path: Path) -> None:
    record(tmp_path, [sample(number) for number in range(8, 14)], metadata={**STREAM, "classes": {"1": "cube"}})
    one, other = Recording(folder), Recording(tmp_path)
    both = one + other
    assert numbers(both) == [*range(14)]
    assert (both.skipped, one.skipped, other.skipped) == (2, 0, 0)
    assert "2 sample(s) have the key of one before" in both.problems[-1]
    assert one.problems == other.problems == []
    assert both.metadata["classes"] == {"1": "cube"}
    assert both.shards == one.shards + other.shards
    assert numbers(other + one) == [*range(8, 14), *range(8)]
    assert numbers(one[4:6] + other[::-1] + one[:2]) == [4, 5, 13, 12, 11, 10, 9, 8, 0, 1]
    assert numbers((one[2:] + other[3:])[::3]) == [2, 5, 8, 12]
    assert numbers(one[:3] + one[1:4]) == [0, 1, 2, 3]
    assert numbers(one[:0] + one[:0]) == []
    assert (one[:5] + one[5:]).skipped == 0


def test_a_seed_alone_does_not_tell_the_stream(tmp_path: Path) -> None:
    for name in "ab":
        with RecordingWriter(RecordingSettings(tmp_path / name, metadata={"seed": 0})) as writer:
            writer.write({"of": name}, "000000000-0000")
    assert [one["of"] for one in Recording(tmp_path / "a") + Recording(tmp_path / "b")] == ["a", "b"]


def test_names_of_classes_add_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, classes in (("a", {"1": "cube"}), ("b", {"1": "cube", "2": "car"}), ("c", {"1": "box"})):
        with RecordingWriter(RecordingSettings(tmp_path / name, metadata={"classes": classes})) as writer:
            writer.write({})
    assert Recording([tmp_path / "b", tmp_path / "a"]).metadata["classes"] == {"1": "cube", "2": "car"}
    assert not caplog.text
    assert Recording([tmp_path / "a", tmp_path / "c"]).metadata["classes"] == {"1": "cube"}
    assert "class 1 is called 'cube' and 'box'" in caplog.text


@pytest.mark.parametrize(("seed", "others"), [(3, 4), (None, 3), (3, None), (None, None)])
def test_samples_of_other_streams_are_others_whatever_they_are_called(
    tmp_path: Path, seed: int | None, others: int | None
) -> None:
    """Also where nothing tells whether the streams are the same: better twice than never."""
    for name, known, first in (("a", seed, 0), ("b", others, 100)):
        metadata = {} if known is None else {**STREAM, "seed": known}
        with RecordingWriter(RecordingSettings(tmp_path / name, metadata=metadata)) as writer:
            for rank in range(3):
                writer.write({"number": first + rank}, f"000000007-000{rank}")
    for both in (Recording(tmp_path / "a") + Recording(tmp_path / "b"), Recording([tmp_path / "a", tmp_path / "b"])):
        assert [one["number"] for one in both] == [0, 1, 2, 100, 101, 102]
        assert both.keys == [f"{stream}000000007-000{rank}" for stream in ("", "r1-") for rank in range(3)]
        assert both[4:].keys == ["r1-000000007-0001", "r1-000000007-0002"]
        assert (both.skipped, both.problems) == (0, [])


def test_sources(folder: Path, tmp_path: Path) -> None:
    shards = sorted(folder.glob("*.tar"))
    assert numbers(Recording(str(folder))) == [*range(COUNT)]
    assert numbers(Recording(shards[1])) == [3, 4, 5]
    assert numbers(Recording(str(shards[3]))) == [9]
    assert numbers(Recording([shards[2], str(shards[0])])) == [6, 7, 8, 0, 1, 2]
    twice = Recording([shards[0], folder])
    assert (numbers(twice), twice.skipped) == ([*range(COUNT)], 3)
    record(tmp_path, [sample(20)])
    assert len(Recording([tmp_path, shards[0]])) == 4
    assert Recording([tmp_path, shards[0]]).keys[1].startswith("r1-")  # of another stream
    with pytest.raises(MissingFileError, match="no recording"):
        Recording([shards[0], tmp_path / "nothing.tar"])


def test_shards_of_several_writers_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for worker, first in ((1, 0), (0, 10), (12, 20), (2, 30)):
        record(tmp_path, [sample(first + number) for number in range(3)], worker=worker, shard_samples=2)
    expected = [10, 11, 12, 0, 1, 2, 30, 31, 32, 20, 21, 22]
    assert numbers(Recording(tmp_path)) == expected


def test_schema_and_metadata(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed": 7, "classes": {"1": "cube"}, "odd": [None, 1.5, "ß"]}
    record(
        tmp_path,
        [
            {"a": np.zeros((2, 3), np.uint8), "b": np.zeros(4), "c": 1, "d": np.zeros(2)},
            {"a": np.zeros((5, 3), np.uint8), "b": np.zeros(4), "c": 2, "d": np.zeros((2, 2))},
        ],
        metadata=settings,
    )
    recording = Recording(tmp_path)
    assert recording.schema == {
        "a": FieldSchema("uint8", (None, 3), "npy"),
        "b": FieldSchema("float64", (4,), "npy"),
        "c": FieldSchema("int", None, "json"),
        "d": FieldSchema("float64", None, "npy"),
    }
    record(
        tmp_path,
        [
            {"a": np.zeros((2, 4), np.uint8), "b": np.zeros(4, np.float32), "c": "x", "e": np.zeros((0, 3)), "key": 1},
            {"a": np.zeros((2, 4), np.uint8), "late": np.ones(1)},
        ],
        worker=1,
        metadata=settings | {"more": 1},
    )
    recording = Recording(tmp_path)
    assert recording.schema == {
        "a": FieldSchema("uint8", (None, None), "npy"),
        "b": FieldSchema("", (4,), "npy"),
        "c": FieldSchema("", None, "json"),
        "d": FieldSchema("float64", None, "npy"),
        "e": FieldSchema("float64", (0, 3), "npy"),
        "key": FieldSchema("int", None, "json"),
        "late": FieldSchema("float64", (1,), "npy"),
    }
    assert {name: recording.metadata[name] for name in settings} == settings
    assert recording.metadata["more"] == 1
    for name in ("blendtorch", "python", "numpy"):
        assert isinstance(recording.metadata[name], str)


def test_parts_tell_what_is_in_each_shard(folder: Path) -> None:
    parts = Recording(folder).parts
    assert [keys for _, keys in parts] == [[key_of(n) for n in range(a, min(a + 3, COUNT))] for a in (0, 3, 6, 9)]
    assert all("blendtorch" in metadata for metadata, _ in parts)


# --- Memory ----------------------------------------------------------------------------------------------------------


def test_arrays_are_read_only_and_lie_in_the_file(folder: Path) -> None:
    image = Recording(folder)[4]["image"]
    assert not image.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        image.flags.writeable = True
    base = image
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def test_what_is_not_looked_at_is_not_read(tmp_path: Path) -> None:
    """A gigabyte of holes takes no room on the disk, and none in memory, unless somebody copies it."""
    code = """
import resource, sys
from blendtorch.recording import Recording
recording = Recording(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
views = [recording[i]["x"] for i in range(len(recording))]
assert sum(view.nbytes for view in views) == 1 << 30
assert int(views[0][0]) == int(views[-1][-1]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    path = tmp_path / "sparse.tar"
    size = 1 << 28
    start = npy_of(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}")
    with open(path, "wb") as file:
        file.write(description())
        for i in range(4):
            file.write(header(f"{i}.x.npy".encode(), b"%011o\0" % (size + len(start))) + start)
            file.seek(size + -(size + len(start)) % 512, os.SEEK_CUR)
            file.write(member(f"{i}.json", b"{}"))
        file.write(bytes(1024))
    assert int(run(code, path)) < 50_000  # KiB


def test_views_outlive_the_recording(folder: Path) -> None:
    views = [Recording(folder)[number]["image"] for number in range(COUNT)]
    gc.collect()
    for number, view in enumerate(views):
        assert np.array_equal(view, sample(number)["image"])


# --- Many shards -----------------------------------------------------------------------------------------------------

SHARDS = 160


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of more shards than are open at a time."""
    path = tmp_path_factory.mktemp("many")
    record(path, [sample(number) for number in range(2 * SHARDS)], shard_samples=2, fsync="never")
    return path


def open_files(folder: Path) -> int:
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith(str(folder)) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
def test_many_shards_are_not_all_open_at_a_time(many: Path) -> None:
    recording = Recording(many)
    assert open_files(many) == 0
    for number in range(0, len(recording), 2):
        recording[number]
    assert 0 < open_files(many) <= 200  # each twice: Python's mmap keeps a descriptor of its own
    del recording
    gc.collect()
    assert open_files(many) == 0


def test_views_of_all_shards_stay(many: Path) -> None:
    recording = Recording(many)
    views = [recording[number]["image"] for number in range(len(recording))]
    for number, view in enumerate(views):
        assert np.array_equal(view, sample(number)["image"])


def test_threads_read_many_shards(many: Path) -> None:
    recording = Recording(many)
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        rng = random.Random(seed)
        kept: list[tuple[int, Any]] = []
        try:
            for _ in range(250):
                number = rng.randrange(len(recording))
                found = recording[number]
                assert_sample(found, sample(number))
                kept.append((number, found["image"]))
            for number, image in kept:
                assert np.array_equal(image, sample(number)["image"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- Other processes -------------------------------------------------------------------------------------------------


def read_there(recording: Recording) -> list[int]:
    return numbers(recording)


def test_it_is_read_in_other_processes(folder: Path) -> None:
    recording = Recording(folder)
    recording[0]  # so that a file is open
    part = recording[::3] + recording[1:3]
    copy = pickle.loads(pickle.dumps(part))
    assert numbers(copy) == numbers(part)
    assert (copy.schema, copy.metadata, copy.shards) == (part.schema, part.metadata, part.shards)
    assert len(pickle.dumps(recording)) < 20_000
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(read_there, part).result(60) == [0, 3, 6, 9, 1, 2]


def test_forked_processes_read_at_the_same_time(folder: Path) -> None:
    """They share the open files, and so the place in them: reading must not depend on it."""
    code = """
import os, random, sys
from recording_samples import assert_sample, sample
from blendtorch.recording import Recording
recording = Recording(sys.argv[1])
[recording[number] for number in range(len(recording))]
children = []
for seed in range(3):
    children.append(os.fork())
    if not children[-1]:
        rng = random.Random(seed)
        for _ in range(150):
            number = rng.randrange(len(recording))
            assert_sample(recording[number], sample(number))
        os._exit(0)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
    assert run(code, folder).strip() == "[0, 0, 0]"


def test_nothing_is_left_open_by_opening(tmp_path: Path) -> None:
    with RecordingWriter(RecordingSettings(tmp_path, shard_samples=2)) as writer:
        for number in range(5):
            writer.write(sample(number))
        assert open_files(tmp_path) == 1
    assert open_files(tmp_path) == 0
    recordings = [Recording(tmp_path) for _ in range(3)]
    assert open_files(tmp_path) == 0
    assert len(recordings) == 3


def test_some_of_the_samples(folder: Path) -> None:
    recording = Recording(folder)
    assert numbers(recording[[3, 1, 4]]) == [3, 1, 4]
    assert numbers(recording[np.array([9, -1])]) == [9, 9]
    assert numbers(recording[np.arange(COUNT) % 2 == 1]) == [1, 3, 5, 7, 9]
    assert numbers(recording[[]]) == []
    assert numbers(recording[[5, 6, 7]][1:]) == [6, 7]
    with pytest.raises(IndexError):
        recording[[COUNT]]
