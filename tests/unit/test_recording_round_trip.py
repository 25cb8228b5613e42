"""What is recorded comes back equal, type for type; what cannot be recorded is refused by name, and nothing is written."""

import enum
from collections import OrderedDict, namedtuple
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact import assert_exact
from export_samples import full_sample, samples
from recording_samples import assert_sample, record, sample

from blendtorch.errors import BlendTorchError, ConfigError, EncodeError
from blendtorch.labels import check_labels
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter
from blendtorch.wire.body import DTYPES, MAX_DEPTH, MAX_NDIM

LAYOUTS = {
    "C": lambda a: a,
    "fortran": np.asfortranarray,
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1],
    "strided": lambda a: a[..., ::2],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "none": lambda a: a[:0],
    "none-inside": lambda a: a[:, :0],
    "zero-d": lambda a: a[1, 2, ...],
    "deep": lambda a: a[:2, :1].reshape((1,) * (MAX_NDIM - 1) + (2,)),
}


def back(folder: Path, one: dict[str, Any]) -> dict[str, Any]:
    record(folder, [one])
    (found,) = Recording(folder)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_each_dtype_and_layout_come_back_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    # All bits there are: NaN with payloads, infinities, subnormal numbers.
    bits = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, (4, 6, DTYPES[dtype].itemsize), np.uint8)
    array = bits.view(DTYPES[dtype])[..., 0]
    fields = {name: np.asarray(layout(array)) for name, layout in LAYOUTS.items()}
    found = back(tmp_path, fields)
    assert_sample(found, fields)
    assert all(one.dtype == np.dtype(dtype) and one.flags.c_contiguous and one.flags.aligned for one in found.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_within_dicts_come_back_type_for_type(tmp_path: Path, dtype: str) -> None:
    array = np.arange(24).reshape(4, 6).astype(dtype)
    if DTYPES[dtype].kind in "fc":
        array[0] = np.finfo(dtype).tiny, np.finfo(dtype).max, np.inf, -np.inf, np.nan, -0.0
    elif dtype != "bool":
        array[0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    nested = {"n": {name: [layout(array)] for name, layout in LAYOUTS.items()}, "s": list(array.ravel())}
    if DTYPES[dtype].kind == "c":
        del nested["n"]["deep"]
    assert_sample(back(tmp_path, nested), nested)


def test_complex_arrays_of_most_dimensions_within_dicts_come_back_or_are_refused(tmp_path: Path) -> None:
    """JSON has them as pairs, which is one dimension more than numpy 1 knows."""
    nested = {"culprit": [np.full((1,) * MAX_NDIM, 1j)]}
    try:
        found = back(tmp_path, nested)
    except EncodeError as error:
        found, refusal = nested, str(error)
    else:
        refusal = "culprit"
    assert "culprit" in refusal
    assert_sample(found, nested)


def test_nan_within_dicts_stays_nan_but_not_to_the_bit(tmp_path: Path) -> None:
    """JSON has one NaN; the columns of labels have no payloads in theirs."""
    odd = np.array([0xFFC00001], np.uint32).view(np.float32)
    found = back(tmp_path, {"array": odd, "labels": {"column": odd}})
    assert found["array"].view(np.uint32)[0] == 0xFFC00001
    assert np.isnan(found["labels"]["column"]).all()


VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "integers": [0, -1, 2**53 + 1, 2**63, -(2**400)],
    "floats": [0.1, -0.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf"), 1.0],
    "texts": ["", "ß\U0001f600\0\n", "\ud800"],
    "bytes": [b"", bytes(range(256))],
    "tuples": ((), (1, (2,)), [()], {"a": ()}),
    "lists": [[], [[]], [1, "a", None, [True]]],
    "dicts": {"": {}, "a/b": {"~": {"~1": {"/": (b"x",)}}}, "~01": np.float16(1), "0": [np.uint8(2)]},
    "other keys": {1: "a", 2.5: (), None: b"", (1, ("x", b"y")): {True: []}, b"k": np.int8(1), "t": 0, np.uint16(3): 1},
    "a dict with our own mark": {"__types__": {"/x": "tuple"}, "x": [1]},
    "a list of pairs": [["a", 1], ["b", 2]],
    "complex": {
        "array": np.array([[1j, -0.0]]),
        "scalar": np.complex64(complex(float("nan"), -1)),
        "0-d": np.array(2j),
    },
    "array subclasses of none": [np.bool_(True), np.float64(0.1), np.uint64(2**64 - 1), np.float16("inf")],
    "ünï/~ cødé": 1,
    "": "a field without a name",
    "json": 0,
    "npy": [np.zeros(0)],
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_type_for_type(tmp_path: Path, name: str) -> None:
    fields = {name: VALUES[name], "array": np.ones(2)}
    assert_sample(back(tmp_path, fields), fields)


def test_all_values_come_back_from_one_sample(tmp_path: Path) -> None:
    assert_sample(back(tmp_path, VALUES), VALUES)


def test_a_sample_without_fields_and_one_of_arrays_alone_come_back(tmp_path: Path) -> None:
    record(tmp_path, [{}, {"x": np.ones(2)}, {"json": np.zeros(2, np.int8), "__types__": np.ones(1)}])
    empty, arrays, names = Recording(tmp_path)
    assert empty == {}
    assert_sample(arrays, {"x": np.ones(2)})
    assert_sample(names, {"json": np.zeros(2, np.int8), "__types__": np.ones(1)})


def test_labels_of_all_kinds_come_back(tmp_path: Path) -> None:
    record(tmp_path, samples())
    for i, (found, expected) in enumerate(zip(Recording(tmp_path), samples(), strict=True)):
        assert_sample(found, expected, f"sample {i}")
        check_labels(found)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in ("uint16", "uint32", "uint64")])
def test_tensors_are_recorded_as_arrays(tmp_path: Path, dtype: str) -> None:
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    found = back(tmp_path, {"x": tensor.T, "d": {"y": tensor[0]}, "zero-d": tensor[1, 2]})
    expected = tensor.numpy()
    assert_sample(found, {"x": expected.T, "d": {"y": expected[0]}, "zero-d": np.array(expected[1, 2])})


def test_a_dict_and_its_arrays_are_not_changed_by_recording_them(tmp_path: Path) -> None:
    one, same = full_sample(), full_sample()
    one["image"].flags.writeable = False
    back(tmp_path, one)
    assert_sample(one, same)


def test_samples_may_differ_in_their_fields_and_in_what_these_are(tmp_path: Path) -> None:
    different: list[dict[str, Any]] = [
        {"a": np.zeros(2)},
        {"a": np.ones((3, 1), np.uint8), "b": 1},
        {"a": [1, 2], "b": np.ones(1)},
        {},
        {"c": np.zeros((0, 3))},
        {"a": np.zeros(2)},
    ]
    record(tmp_path, different)
    for found, expected in zip(Recording(tmp_path), different, strict=True):
        assert_sample(found, expected)


def test_a_shard_holds_samples_of_any_number_of_fields_between_them(tmp_path: Path) -> None:
    """An index has so many columns; a recording whose samples have other names each must not run out of them."""
    many = [{f"f{i}_{j}": np.full(1, j) for j in range(150)} for i in range(4)]
    record(tmp_path, many)
    recording = Recording(tmp_path)
    assert (len(recording), recording.problems) == (4, [])
    for found, expected in zip(recording, many, strict=True):
        assert_sample(found, expected)


# --- Refusals --------------------------------------------------------------------------------------------------------


class Level(enum.IntEnum):
    HIGH = 1


class Metres(float):
    pass


Pair = namedtuple("Pair", "x y")
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


REFUSED: dict[str, Any] = {
    "object array": np.array([None, {}], object),
    "datetime64": np.array(["2020-01-01"], "datetime64[D]"),
    "timedelta scalar": np.timedelta64(1, "s"),
    "longdouble": np.ones(2, np.longdouble),
    "longdouble scalar": np.longdouble(1),
    "text array": np.array(["a"]),
    "bytes array": np.array([b"a"]),
    "text scalar": np.str_("a"),
    "structured array": np.zeros(2, [("a", "f4")]),
    "structured scalar": np.zeros(2, [("a", "f4")])[0],
    "masked array": np.ma.masked_array([1.0, 2.0], [True, False]),
    "complex": 1j,
    "set": {1},
    "bytearray": bytearray(b"a"),
    "memoryview": memoryview(b"a"),
    "range": range(3),
    "enum": Level.HIGH,
    "float subclass": Metres(1),
    "named tuple": Pair(1, 2),
    "dict subclass": OrderedDict(a=1),
    "object": date(2020, 1, 1),
    "function": len,
    "class": np.ndarray,
    "a key of a kind": {frozenset(): 1},
    "an integer without end": 10**5000,
    "a list in itself": CYCLE,
    "deep": deep(MAX_DEPTH + 2),
    "tensor with gradient": torch.ones(2, requires_grad=True),
    "bfloat16 tensor": torch.ones(2, dtype=torch.bfloat16),
    "sparse tensor": torch.eye(2).to_sparse(),
    "tensor without memory": torch.ones(2, device="meta"),
    "conjugated tensor": torch.ones(2, dtype=torch.complex64).conj(),
    "33 dimensions": None if np.lib.NumpyVersion(np.__version__) < "2.0.0" else np.zeros((1,) * 33),
}
if REFUSED["33 dimensions"] is None:
    del REFUSED["33 dimensions"]  # this numpy has none itself


@pytest.mark.parametrize("depth", ["as a field", "within a field"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, name: str, depth: str
) -> None:
    value = REFUSED[name] if depth == "as a field" else {"in": [0, REFUSED[name]]}
    with RecordingWriter(tmp_path) as writer:
        writer.write(sample(0))
        (shard,) = tmp_path.iterdir()
        before = shard.read_bytes()
        with pytest.raises(EncodeError, match="culprit"):
            writer.write({**sample(1), "culprit": value})
        assert shard.read_bytes() == before
        writer.write(sample(2))
    recording = Recording(tmp_path)
    assert (len(recording), recording.skipped, recording.problems) == (2, 0, [])
    assert_sample(recording[1], sample(2))


NAMES: dict[str, dict[Any, Any]] = {
    "slash": {"a/b": np.ones(1)},
    "dots": {"..": np.ones(1)},
    "a dot": {"a.b": np.ones(1)},
    "empty": {"": np.ones(1)},
    "unicode": {"ß": np.ones(1)},
    "newline": {"a\n": np.ones(1)},
    "long": {"x" * 65: np.ones(1)},
    "long together": {"x" * 64: np.ones(1), "btindex": 10**40, "btseq": 0},
    "no text, array": {3: np.ones(1)},
    "no text, number": {3: 1},
    "no text, bytes": {b"x": np.ones(1)},
    "ours": {"__types__": {"/x": "tuple"}},
    "too many": {f"f{i}": np.ones(1) for i in range(256)},
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_cannot_be_those_of_files_are_refused(tmp_path: Path, name: str) -> None:
    with RecordingWriter(tmp_path) as writer:
        with pytest.raises(EncodeError):
            writer.write(NAMES[name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("one", [{"Depth": np.zeros(2), "depth": np.ones(2)}], ids=["upper and lower case"])
def test_names_that_other_readers_take_for_one_are_refused(tmp_path: Path, one: dict[str, Any]) -> None:
    """WebDataset reads names in lower case, and fails where two are the same then (`group_by_keys`)."""
    with RecordingWriter(tmp_path) as writer:
        with pytest.raises(EncodeError, match="depth"):
            writer.write(one)


@pytest.mark.parametrize("key", ["", "a.b", "../a", "/a", "a b", "ä", "a\n", "x" * 65, "a\0", 5, b"a"])
def test_keys_that_cannot_be_those_of_files_are_refused(tmp_path: Path, key: Any) -> None:
    with RecordingWriter(tmp_path) as writer:
        with pytest.raises(ConfigError, match="key is"):
            writer.write({"n": 1}, key)
    assert list(tmp_path.iterdir()) == []


def test_255_fields_and_the_longest_names_pass(tmp_path: Path) -> None:
    one = {f"{i:064d}": np.full(1, i) for i in range(255)}
    with RecordingWriter(tmp_path) as writer:
        writer.write(one, "k" * 31)  # 31 + 1 + 64 + 4 characters
        with pytest.raises(EncodeError, match="name"):
            writer.write(one, "k" * 32)
    (found,) = Recording(tmp_path)
    assert_sample(found, one)


def test_nesting_up_to_the_limit_passes(tmp_path: Path) -> None:
    assert_exact(back(tmp_path, {"x": deep(MAX_DEPTH)}), {"x": deep(MAX_DEPTH)})


def test_keys_come_from_the_place_in_the_stream_or_are_running_numbers(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path) as writer:
        for one in ({"btindex": np.int64(7), "btseq": 2}, {"btindex": 7}, {"btindex": "a", "btseq": 1}, {}):
            assert writer.write(one)
        assert not writer.write({"btindex": 7, "btseq": 2, "x": "other"})
        assert writer.write({}, key="000000004")
        assert writer.write({})
        assert (writer.samples, writer.duplicates) == (6, 1)
    assert Recording(tmp_path).keys == [
        "000000007-s000000002",
        "00-00000-000001",
        "00-00000-000002",
        "00-00000-000003",
        "000000004",
        "00-00000-000005",
    ]


def test_running_numbers_of_two_writers_are_different(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path) as one, RecordingWriter(tmp_path) as other:
        for number in range(4):
            assert one.write({"number": number})
            assert other.write({"number": 10 + number})
    assert sorted(found["number"] for found in Recording(tmp_path)) == [0, 1, 2, 3, 10, 11, 12, 13]


def test_a_closed_writer_refuses_and_may_be_closed_again(tmp_path: Path) -> None:
    writer = RecordingWriter(RecordingSettings(tmp_path))
    writer.write(sample(0))
    writer.close()
    writer.close()
    with pytest.raises(ConfigError, match=r"closed.*another RecordingWriter"):
        writer.write(sample(1))
    assert issubclass(ConfigError, BlendTorchError)
    assert len(Recording(tmp_path)) == 1
