"""What the codec promises of honest messages: exact round trips, no copies, refusals that name the field, limits."""

import enum
from collections import OrderedDict, namedtuple
from datetime import date
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blendtorch.errors import EncodeError, PickleNotAllowedError, ProtocolError
from blendtorch.wire import Kind, Message, body, codec, decode, encode
from blendtorch.wire.body import DTYPES

LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1] if a.ndim else a,
    "strided": lambda a: a[..., ::2] if a.ndim else a,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
dtypes = st.sampled_from(list(DTYPES.values()))
arrays = st.builds(
    lambda array, layout: LAYOUTS[layout](array), hnp.arrays(dtypes, shapes), st.sampled_from([*LAYOUTS])
)
numpy_scalars = dtypes.flatmap(hnp.from_dtype)
text = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates, too
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**400), 2**400), st.floats(), text, st.binary(max_size=9)
)
keys = st.recursive(st.one_of(plain, numpy_scalars), lambda key: st.tuples(key, key), max_leaves=3)
values = st.recursive(
    st.one_of(plain, numpy_scalars, arrays),
    lambda item: st.one_of(
        st.lists(item, max_size=4),
        st.lists(item, max_size=4).map(tuple),
        st.dictionaries(text, item, max_size=4),
        st.dictionaries(st.sampled_from(["$", "a"]), item, max_size=2),
        st.dictionaries(keys, item, max_size=4),
    ),
    max_leaves=12,
)
counters = st.integers(0, 2**53)


def round_trip(body: Any, **options: bool) -> Any:
    frames = [bytes(frame) for frame in encode(Message(Kind.SAMPLE, body), **options)]
    return decode(frames, **options).body


@given(values)
def test_values_come_back_equal_type_for_type(body: Any) -> None:
    assert_exact(round_trip(body), body)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_each_dtype_and_layout_come_back_equal(dtype: str, layout: str) -> None:
    bits = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, (4, 6, DTYPES[dtype].itemsize), np.uint8)
    array = LAYOUTS[layout](bits.view(DTYPES[dtype])[..., 0])
    nested = {"a": [array, (array[:0], array.flat[7])], "0-d": np.array(array.flat[8])}
    back = round_trip(nested)
    assert_exact(back, nested)
    assert back["a"][0].dtype == np.dtype(dtype)


@given(st.text(), st.none() | counters, counters, counters)
def test_the_other_fields_come_back(kind: str, btid: int | None, epoch: int, seq: int) -> None:
    message = Message(kind, None, btid, epoch, seq)
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "fields", [{"btid": -1}, {"btid": np.int64(1)}, {"btid": True}, {"epoch": None}, {"epoch": 0.0}, {"seq": 2**53 + 1}]
)
def test_fields_that_no_receiver_takes_are_not_sent(fields: dict[str, Any]) -> None:
    with pytest.raises(EncodeError, match=next(iter(fields))):
        encode(Message(Kind.SAMPLE, **fields))


@pytest.mark.parametrize("offset", range(9))
@pytest.mark.parametrize("dtype", DTYPES)
def test_decoded_arrays_are_aligned_contiguous_and_writable(dtype: str, offset: int) -> None:
    array = np.ones((2, 3), dtype).T
    header, data = encode(Message(Kind.SAMPLE, array))
    received = bytearray(offset) + bytearray(data)
    back = decode([header, memoryview(received)[offset:]]).body
    assert back.flags.aligned
    assert back.flags.c_contiguous
    assert back.flags.writeable
    assert_exact(back, array)


def test_decoded_arrays_are_views_of_the_frames() -> None:
    header, data = encode(Message(Kind.SAMPLE, np.zeros(1000)))
    received = bytearray(data)
    assert np.shares_memory(decode([header, received]).body, np.frombuffer(received, np.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
def test_contiguous_arrays_are_referred_to_not_copied(dtype: str) -> None:
    array = np.ones((3, 4), dtype)
    _, frame, part = encode(Message(Kind.SAMPLE, [array, array[1:]]))
    assert np.shares_memory(np.frombuffer(frame, np.uint8), array)
    assert np.shares_memory(np.frombuffer(part, np.uint8), array)


def test_a_mask_of_0_and_255_seen_as_bool_arrives_as_bool() -> None:
    mask = np.array([0, 255, 1], np.uint8)
    assert_exact(round_trip(mask.view(bool)), np.array([False, True, True]))
    assert mask.tolist() == [0, 255, 1]


class Level(enum.IntEnum):
    HIGH = 1


class Metres(np.float64):
    pass


class Image(np.ndarray):
    pass


Pair = namedtuple("Pair", "x y")
PICKLED = {
    "object array": np.array([None, {}], object),
    "datetime64": np.array(["2020-01-01"], "datetime64[D]"),
    "timedelta scalar": np.timedelta64(1, "s"),
    "longdouble": np.ones(2, np.longdouble),
    "longdouble scalar": np.longdouble(1),
    "text array": np.array(["a"]),
    "structured array": np.zeros(2, [("a", "f4")]),
    "array subclass": np.ones(2).view(Image),
    "numpy scalar subclass": Metres(1),
    "set": {1},
    "complex": 1j,
    "int subclass": Level.HIGH,
    "tuple subclass": Pair(1, 2),
    "dict subclass": OrderedDict(a=1),
    "bytearray": bytearray(b"a"),
    "object": date(2020, 1, 1),
}


@pytest.mark.parametrize("name", PICKLED)
def test_what_needs_pickle_is_refused_by_name_of_the_field(name: str) -> None:
    with pytest.raises(PickleNotAllowedError, match=r"body\['labels'\]\[1\]\['x'\] is a .* allow_pickle=True"):
        encode(Message(Kind.SAMPLE, {"labels": [0, {"x": PICKLED[name]}]}))


# numpy itself pickles a subclass of its scalars as the scalar.
@pytest.mark.parametrize("name", [name for name in PICKLED if name != "numpy scalar subclass"])
def test_pickles_pass_when_both_ends_allow_them_and_only_then(name: str) -> None:
    value = PICKLED[name]
    frames = encode(Message(Kind.SAMPLE, {"x": [value]}), allow_pickle=True)
    back = decode(frames, allow_pickle=True).body["x"][0]
    assert type(back) is type(value)
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value
    with pytest.raises(PickleNotAllowedError, match=r"body\['x'\]\[0\] was sent as a pickle"):
        decode(frames)


def test_allowing_pickles_does_not_change_other_messages() -> None:
    body = {"a": np.ones(3), "b": (1, b"x")}
    message = Message(Kind.SAMPLE, body)
    assert encode(message, allow_pickle=True) == encode(message)


def test_what_pickle_cannot_take_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match=r"body\['f'\] cannot be pickled"):
        encode(Message(Kind.SAMPLE, {"f": lambda: None}), allow_pickle=True)


def test_a_field_under_a_key_too_long_to_print_is_still_refused_in_words() -> None:
    with pytest.raises(PickleNotAllowedError, match="a key of type int"):
        encode(Message(Kind.SAMPLE, {1 << 16_000: {1, 2}}))


def nested(levels: int) -> list:
    body: list = []
    for _ in range(levels):
        body = [body]
    return body


def test_nesting_up_to_the_limit_passes() -> None:
    assert round_trip(nested(body.MAX_DEPTH)) == nested(body.MAX_DEPTH)


@pytest.mark.parametrize("levels", [body.MAX_DEPTH + 1, 200])
def test_deeper_nesting_is_refused(levels: int) -> None:
    with pytest.raises(EncodeError, match="nested deeper"):
        encode(Message(Kind.SAMPLE, nested(levels)))


@pytest.mark.parametrize("container", [list, dict])
def test_a_value_that_contains_itself_is_refused(container: type) -> None:
    body = container()
    body.append(body) if container is list else body.update(a=body)
    with pytest.raises(EncodeError, match="contains itself"):
        encode(Message(Kind.SAMPLE, body))


def test_a_header_over_the_limit_is_refused_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message(Kind.SAMPLE, "x" * codec.MAX_HEADER_BYTES)
    with pytest.raises(EncodeError, match="header has"):
        encode(message)
    monkeypatch.setattr(codec, "MAX_HEADER_BYTES", 2 * codec.MAX_HEADER_BYTES)
    frames = encode(message)
    monkeypatch.undo()
    with pytest.raises(ProtocolError, match="header has"):
        decode(frames)


def test_the_largest_number_of_buffers_passes_and_one_more_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    most = [b"x"] * codec.MAX_BUFFERS
    assert round_trip(most) == most
    message = Message(Kind.SAMPLE, [*most, b"x"])
    with pytest.raises(EncodeError, match="arrays and bytes"):
        encode(message)
    monkeypatch.setattr(codec, "MAX_BUFFERS", codec.MAX_BUFFERS + 1)
    frames = encode(message)
    monkeypatch.undo()
    with pytest.raises(ProtocolError, match="buffers"):
        decode(frames)


def test_too_many_bytes_are_refused_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message(Kind.SAMPLE, [b"x" * 60, b"x" * 60])
    frames = encode(message)
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", 100)
    with pytest.raises(EncodeError, match="120 bytes"):
        encode(message)
    with pytest.raises(ProtocolError, match="120 bytes"):
        decode(frames)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_longest_integer_passes_and_a_longer_one_does_not(sign: int) -> None:
    longest = sign * (16**body.MAX_INT_DIGITS - 1)
    assert round_trip(longest) == longest
    with pytest.raises(EncodeError, match="hexadecimal digits"):
        encode(Message(Kind.SAMPLE, longest + sign))


def test_tagged_dicts_are_limited() -> None:
    """Their keys can be made to collide, which takes time in their number squared."""
    most = dict.fromkeys(range(body.MAX_DICT_ITEMS), 0)
    assert decode(encode(Message("sample", most))).body == most
    with pytest.raises(EncodeError, match="keys other than texts"):
        encode(Message("sample", most | {-1: 0}))
