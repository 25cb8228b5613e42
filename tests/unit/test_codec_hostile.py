"""What the codec promises of every other message: ProtocolError or a message, nothing executed, memory bounded."""

import json
import pickle
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from golden.make import VECTORS
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.errors import ProtocolError, ProtocolVersionError
from blendtorch.wire import PROTOCOL_VERSION, Kind, Message, codec, decode, encode
from blendtorch.wire.body import DTYPES

MESSAGES_PER_SEED = 1500
SEEDS = range(8)
MAX_HEADER_BYTES = codec.MAX_HEADER_BYTES
# Memory may grow to this many times the header, so below 128 MiB with the largest; a quarter of it is enough to tell.
MAX_MEMORY_FACTOR = 128
HOSTILE_BYTES = MAX_HEADER_BYTES // 4

explosions: list[str] = []


def explode() -> None:
    explosions.append("a pickle was executed")


class Bomb:
    def __reduce__(self) -> tuple[Callable[[], None], tuple]:
        return explode, ()


def refused_or_message(frames: list[bytes]) -> bool:
    """Whether the frames are refused; fails for any error but ProtocolError."""
    try:
        message = decode(frames)
    except ProtocolError as error:
        reason = str(error)
    else:
        assert isinstance(message, Message)
        return False
    assert len(reason) < 10_000, "the error grows with the message"
    return True


def header(body: Any = None, sizes: Any = (), **fields: Any) -> bytes:
    whole = {"magic": "BLENDTORCH", "version": PROTOCOL_VERSION, "kind": "sample", "btid": 0, "epoch": 0, "seq": 0}
    return json.dumps({**whole, "sizes": sizes, "body": body, **fields}).encode()


# --- Mutations: each changes frames in place, at random --------------------------------------------------------------


def flip_bits(rng: random.Random, frames: list[bytes]) -> None:
    i = rng.randrange(len(frames))
    data = bytearray(frames[i])
    for _ in range(rng.randint(1, 4) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    frames[i] = bytes(data)


def truncate(rng: random.Random, frames: list[bytes]) -> None:
    i = rng.randrange(len(frames))
    frames[i] = frames[i][: rng.randint(0, len(frames[i]))]


def shuffle_frames(rng: random.Random, frames: list[bytes]) -> None:
    i, j = rng.randrange(len(frames)), rng.randrange(len(frames))
    rng.choice(
        [
            lambda: frames.pop(i),
            lambda: frames.insert(j, frames[i]),
            lambda: frames.insert(j, rng.randbytes(rng.randint(0, 20))),
            lambda: frames.__setitem__(slice(None), [frames[j], *frames[1:]]),
            frames.reverse,
        ]
    )()


def insert_bytes(rng: random.Random, frames: list[bytes]) -> None:
    at = rng.randint(0, len(frames[0]))
    junk = rng.choice(
        [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b"[", b"{", b'"', b"\\u", b"NaN", b"9" * 5000, b"1e999"]
    )
    frames[0] = frames[0][:at] + junk + frames[0][at:]


def any_json(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value, and what looks like a node more often than not."""
    leaves = [
        None,
        True,
        0,
        1,
        -1,
        2**31,
        2**53,
        2**64,
        10**4000,
        0.5,
        -0.0,
        1e308,
        "",
        "$",
        "nan",
        "ff",
        "\ud800",
        "x" * 99,
    ]
    if depth > 3 or rng.random() < 0.4:
        return rng.choice([*leaves, *DTYPES])
    items = [any_json(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if rng.random() < 0.3:
        return items
    if rng.random() < 0.2:
        return {rng.choice(["", "a", "$", "items"]): item for item in items}
    fields = {
        "buffer": any_json(rng, 4),
        "hex": any_json(rng, 4),
        "dtype": rng.choice([*DTYPES]),
        "value": any_json(rng, 4),
    }
    fields.update(shape=[rng.choice([0, 1, 2, 2**31, 2**53, -1, "1"]) for _ in range(rng.randint(0, 40))], items=items)
    if rng.random() < 0.5:
        fields["items"] = [[any_json(rng, depth + 1), any_json(rng, depth + 1)] for _ in range(2)]
    tag = rng.choice(["int", "float", "bytes", "tuple", "dict", "array", "scalar", "pickle", "unknown", 7, None])
    return {"$": tag, **{key: value for key, value in fields.items() if rng.random() < 0.8}}


def replace_node(rng: random.Random, frames: list[bytes]) -> None:
    """Replaces or removes one value, anywhere in the header."""
    try:
        tree = json.loads(frames[0])
    except (ValueError, RecursionError):
        return
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in children:
            places.append((node, key))
            collect(child)

    collect(tree)
    if not places:
        return
    node, key = rng.choice(places)
    if rng.random() < 0.15:
        del node[key]
    else:
        node[key] = any_json(rng)
    frames[0] = json.dumps(tree).encode()


def nest(rng: random.Random, frames: list[bytes]) -> None:
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ('{"$":"tuple","items":[', "]}")])
    depth = rng.choice([1, 63, 64, 65, 500, 20_000])
    head, separator, body = frames[0].partition(b'"body":')
    frames[0] = head + separator + (opening * depth).encode() + body[:-1] + (closing * depth).encode() + b"}"


MUTATIONS = [flip_bits, truncate, shuffle_frames, insert_bytes, nest, *[replace_node] * 6]


def corpus() -> list[list[bytes]]:
    honest = [vector.message for vector in VECTORS.values()]
    big = {"image": np.zeros((8, 8, 3), np.uint8), "labels": [{"box": (1, 2.5), "id": np.int32(3), "name": "a"}] * 20}
    honest.append(Message(Kind.SAMPLE, big))
    honest += [Message(Kind.SAMPLE, {"x": [Bomb(), np.ones(2), Bomb()]})] * 5
    return [[bytes(frame) for frame in encode(message, allow_pickle=True)] for message in honest]


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_messages_are_refused_or_are_messages(seed: int) -> None:
    rng, originals = random.Random(seed), corpus()
    explosions.clear()
    refused = 0
    for _ in range(MESSAGES_PER_SEED):
        frames = list(rng.choice(originals))
        applied = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            if frames:
                applied.append(rng.choice(MUTATIONS))
                applied[-1](rng, frames)
        try:
            refused += refused_or_message(frames)
        except Exception as error:
            pytest.fail(f"{error!r} after {[m.__name__ for m in applied]} for {[frame[:400] for frame in frames]}")
    assert not explosions
    # Both happen, or the mutations do not test what they are meant to.
    assert 0.5 < refused / MESSAGES_PER_SEED < 0.98


def test_enough_messages_are_mutated() -> None:
    assert MESSAGES_PER_SEED * len(SEEDS) >= 10_000


def test_the_bomb_would_be_noticed() -> None:
    explosions.clear()
    decode(encode(Message(Kind.SAMPLE, Bomb()), allow_pickle=True), allow_pickle=True)
    assert explosions


def test_a_damaged_pickle_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match=r"body\['x'\] cannot be unpickled"):
        decode([header({"x": {"$": "pickle", "buffer": 0}}, [3]), b"\x80\x05("], allow_pickle=True)


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_random_bytes_are_refused(frames: list[bytes]) -> None:
    assert refused_or_message(frames)


FOREIGN = [
    b"",
    b"null",
    b"[]",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff\xfe{",
    pickle.dumps(Bomb()),
    b"\xef\xbb\xbf" + header(),
    header(magic="blendtorch"),
    b'{"magic": "BLENDTORCH", "version": NaN}',
]


@pytest.mark.parametrize("frame", FOREIGN)
def test_foreign_messages_are_refused_as_foreign(frame: bytes) -> None:
    explosions.clear()
    for frames in ([frame], [frame, b"data"]):
        with pytest.raises(ProtocolError, match="not a BlendTorch message"):
            decode(frames)
    assert not explosions


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, [1], 10**4000])
def test_another_version_is_refused_as_such_whatever_else_differs(version: Any) -> None:
    frame = json.dumps({"magic": "BLENDTORCH", "version": version, "new field": 1}).encode()
    with pytest.raises(ProtocolVersionError, match=f"speaks {PROTOCOL_VERSION}"):
        decode([frame, b"data"])


# Bodies that are wrong in exactly one way, and what the refusal says; {"$": "bytes", "buffer": 0} would be right.
WRONG = {
    "buffer twice": ([{"$": "bytes", "buffer": 0}] * 2, "names buffer 0"),
    "buffer unused": (None, "names 0 buffers"),
    "buffer out of range": ([{"$": "bytes", "buffer": 1}], "names buffer 1"),
    "buffer negative": ({"$": "bytes", "buffer": -1}, "names buffer -1"),
    "buffer is true": ({"$": "bytes", "buffer": False}, 'lacks "buffer"'),
    "unknown type": ({"$": "set", "buffer": 0}, "unknown type"),
    "unknown dtype": ({"$": "array", "dtype": "object", "shape": [1], "buffer": 0}, "unknown dtype"),
    "no dtype": ({"$": "array", "shape": [1], "buffer": 0}, 'lacks "dtype"'),
    "shape too large": ({"$": "array", "dtype": "uint8", "shape": [3], "buffer": 0}, r"shape \[3\].*2 bytes"),
    "shape negative": ({"$": "array", "dtype": "uint8", "shape": [-1, -2], "buffer": 0}, "impossible shape"),
    "shape overflows": ({"$": "array", "dtype": "uint8", "shape": [2**33, 2**33], "buffer": 0}, "2 bytes"),
    "shape of 33": ({"$": "array", "dtype": "uint16", "shape": [1] * 33, "buffer": 0}, "impossible shape"),
    "bool of 2": ({"$": "array", "dtype": "bool", "shape": [2], "buffer": 0}, "values other than 0 and 1"),
    "bool scalar of 2": ({"$": "scalar", "dtype": "bool", "hex": "02"}, "not a scalar of bool"),
    "scalar too short": ({"$": "scalar", "dtype": "int16", "hex": "02"}, "not a scalar of int16"),
    "scalar without hex": ({"$": "scalar", "dtype": "int16"}, "not a scalar of int16"),
    "float of text": ({"$": "float", "value": "1.0"}, "tagged float"),
    "empty int": ({"$": "int", "hex": ""}, "hexadecimal digits"),
    "int as Python may write it": ({"$": "int", "hex": "0x1_f"}, "hexadecimal digits"),
    "int too long": ({"$": "int", "hex": "1" * 4097}, "hexadecimal digits"),
    "pair of three": ({"$": "dict", "items": [[1, 2, 3]]}, r"\[key, value\]"),
    "key is a list": ({"$": "dict", "items": [[[], 1]]}, "cannot be a key"),
    "value under an unprintable key": (
        {"$": "dict", "items": [[{"$": "int", "hex": "f" * 4096}, {"$": "set"}]]},
        "a key of type int",
    ),
    "pickle": ({"$": "pickle", "buffer": 0}, "allow_pickle=True"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_body_is_refused_for_what_is_wrong(name: str) -> None:
    body, reason = WRONG[name]
    with pytest.raises(ProtocolError, match=reason):
        decode([header(body, [2]), b"\x02\x03"])


def test_an_array_without_elements_may_not_have_a_dimension_beyond_numpy() -> None:
    body = {"$": "array", "dtype": "complex128", "shape": [0, 2**53, 2**53], "buffer": 0}
    assert refused_or_message([header(body, [0]), b""])


@pytest.mark.parametrize("sizes", [[], [3], [2, 0], [2, 2], [-2], ["2"], [2.0], [True], None, 2, {"0": 2}])
def test_sizes_must_be_those_that_came(sizes: Any) -> None:
    with pytest.raises(ProtocolError, match=r"sizes|announces"):
        decode([header({"$": "bytes", "buffer": 0}, sizes), b"\x02\x03"])


def filled(item: str) -> bytes:
    """A valid header of nearly `HOSTILE_BYTES` whose body is a list of the item."""
    start = header().replace(b'"body": null}', b'"body": [')
    return start + ",".join([item] * ((HOSTILE_BYTES - len(start) - 2) // (len(item) + 1))).encode() + b"]}"


HOSTILE_HEADERS = {
    "empty lists": filled("[]"),
    "empty dicts": filled("{}"),
    "small dicts": filled('{"":0}'),
    "tuples": filled('{"$":"tuple","items":[]}'),
    "tagged dicts": filled('{"$":"dict","items":[[0,0]]}'),
    "floats": filled("0.1"),
    "tagged floats": filled('{"$":"float","value":"nan"}'),
    "long integers": filled("9" * 4300),
    "tagged integers": filled(json.dumps({"$": "int", "hex": "f" * 4096})),
    "scalars": filled('{"$":"scalar","dtype":"bool","hex":"00"}'),
    "text": filled('"' + "\\u00e9" * 1000 + '"'),
    "deep list": header().replace(b"null", b"[" * 200_000),
    "deep dict": header().replace(b"null", b'{"a":' * 40_000),
    "claims a huge array": header({"$": "array", "dtype": "float64", "shape": [2**53] * 32, "buffer": 0}, [2**53]),
    "claims many buffers": header([{"$": "bytes", "buffer": i} for i in range(4096)], [2**53] * 4096),
    "too long": header() + b" " * MAX_HEADER_BYTES,
}


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_memory_stays_bounded_whatever_the_header_claims(name: str) -> None:
    tracemalloc.start()
    try:
        refused_or_message([HOSTILE_HEADERS[name]])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_MEMORY_FACTOR * HOSTILE_BYTES


def test_a_refusal_does_not_print_a_large_key() -> None:
    key = bytes(8 << 20)
    frames = [header({"$": "dict", "items": [[{"$": "bytes", "buffer": 0}, {"$": "set"}]]}, [len(key)]), key]
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="a key of type bytes"):
            decode(frames)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(key)
