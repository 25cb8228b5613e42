"""`KEY.json`: any reader understands it, `loads` gives back what `dumps` was given, and lies in it do no harm."""

import base64
import json
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from export_samples import full_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blendtorch.errors import EncodeError, RecordingError
from blendtorch.recording.typed_json import TYPES, dumps, loads
from blendtorch.wire.body import DTYPES, MAX_DICT_ITEMS

MUTATIONS_PER_SEED = 1500
HOSTILE_BYTES = 1 << 20


def one_nan(value: Any) -> Any:
    """JSON has one NaN: the same number, NaN without sign and payload."""
    parts = np.array(value)
    if parts.dtype.kind in "fc":
        numbers = parts.reshape(-1).view(parts.real.dtype)
        numbers[np.isnan(numbers)] = np.nan
    return parts if isinstance(value, np.ndarray) else parts[()]


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
dtypes = st.sampled_from(list(DTYPES.values()))
arrays = hnp.arrays(dtypes, shapes).map(one_nan)
numpy_scalars = dtypes.flatmap(hnp.from_dtype).map(one_nan)
text = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=6), st.sampled_from([TYPES, "/", "~0", "0", "a/0"])
)
integers = st.one_of(st.integers(), st.integers(-(2**400), 2**400))
plain = st.one_of(st.none(), st.booleans(), integers, st.floats(), text, st.binary(max_size=9))
keys = st.recursive(st.one_of(plain, numpy_scalars), lambda key: st.tuples(key, key), max_leaves=3)
values = st.recursive(
    st.one_of(plain, numpy_scalars, arrays),
    lambda item: st.one_of(
        st.lists(item, max_size=4),
        st.lists(item, max_size=4).map(tuple),
        st.dictionaries(text, item, max_size=4),
        st.dictionaries(keys, item, max_size=4),
    ),
    max_leaves=12,
)
fields = st.dictionaries(text.filter(lambda name: name != TYPES), values, max_size=4)


@settings(max_examples=60)
@given(fields)
def test_fields_come_back_equal_type_for_type_from_plain_json(sample: dict[str, Any]) -> None:
    text = dumps(sample)
    assert_exact(loads(text), sample)
    assert text.isascii()
    assert {*json.loads(text)} - {TYPES} == {*sample}


def test_what_other_readers_see() -> None:
    sample = {
        "labels": {"box": np.array([[1, 2.5]], np.float32), "shape": (4, 6)},
        "n": np.uint8(3),
        "raw": b"\0\xff",
        "odd": {1: "a"},
        "z": np.array([1j], np.complex64),
        "plain": [1, 2.5, "x", None, True],
    }
    assert json.loads(dumps(sample)) == {
        "labels": {"box": [[1.0, 2.5]], "shape": [4, 6]},
        "n": 3,
        "raw": base64.b64encode(b"\0\xff").decode(),
        "odd": [[1, "a"]],
        "z": [[0.0, 1.0]],
        "plain": [1, 2.5, "x", None, True],
        "__types__": {
            "/labels/box": "array float32 1x2",
            "/labels/shape": "tuple",
            "/n": "scalar uint8",
            "/raw": "bytes",
            "/odd": "dict",
            "/z": "array complex64 1",
        },
    }
    assert TYPES not in json.loads(dumps({"plain": [1, {"a": None}]}))


# --- Lies ------------------------------------------------------------------------------------------------------------

BIG = 10**18
LIES: dict[str, Any] = {
    "no object": [],
    "a number": 1,
    "nothing": None,
    "types are a list": {"x": 1, TYPES: ["/x"]},
    "types are a text": {"x": 1, TYPES: "tuple"},
    "unknown type": {"x": [1], TYPES: {"/x": "pickle"}},
    "type of a class": {"x": [1], TYPES: {"/x": "builtins.eval"}},
    "type is a number": {"x": [1], TYPES: {"/x": 1}},
    "type is a list": {"x": [1], TYPES: {"/x": ["tuple"]}},
    "type is nested": {"x": [1], TYPES: {"/x": {"array": "float32"}}},
    "type is empty": {"x": [1], TYPES: {"/x": ""}},
    "unknown dtype": {"x": [1], TYPES: {"/x": "array object 1"}},
    "dtype in numpy's words": {"x": [1], TYPES: {"/x": "array f4 1"}},
    "python's dtype": {"x": [1], TYPES: {"/x": "array float 1"}},
    "structured dtype": {"x": [1], TYPES: {"/x": "array i4,f4 1"}},
    "huge shape": {"x": [1], TYPES: {"/x": f"array uint8 {BIG}"}},
    "huge shape without elements": {"x": [], TYPES: {"/x": f"array uint8 0x{BIG}x{BIG}x{BIG}"}},
    "shape of too many digits": {"x": [1], TYPES: {"/x": "array uint8 " + "9" * 5000}},
    "shape of other digits": {"x": [1], TYPES: {"/x": "array uint8 \u0661\u0661"}},
    "negative shape": {"x": [1], TYPES: {"/x": "array uint8 -1"}},
    "shape of other size": {"x": [1, 2, 3], TYPES: {"/x": "array uint8 2x2"}},
    "too many dimensions": {"x": [1], TYPES: {"/x": "array uint8 " + "x".join(["1"] * 99)}},
    "newline": {"x": [1], TYPES: {"/x": "array uint8 1\n"}},
    "ragged": {"x": [[1], [1, 2]], TYPES: {"/x": "array uint8 3"}},
    "texts in an array": {"x": ["a"], TYPES: {"/x": "array float32 1"}},
    "objects in an array": {"x": [{}], TYPES: {"/x": "array float32 1"}},
    "too large for the dtype": {"x": [2**70], TYPES: {"/x": "array int64 1"}},
    "infinity as an integer": {"x": [float("inf")], TYPES: {"/x": "array int32 1"}},
    "complex of one": {"x": [1], TYPES: {"/x": "array complex64 1"}},
    "scalar of a list": {"x": [1, 2], TYPES: {"/x": "scalar uint8"}},
    "scalar with a shape": {"x": 1, TYPES: {"/x": "scalar uint8 1"}},
    "bytes that are none": {"x": "é", TYPES: {"/x": "bytes"}},
    "bytes of odd length": {"x": "QQ", TYPES: {"/x": "bytes"}},
    "bytes with junk": {"x": "Q*Q=", TYPES: {"/x": "bytes"}},
    "bytes of a number": {"x": 1, TYPES: {"/x": "bytes"}},
    "bytes of a list": {"x": [1], TYPES: {"/x": "bytes"}},
    "tuple of a number": {"x": 1, TYPES: {"/x": "tuple"}},
    "tuple of an object": {"x": {}, TYPES: {"/x": "tuple"}},
    "dict of a number": {"x": 1, TYPES: {"/x": "dict"}},
    "dict of no pairs": {"x": [1, 2], TYPES: {"/x": "dict"}},
    "dict of triples": {"x": [[1, 2, 3]], TYPES: {"/x": "dict"}},
    "dict with a list for a key": {"x": [[[1], 2]], TYPES: {"/x": "dict"}},
    "dict with an array for a key": {"x": [[[1], 2]], TYPES: {"/x": "dict", "/x/0/0": "array uint8 1"}},
    "deep array": {"x": json.loads("[" * 40 + "1" + "]" * 40), TYPES: {"/x": "array uint8 1"}},
}
# No JSON, or more of it than anybody reads.
BOMBS: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(100),
    "cut": dumps({"x": [1, 2]})[:-2],
    "two": b"{}{}",
    "no utf-8": b'{"x": "\xff"}',
    "half a utf-16": b"\xff\xfe{",
    "deep lists": b'{"x": ' + b"[" * HOSTILE_BYTES,
    "deep lists that end": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"x": ' + b'{"a":' * (HOSTILE_BYTES // 5),
    "lists as deep as the reader goes": b'{"x": ' + b"[" * 900 + b"]" * 900 + b',"__types__": {"/x": "tuple"}}',
    "an integer of a megabyte": b'{"x": ' + b"9" * HOSTILE_BYTES + b"}",
    "an integer of a megabyte in an array": b'{"x": ['
    + b"9" * HOSTILE_BYTES
    + b'], "__types__": {"/x": "array uint8 1"}}',
}


def refused(text: bytes) -> bool:
    """Whether it is refused; fails for any error but RecordingError, and for one that grows with its input."""
    try:
        loads(text)
    except RecordingError as error:
        reason = str(error)
    else:
        return False
    assert len(reason) < 500
    return True


@pytest.mark.filterwarnings("ignore:NumPy will stop allowing conversion:DeprecationWarning")
@pytest.mark.parametrize("name", LIES)
def test_lies_about_types_are_refused(name: str) -> None:
    assert refused(json.dumps(LIES[name]).encode())


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_memory(name: str) -> None:
    tracemalloc.start()
    try:
        if name != "lists as deep as the reader goes":  # that one may be read where the stack is deep
            assert refused(BOMBS[name])
        else:
            refused(BOMBS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * len(BOMBS[name]) + (4 << 20)


def test_types_of_what_is_not_there_change_nothing() -> None:
    notes = {"": "tuple", "/y": "tuple", "/x/7": "bytes", "x": "tuple", "//x": "tuple", "/x/": "tuple", "/X": "tuple"}
    assert loads(json.dumps({"x": [1], TYPES: notes}).encode()) == {"x": [1]}


def test_types_of_an_item_are_not_those_of_a_key_that_looks_like_its_place() -> None:
    confusing = {"a/0": [(1,)], "a": [(2,), {"/": b"x"}], "a~10": {"": (3,)}, "a/": {"0": ()}}
    assert_exact(loads(dumps(confusing)), confusing)


def test_more_other_keys_than_the_wire_takes_are_refused() -> None:
    """Keys can be made to collide: multiples of 2^61 - 1 have one hash, and take time in their number squared."""
    pairs = [[i * ((1 << 61) - 1), 0] for i in range(MAX_DICT_ITEMS + 1)]
    assert refused(json.dumps({"x": pairs, TYPES: {"/x": "dict"}}).encode())
    with pytest.raises(EncodeError, match="culprit"):
        dumps({"culprit": dict.fromkeys(range(MAX_DICT_ITEMS + 1))})


def test_as_many_other_keys_as_the_wire_takes_come_back() -> None:
    whole = {"x": {i: i for i in range(MAX_DICT_ITEMS)}}
    assert_exact(loads(dumps(whole)), whole)


JUNK = [
    b"\xff",
    b"\xed\xa0\x80",
    b"\0",
    b"[",
    b"{",
    b'"',
    b"\\u",
    b"NaN",
    b"9" * 5000,
    b"1e999",
    b"-",
    b"null",
    b"tuple",
]


@pytest.mark.filterwarnings("ignore:NumPy will stop allowing conversion:DeprecationWarning")
@pytest.mark.parametrize("seed", range(2))
def test_mutated_json_is_refused_or_is_a_sample(seed: int) -> None:
    rng = random.Random(seed)
    labels = full_sample()["labels"]
    labels["instances"] = {name: labels["instances"][name] for name in ("id", "object", "box", "pose")}
    original = dumps({"labels": labels, "x": (1, b"xyz", {1: np.complex64(2)}), "n": np.uint8(7)})
    count = 0
    for _ in range(MUTATIONS_PER_SEED):
        text = bytearray(original)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(text))
            change = rng.randrange(4)
            if change == 0:
                text[at] ^= 1 << rng.randrange(8)
            elif change == 1:
                text[at:at] = rng.choice(JUNK)
            elif change == 2:
                del text[at : at + rng.randrange(1, 20)]
            else:
                other = rng.randrange(len(text))
                text[at:at] = text[other : other + rng.randrange(40)]
        count += refused(bytes(text))
    # Both happen, or the mutations do not test what they are meant to.
    assert 0.2 < count / MUTATIONS_PER_SEED < 0.98
