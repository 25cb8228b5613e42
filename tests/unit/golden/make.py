"""Writes the golden vectors: messages and the exact bytes that protocol version 1 gives them.

    PYTHONPATH=client python tests/unit/golden/make.py

Run it to add a vector. Never run it to change one: other programs rely on these bytes. Different bytes mean a new
`PROTOCOL_VERSION`, see docs/protocol.md.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from blendtorch.wire import Kind, Message, encode

FOLDER = Path(__file__).parent


class Vector(NamedTuple):
    """A message and what to say of it."""

    description: str
    message: Message
    pickles: bool = False


# For each dtype of the protocol its extremes, or what is special about it.
ARRAYS = {
    "bool": [False, True],
    "int8": [-128, 0, 127],
    "int16": [-32768, 258, 32767],
    "int32": [-(2**31), 16909060, 2**31 - 1],
    "int64": [-(2**63), 72623859790382856, 2**63 - 1],
    "uint8": [0, 1, 255],
    "uint16": [0, 258, 65535],
    "uint32": [0, 16909060, 2**32 - 1],
    "uint64": [0, 72623859790382856, 2**64 - 1],
    "float16": [-0.0, 0.1, 65504, np.inf, np.nan],
    "float32": [-0.0, 0.1, 3.4028234663852886e38, -np.inf, np.nan],
    "float64": [-0.0, 0.1, 1.7976931348623157e308, np.inf, np.nan],
    "complex64": [0.5 - 2j, complex(np.inf, -0.0)],
    "complex128": [0.1 - 2j, complex(-0.0, np.nan)],
}


def _sample(body: object, seq: int = 0) -> Message:
    return Message(Kind.SAMPLE, body, btid=0, epoch=0, seq=seq)


def _vectors() -> dict[str, Vector]:
    grid = np.arange(12, dtype=np.int16).reshape(3, 4)
    vectors = {
        "example": Vector(
            "the worked example of docs/protocol.md: an integer and a float32 array [[0.5, inf]]",
            _sample({"n": 1, "depth_m": np.array([[0.5, np.inf]], np.float32)}, seq=7),
        ),
        "none": Vector("the body is None", _sample(None)),
        "bool": Vector("both truth values", _sample([True, False])),
        "int": Vector("integers that JSON holds", _sample([0, -1, 2**53, -(2**53)])),
        "int_long": Vector("tagged integers", _sample([2**53 + 1, -(2**53) - 1, 2**200])),
        "float": Vector(
            "finite floats, written so that they are not integers", _sample([0.0, -0.0, 0.1, 1e300, 5e-324])
        ),
        "float_tagged": Vector("floats that JSON lacks", _sample([float("nan"), float("inf"), float("-inf")])),
        "str": Vector("texts", _sample(["", "cube", 'a "quote" \\ and\nline', "Würfel \u2603 \U0001f600", "\u0000"])),
        "bytes": Vector("byte strings, one of them empty", _sample([b"\x00\xff", b""])),
        "list": Vector("nested lists", _sample([[], [1, [2.5, "x"]]])),
        "tuple": Vector("tuples", _sample([(), (1, (2,))])),
        "dict": Vector("dicts with keys of text", _sample({"": {}, "a": {"b": 1}})),
        "dict_dollar": Vector("a dict that has the key $", _sample({"$": "array", "a": 1})),
        "dict_keys": Vector(
            "keys that are not texts; the buffers of a key come before those of its value",
            _sample({1: "int", "1": "str", (2, b"k"): b"v", None: 0, 2.5: 0.5}, seq=1),
        ),
        "array_0d": Vector("an array of no dimensions", _sample(np.array(1.5, np.float64))),
        "array_empty": Vector("arrays without elements", _sample([np.zeros((0,), "u1"), np.zeros((2, 0, 3), "f4")])),
        "array_strided": Vector("every other row, columns reversed: sent in C order", _sample(grid[::2, ::-1])),
        "array_fortran": Vector("a transposed array: sent in C order", _sample(grid.T)),
        "array_big_endian": Vector("a big-endian array: sent little-endian", _sample(grid.astype(">i2"))),
        "nested": Vector(
            "arrays and texts at several depths",
            _sample(
                {"image": np.full((1, 2, 3), 255, np.uint8), "boxes": [{"xyxy": (0, 0, 1.5, 1), "id": np.uint32(7)}]}
            ),
        ),
        "hello": Vector("the report of an instance to its launcher", Message(Kind.HELLO, {"pid": 42}, btid=3, epoch=1)),
        "error": Vector(
            "the report that a script has raised",
            Message(Kind.ERROR, {"error": "ValueError: x", "traceback": "Traceback ..."}, btid=3, epoch=1, seq=9),
        ),
        "duplex": Vector("a client's message on a two-way channel", Message(Kind.DUPLEX, {"probe": 0.5}, seq=2**53)),
        "request": Vector(
            "a step that a client asks an environment for",
            Message(Kind.REQUEST, {"call": "step", "actions": [np.array([1], np.int64)]}, btid=3, seq=8),
        ),
        "reply": Vector(
            "what came of that step: an observation, a reward, whether the episode is over",
            Message(
                Kind.REPLY,
                {
                    "observations": [np.array([[0.5, -0.25]], np.float32)],
                    "rewards": np.array([1.0]),
                    "terminated": np.array([False]),
                    "truncated": np.array([True]),
                },
                btid=3,
                seq=8,
            ),
        ),
        "bell": Vector("what wakes who waits at a mailbox", Message(Kind.BELL, None, btid=3, seq=8)),
        "pickle": Vector(
            "a Python complex(1, 2), pickled: only where both ends allow it", _sample({"z": 1 + 2j}), True
        ),
    }
    for dtype, values in ARRAYS.items():
        array = np.array(values, dtype)
        vectors[f"array_{dtype}"] = Vector(f"an array of {dtype}", _sample(array))
        vectors[f"scalar_{dtype}"] = Vector(f"numpy scalars of {dtype}", _sample(list(array)))
    return vectors


VECTORS = _vectors()


def to_json(vector: Vector) -> str:
    """The file of a vector. Frame 0 stands there as text, too, for the reader's eyes."""
    message = vector.message
    frames = [bytes(frame) for frame in encode(message, allow_pickle=vector.pickles)]
    content = {
        "description": vector.description,
        "kind": str(message.kind),
        "btid": message.btid,
        "epoch": message.epoch,
        "seq": message.seq,
        "body_in_python": repr(message.body),
        "header": frames[0].decode(),
        "frames": [frame.hex() for frame in frames],
    }
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    for name, vector in VECTORS.items():
        file = FOLDER / f"{name}.json"
        text = to_json(vector)
        if file.exists() and json.loads(file.read_text())["frames"] != json.loads(text)["frames"]:
            raise SystemExit(f"{file} holds other bytes. Raise PROTOCOL_VERSION and delete the old vectors first.")
        file.write_text(text)


if __name__ == "__main__":
    main()
