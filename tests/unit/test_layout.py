"""Which fields have a fixed place, what comes back from it, and that a foreign layout is refused."""

import json
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.errors import ProtocolError
from blendtorch.wire.body import DTYPES
from blendtorch.wire.layout import MAX_FIELDS, MAX_LAYOUT_BYTES, Layout

PLACED = {
    "image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "strided": np.arange(12, dtype=np.int32)[::2],
    "empty": np.empty((0, 3), np.float32),
    "zero-d": np.array(2.5),
    "zero-d bool": np.array(True),
    "mask": np.array([True, False]),
    "mask seen as bool": np.array([0, 255], np.uint8).view(bool),
    "bool": True,
    "int": -(2**63),
    "float": float("nan"),
    "numpy int": np.uint64(2**64 - 1),
    "numpy bool": np.bool_(True),
    "numpy complex": np.complex64(1 + 2j),
}
ELSEWHERE = {
    "text": "a",
    "bytes": b"b",
    "none": None,
    "list": [1],
    "long int": 2**63,
    "big-endian": np.arange(3, dtype=">i4"),
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
    "objects": np.array([None]),
    "matrix": np.ma.masked_array([1, 2], [True, False]),
    "32 dimensions": np.zeros((1,) * 32),  # with the slots 33: more than some versions of numpy take
    "empty beyond numpy with slots": np.empty((0, 2**50)),
}


@pytest.mark.parametrize("name", PLACED)
def test_a_value_comes_back_from_its_place_as_it_was(name: str) -> None:
    layout = Layout.from_json(Layout.of({name: PLACED[name]}, 64).to_json())
    field = layout.fields[name]
    place = np.zeros((3, *field.shape), field.numpy_dtype)[1, ...]
    assert field.takes(PLACED[name])
    field.write(place, PLACED[name])
    expected = np.array([False, True]) if name == "mask seen as bool" else PLACED[name]
    value = field.read(place)
    assert_exact(value, expected)
    place[...] = np.zeros_like(place)
    assert_exact(value, expected)  # a copy


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_has_no_fixed_size_has_no_place(name: str) -> None:
    assert Layout.of({name: ELSEWHERE[name], "number": 1}, 0).fields.keys() == {"number"}


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.zeros(1), np.zeros(())),
        (np.zeros(1), 0.0),
        (1, True),
        (1, 1.0),
        (1, 2**63),
        (1, np.int64(1)),
        (np.int64(1), 1),
        (np.int64(1), np.int32(1)),
        (1.0, None),
        (np.zeros(3), np.ma.masked_array([0.0] * 3)),
    ],
)
def test_another_value_does_not_fit(value: Any, other: Any) -> None:
    field = Layout.of({"x": value}, 0).fields["x"]
    assert field.takes(value)
    assert not field.takes(other)


def test_there_are_no_more_fields_than_bits_and_no_more_text_than_room() -> None:
    layout = Layout.of({f"x{i}": i for i in range(MAX_FIELDS + 7)}, 0)
    assert list(layout.fields) == [f"x{i}" for i in range(MAX_FIELDS)]
    assert [field.bit for field in layout.fields.values()] == [1 << i for i in range(MAX_FIELDS)]
    layout = Layout.of({"é" * 2000 + str(i): i for i in range(MAX_FIELDS)}, 0)
    assert 0 < len(layout.fields) < MAX_FIELDS
    assert len(layout.to_json()) <= MAX_LAYOUT_BYTES


def test_names_that_are_no_texts_have_no_place() -> None:
    assert Layout.of({b"a": 1, 2: 3, (4,): 5}, 0).fields == {}


ROW = ["x", "uint8", [2, 3], "array"]


def one(*row: Any) -> dict:
    return {"fields": [list(row)], "rest_bytes": 0}


IMPOSSIBLE = {
    "no dict": [],
    "no fields": {"rest_bytes": 0},
    "no rest": {"fields": []},
    "fields are a number": {"fields": 7, "rest_bytes": 0},
    "a field of three": one("x", "uint8", [2]),
    "negative rest": {"fields": [], "rest_bytes": -1},
    "rest is true": {"fields": [], "rest_bytes": True},
    "rest overflows": {"fields": [], "rest_bytes": 2**63},
    "twice": {"fields": [ROW, ROW], "rest_bytes": 0},
    "too many": {"fields": [[str(i), *ROW[1:]] for i in range(64)], "rest_bytes": 0},
    "name is a list": one(["x"], "uint8", [2], "array"),
    "name is a number": one(1, "uint8", [2], "array"),
    "dtype object": one("x", "object", [2], "array"),
    "dtype is a list": one("x", [], [2], "array"),
    "shape is a number": one("x", "uint8", 2, "array"),
    "shape is a text": one("x", "uint8", "23", "array"),
    "shape negative": one("x", "uint8", [-1, -2], "array"),
    "shape of floats": one("x", "uint8", [2.0], "array"),
    "shape of bools": one("x", "uint8", [True], "array"),
    "shape overflows": one("x", "uint8", [2**40, 2**40], "array"),
    "shape overflows to 0": one("x", "uint8", [2**32, 2**32, 0], "array"),
    "too many dimensions": one("x", "uint8", [1] * 32, "array"),
    "kind": one("x", "uint8", [2], "object"),
    "scalar with a shape": one("x", "uint8", [2], "scalar"),
    "python of a dtype it has not": one("x", "uint8", [], "python"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_layout_is_refused(name: str) -> None:
    assert Layout.from_json(json.dumps(one(*ROW)).encode()).fields["x"].shape == (2, 3)
    with pytest.raises(ProtocolError, match="layout of a shared-memory ring"):
        Layout.from_json(json.dumps(IMPOSSIBLE[name]).encode())


@pytest.mark.parametrize("text", [b"", b"\xff", b"[" * 50_000, b'{"fields": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="layout of a shared-memory ring"):
        Layout.from_json(text)


shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
arrays = st.builds(lambda shape, dtype: np.ones(shape, DTYPES[dtype]), shapes, st.sampled_from(list(DTYPES)))
values = st.one_of(
    arrays, arrays.map(lambda array: np.ones((), array.dtype)[()]), st.booleans(), st.floats(), st.integers()
)


@given(st.dictionaries(st.text(max_size=20), values, max_size=8))
def test_a_layout_is_read_as_it_was_written(sample: dict[str, Any]) -> None:
    layout = Layout.of(sample, 128)
    again = Layout.from_json(layout.to_json())
    assert again == layout
    assert again.sample_bytes == 128 + sum(np.asarray(sample[name]).nbytes for name in layout.fields)
    assert all(field.takes(sample[name]) for name, field in again.fields.items())
