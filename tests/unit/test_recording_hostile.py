"""Shards made to do harm: nothing is executed, nothing is written, memory is bounded, and the rest is read."""

import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_samples import (
    HONEST,
    assert_sample,
    description,
    header,
    honest,
    member,
    npy,
    npy_of,
    readable,
    record,
    run,
    sample,
    shard_of,
)

from blendtorch.errors import MissingFileError, RecordingError
from blendtorch.recording import Recording
from blendtorch.recording.tar import BLOCK, parse_header

GIB = 1 << 30
ZEROS = np.zeros(3, np.float32)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return open, (str(self.path), "w")


def check_skipped(path: Path, skipped: int | None = 1) -> Recording:
    """Fails unless only the honest samples "a" and "z" come from a shard, and the other one is counted."""
    tracemalloc.start()
    found = readable(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * path.stat().st_size + (2 << 20)
    assert sorted(found) == ["a", "z"]
    for one in found.values():
        assert_sample(one, HONEST)
    recording = Recording(path)
    assert skipped is None or recording.skipped == skipped
    assert recording.problems
    return recording


def between(tmp_path: Path, *members: bytes) -> Path:
    return shard_of(tmp_path / "r", honest("a"), *members, honest("z"), name="made.tar.partial")


# --- .npy ------------------------------------------------------------------------------------------------------------

SAID = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
ARRAYS: dict[str, bytes] = {
    "empty": b"",
    "magic alone": b"\x93NUMPY",
    "version 2": npy_of(SAID, ZEROS.tobytes(), b"\2\0"),
    "version 3": npy_of(SAID, ZEROS.tobytes(), b"\3\0"),
    "header beyond the member": b"\x93NUMPY\1\0\xff\xff" + b" " * 100,
    "long header": npy_of(SAID + " " * 5000, ZEROS.tobytes()),
    "more than it holds": npy(ZEROS, shape=(4,)),
    "less than it holds": npy(ZEROS, shape=(2,)),
    "more by far": npy(ZEROS, shape=(10**18,)),
    "more than a machine has bits": npy(ZEROS, shape=(10**100,)),
    "no elements in too many rows": npy(np.zeros(0, np.float32), shape=(0, 10**30)),
    "no elements in rows of many": npy(np.zeros(0, np.float32), shape=(2**62, 2**62, 0)),
    "negative": npy(ZEROS, shape=(-3,)),
    "negative twice": npy(ZEROS, shape=(-1, -3)),
    "truth for a length": npy(np.zeros(1, np.float32), shape=(True,)),
    "truth for lengths": npy(ZEROS, shape=(True, 3)),
    "too many dimensions": npy(ZEROS, shape=(1,) * 33 + (3,)),
    "shape is a list": npy(ZEROS, shape=[3]),
    "shape is a number": npy(ZEROS, shape=3),
    "lengths are texts": npy(ZEROS, shape=("3",)),
    "lengths are fractions": npy(ZEROS, shape=(3.0,)),
    "fortran": npy(np.zeros((1, 3), np.float32), fortran_order=True),
    "fortran is a number": npy(ZEROS, fortran_order=0),
    "big-endian": npy(ZEROS.astype(">f4")),
    "structured": npy(np.zeros(3, [("a", "<f4")])),
    "structured of names": npy_of("{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (3,), }"),
    "subarrays": npy_of("{'descr': ('<f4', (3,)), 'fortran_order': False, 'shape': (1,), }", ZEROS.tobytes()),
    "texts": npy(np.array(["abc"])),
    "bytes": npy(np.array([b"abc"])),
    "void": npy(np.zeros(3, "V4")),
    "times": npy(np.zeros(3, "<M8[s]")),
    "long doubles": npy(np.zeros(3, np.longdouble)),
    "a dtype of no bytes": npy_of("{'descr': '|S0', 'fortran_order': False, 'shape': (10,), }"),
    "a dtype with a comma": npy_of("{'descr': 'f4,f4', 'fortran_order': False, 'shape': (3,), }", bytes(24)),
    "a dtype of a class": npy_of("{'descr': 'object', 'fortran_order': False, 'shape': (1,), }"),
    "a dtype of None": npy_of("{'descr': None, 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    "no dict": npy_of("[1, 2]"),
    "a key missing": npy_of("{'descr': '<f4', 'shape': (3,), }", ZEROS.tobytes()),
    "a key too many": npy_of(SAID[:-1] + "'x': 1}", ZEROS.tobytes()),
    "a key that is none": npy_of("{[]: 1}"),
    "code": npy_of("__import__('os').system('true')"),
    "a call": npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (lambda: (3,))(), }", ZEROS.tobytes()),
    "a comprehension": npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (*(3 for _ in 'a'),), }"),
    "an open bracket": npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3,"),
    "brackets": npy_of("(" * 300),
    "signs": npy_of("-" * 400 + "1"),
    "an open text": npy_of("'''"),
    "numbers of Python 2": npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3L,), }", ZEROS.tobytes()),
    "bad indentation": npy_of("  1\n 2\n   3"),
    "a null": npy_of("{'descr': '<f4'\0, 'fortran_order': False, 'shape': (3,), }"),
    "latin 1": npy_of("{'descr': '\xff', 'fortran_order': False, 'shape': (3,), }"),
    "a large number": npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 350 + ",), }"),
    "a power": npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9,), }"),
    "a zip": b"PK\3\4" + bytes(200),
    "a pickle": pickle.dumps({"x": 1}),
}


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_lie_are_passed_over(tmp_path: Path, name: str) -> None:
    path = between(tmp_path, member("k.x.npy", ARRAYS[name]), member("k.json", b"{}"))
    assert "k.x.npy" in check_skipped(path).problems[0]


def test_a_pickle_in_an_array_is_not_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = npy(np.zeros(1), descr="|O")[:-8] + pickle.dumps(Bomb(trace))
    check_skipped(between(tmp_path, member("k.x.npy", content), member("k.json", b"{}")))
    for extension in ("pkl", "pickle", "pyd", "pth", "npz"):
        check_skipped(between(tmp_path, member(f"k.x.{extension}", pickle.dumps(Bomb(trace))), member("k.json", b"{}")))
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace))).close()
    assert trace.exists()  # it would have been noticed


# --- tar -------------------------------------------------------------------------------------------------------------

JSON = member("k.json", b"{}")
NO_SAMPLES: dict[str, bytes] = {
    "absolute path": member("/etc/k.x.npy", npy(ZEROS)) + member("/etc/k.json", b"{}"),
    "parent": member("../k.x.npy", npy(ZEROS)) + member("../k.json", b"{}"),
    "parent within": member("k/../../k.x.npy", npy(ZEROS)) + member("k/../../k.json", b"{}"),
    "folder": member("d/k.x.npy", npy(ZEROS)) + member("d/k.json", b"{}"),
    "windows path": member("c:\\k.x.npy", npy(ZEROS)) + member("c:\\k.json", b"{}"),
    "no key": member(".x.npy", npy(ZEROS)) + member(".json", b"{}"),
    "no name": member("", b"") + member("k", b""),
    "dots": member("..x.npy", npy(ZEROS)) + member("..json", b"{}"),
    "long key": member("k" * 65 + ".json", b"{}"),
    "unicode key": member("ä.json", b"{}"),
    "key with a null": member("k\0k.json", b"{}"),
    "key with a newline": member("k\n.json", b"{}"),
    "key of escapes": member("\x1b[31m.json", b"{}"),
    "field with a path": member("k.x/y.npy", npy(ZEROS)) + JSON,
    "field of parents": member("k./../../x.npy", npy(ZEROS)) + JSON,
    "field with dots": member("k.x.y.npy", npy(ZEROS)) + JSON,
    "no field": member("k..npy", npy(ZEROS)) + JSON,
    "unknown kind": member("k.x.mp4", b"") + JSON,
    "json of a field": member("k.x.json", b"{}") + JSON,
    "in capitals": member("k.x.NPY", npy(ZEROS)) + JSON,
    "a member twice": member("k.x.npy", npy(ZEROS)) * 2 + JSON,
    "no json": member("k.x.npy", npy(ZEROS)),
    "a second description": description() + member("k.jsom", b"{}"),
    "hard link": member("k.x.npy", b"", b"1") + member("l.json", b"{}", b"1"),
    "symbolic link": member("k.x.npy", b"", b"2") + member("k.json", b"", b"2"),
    "device": member("k.x.npy", b"", b"3") + member("k.json", b"", b"4"),
    "directory": member("k.json", b"", b"5"),
    "pipe": member("k.json", b"", b"6"),
    "sparse file": member("k.json", b"{}", b"S"),
    "unknown type": member("k.json", b"{}", b"Z"),
    "pax names": member("pax", b"17 path=evil.json\n", b"x") + member("k.jsom", b"{}"),
    "GNU long name": member("././@LongLink", b"evil.json\0", b"L") + member("k.jsom", b"{}"),
    "prefix": member("k.json", b"{}", prefix=b"../../etc"),
    "no ustar": member("k.json", b"{}", magic=bytes(8)),
}


@pytest.mark.parametrize("name", NO_SAMPLES)
def test_members_that_are_none_of_a_sample_are_passed_over_and_told(tmp_path: Path, name: str) -> None:
    check_skipped(between(tmp_path, NO_SAMPLES[name]), skipped=None)
    assert sorted(os.listdir(tmp_path)) == ["r"]
    assert os.listdir(tmp_path / "r") == ["made.tar.partial"]


def test_a_sample_in_parts_is_none(tmp_path: Path) -> None:
    """Its members lie together; what another member cuts in two would come without its first half."""
    array = member("k.x.npy", npy(ZEROS))
    for other in (honest("b"), member("link", b"", b"2"), member("", b""), description()):
        found = readable(between(tmp_path, array, other, JSON))
        assert "k" not in found or "x" in found["k"]


SIZES: dict[str, bytes] = {
    "8 GiB": b"%011o\0" % (8 * GIB - 1),
    "8 GiB of digits": b"777777777777",
    "base 256": b"\x80" + (100).to_bytes(11, "big"),
    "base 256, huge": b"\x80" + b"\xff" * 11,
    "base 256, negative": b"\xff" * 12,
    "negative": b"-0000000100\0",
    "negative and huge": b"-7777777777\0",
    "signed": b"+0000000002\0",
    "underscores": b"0_0_0_0_0_2\0",
    "python's octal": b"0o00000002\0\0",
    "no octal": b"00000000009\0",
    "hexadecimal": b"0x000000002\0",
    "empty": bytes(12),
    "spaces": b" " * 12,
    "letters": b"abcdefghijk\0",
    "not ascii": "²".encode() * 6,
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_lie_end_the_shard_there(tmp_path: Path, name: str) -> None:
    path = between(tmp_path, header(b"k.json", SIZES[name]) + b"{}".ljust(BLOCK, b"\0"))
    tracemalloc.start()
    found = readable(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20
    assert_sample(found.pop("a"), HONEST)
    if found:  # read as GNU tar reads it: leading blanks and a sign, or as nothing
        assert_sample(found.pop("z"), HONEST)
    assert not {*found} - {"k"}


@pytest.mark.parametrize("name", ["negative", "negative and huge", "base 256, negative"])
def test_no_size_leads_backwards(name: str) -> None:
    with pytest.raises(RecordingError):
        parse_header(header(b"k.json", SIZES[name]))


def test_members_without_content_take_no_memory(tmp_path: Path) -> None:
    """One block each, and nothing is kept of them."""
    path = between(tmp_path, member("k.x.npy", b"") * 4000)
    tracemalloc.start()
    assert sorted(readable(path)) == ["a", "z"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size // 2


def test_fields_without_number_take_no_more_memory_than_the_file(tmp_path: Path) -> None:
    """A table of N samples and F fields would have N x F places if each sample brought fields of its own."""
    count = 1000
    members = [member(f"k{i}.f{i}.npy", npy(np.zeros(0, np.uint8))) + member(f"k{i}.json", b"{}") for i in range(count)]
    path = between(tmp_path, *members)
    tracemalloc.start()
    readable(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * path.stat().st_size


# --- The description -------------------------------------------------------------------------------------------------

DESCRIPTIONS: dict[str, bytes] = {
    "no json": member("__blendtorch__", b"{"),
    "no object": member("__blendtorch__", b"[]"),
    "a number": member("__blendtorch__", b"1"),
    "empty": member("__blendtorch__", b""),
    "nothing in it": member("__blendtorch__", b"{}"),
    "another format": description(format="webdataset"),
    "metadata is a list": description(metadata=[1]),
    "metadata is a text": description(metadata="a"),
    "schema is a list": description(schema=[1]),
    "schema of two": description(schema={"x": ["uint8", [1]]}),
    "schema of a number": description(schema={"x": 1}),
    "shape of fractions": description(schema={"x": ["uint8", [1.5], "npy"]}),
    "shape of truths": description(schema={"x": ["uint8", [True], "npy"]}),
    "negative shape": description(schema={"x": ["uint8", [-1], "npy"]}),
    "shape is a number": description(schema={"x": ["uint8", 3, "npy"]}),
    "deep": member("__blendtorch__", b'{"format":' + b"[" * 100_000),
    "long integer": member("__blendtorch__", b'{"format":' + b"9" * 100_000 + b"}"),
    "claims 8 GiB": header(b"__blendtorch__", b"77777777777\0") + bytes(BLOCK),
    "too large": member("__blendtorch__", b" " * ((1 << 24) + 1)),
    "a link": member("__blendtorch__", b"", b"2"),
    "another name": member("__blendtorcH__", b"{}"),
    "a damaged header": b"\xff" + description()[1:],
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    path = shard_of(tmp_path / "r", honest("a"), begin=DESCRIPTIONS[name])
    with pytest.raises(RecordingError, match=r"made\.tar .*Expected what btt\.RecordingWriter") as caught:
        Recording(path)
    assert len(str(caught.value)) < 1000
    assert os.listdir(tmp_path / "r") == ["made.tar"]


@pytest.mark.parametrize("version", [2, 10**30, "x" * 10**5, None, [1]], ids=str)
def test_a_newer_version_is_told(tmp_path: Path, version: Any) -> None:
    path = shard_of(tmp_path / "r", honest("a"), begin=description(version=version))
    with pytest.raises(
        RecordingError, match=r"is of version .* this BlendTorch reads version 1. pip install --upgrade"
    ):
        Recording(path)


def test_a_description_may_say_what_is_not_so(tmp_path: Path) -> None:
    """The schema is what the arrays are, not what the description says they are."""
    said = {"x": ["uint8", [10**18], "png"], "ghost": ["f4", None, "npy"]}
    recording = Recording(shard_of(tmp_path / "r", honest("a"), begin=description(schema=said)))
    assert_sample(recording[0], HONEST)
    assert (recording.schema["x"].dtype, recording.schema["x"].shape) == ("float32", (3,))


def test_a_recording_that_its_reader_would_not_take_is_not_written(tmp_path: Path) -> None:
    """A description has 16 MiB at most. One that is larger would make all samples behind it unreadable."""
    from blendtorch.errors import BlendTorchError

    try:
        record(tmp_path, [{"n": 1}], metadata={"x": "x" * (1 << 24)})
    except BlendTorchError as error:
        assert "metadata" in str(error)  # noqa: PT017
    else:
        assert len(Recording(tmp_path)) == 1


# --- The folder ------------------------------------------------------------------------------------------------------


OPEN = """
import signal, sys
signal.alarm(5)
from blendtorch.recording import Recording
recording = Recording(sys.argv[1])
assert len(recording) == 1
print("\\n".join(recording.problems))
"""


def test_what_is_no_file_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    record(tmp_path, [sample(0)])
    (tmp_path / "folder.tar").mkdir()
    for name, target in {"nothing": "nowhere", "itself": "itself.tar", "zeros": "/dev/zero"}.items():
        (tmp_path / f"{name}.tar").symlink_to(target)
    problems = run(OPEN, tmp_path).splitlines()
    assert [name for name in ("folder", "itself", "nothing", "zeros") if any(f"{name}.tar" in p for p in problems)] == [
        "folder",
        "itself",
        "nothing",
        "zeros",
    ]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    record(tmp_path, [sample(0)])
    os.mkfifo(tmp_path / "odd.tar")
    assert "odd.tar" in run(OPEN, tmp_path)


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(MissingFileError, match=r"no recording nowhere.*looked for /.*Check the path"):
        Recording("nowhere")


def test_a_folder_without_shards_and_no_sources_are_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(MissingFileError, match=r"holds no shards \(\.tar\)"):
        Recording(tmp_path)
    with pytest.raises(MissingFileError, match="no"):
        Recording([])


def test_json_that_takes_the_place_of_an_array_does_no_harm(tmp_path: Path) -> None:
    lie = {"x": [1], "__types__": {"/x": f"array float32 {10**15}"}}
    path = between(tmp_path, member("k.x.npy", npy(ZEROS)), member("k.json", json.dumps(lie).encode()))
    assert sorted(readable(path)) == ["a", "z"]
