"""What the tests of recordings share: samples, shards of them, and shards as an enemy makes them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from exact import assert_exact

from blendtorch.errors import BlendTorchError, RecordingError
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter
from blendtorch.recording.tar import BLOCK, END, padded

FOLDER = Path(__file__).parent


def sample(number: int, side: int = 4) -> dict[str, Any]:
    """A small sample that no other number has: arrays, a table, a text."""
    rng = np.random.default_rng(number)
    depth = rng.random((side, side), np.float32)
    depth[0] = np.inf
    return {
        "image": rng.integers(0, 256, (side, side, 3), np.uint8),
        "depth": depth,
        "labels": {
            "camera": {"shape": (side, side), "intrinsics": None},
            "instances": {"id": np.arange(number % 3, dtype=np.uint32), "object": ["Cube"] * (number % 3)},
        },
        "note": f"n° {number}",
        "btid": number % 2,
        "btepoch": 0,
        "btseq": 0,
        "btindex": number,
    }


def key_of(number: int) -> str:
    """The key that `sample` of this number has in a recording."""
    return f"{number:09d}-s{0:09d}"


def record(folder: Path, samples: Iterable[Mapping[str, Any]], *, worker: int = 0, **settings: Any) -> list[Path]:
    """Records samples; gives the shards."""
    with RecordingWriter(RecordingSettings(folder, **settings), worker=worker) as writer:
        for one in samples:
            writer.write(one)
    return sorted(folder.glob("*.tar"))


def assert_sample(actual: Mapping[str, Any], expected: Mapping[str, Any], where: str = "sample") -> None:
    """Fails unless both have the same fields, type for type; in which order does not matter."""
    assert sorted(map(str, actual)) == sorted(map(str, expected)), where
    for name, value in expected.items():
        assert_exact(actual[name], value, f"{where}[{name!r}]")


def readable(source: Any) -> dict[str, dict[str, Any]]:
    """All samples that come, by key. Fails for any error but BlendTorch's own, and for messages that grow with the file."""
    found, reasons = {}, []
    try:
        recording = Recording(source)
    except BlendTorchError as error:
        reasons.append(str(error))
    else:
        reasons += recording.problems
        assert isinstance(recording.schema, dict)
        for place, key in enumerate(recording.keys):
            try:
                found[key] = recording[place]
            except RecordingError as error:
                reasons.append(str(error))
    assert all(len(reason) < 3000 for reason in reasons), "what is said grows with the file"
    return found


# --- Shards made by hand ---------------------------------------------------------------------------------------------


def header(name: bytes, size: bytes, kind: bytes = b"0", magic: bytes = b"ustar\x0000", prefix: bytes = b"") -> bytes:
    """The header of a tar member with these very bytes, and the right checksum."""
    block = bytearray(BLOCK)
    for start, field in ((0, name), (124, size), (156, kind), (257, magic), (345, prefix), (148, b" " * 8)):
        block[start : start + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str, content: bytes, kind: bytes = b"0", **fields: Any) -> bytes:
    """A tar member."""
    filled = content.ljust(padded(len(content)), b"\0")
    return header(name.encode(), fields.pop("size", b"%011o\0" % len(content)), kind, **fields) + filled


def description(**changes: Any) -> bytes:
    """The member that a shard begins with."""
    whole = {"format": "blendtorch recording", "version": 1, "metadata": {}, "schema": {}}
    return member("__blendtorch__", json.dumps({**whole, **changes}).encode())


def npy(array: np.ndarray, **changes: Any) -> bytes:
    """A .npy file whose header says other things than the array does."""
    said = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **changes}
    return npy_of(repr(said), array.tobytes())


def npy_of(said: str, content: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """A .npy file with this text for a header."""
    text = said.encode("latin1")
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + content


def honest(key: str) -> bytes:
    """The members of a sample that is as it should be: {"x": float32 zeros, "n": 1}."""
    return member(f"{key}.x.npy", npy(np.zeros(3, np.float32))) + member(f"{key}.json", b'{"n":1}')


HONEST = {"x": np.zeros(3, np.float32), "n": 1}


def shard_of(folder: Path, *members: bytes, name: str = "made.tar", begin: bytes | None = None) -> Path:
    """A shard of these members."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes((description() if begin is None else begin) + b"".join(members) + END)
    return path


# --- Other processes -------------------------------------------------------------------------------------------------


def start(code: str, *arguments: Any) -> subprocess.Popen[str]:
    """Runs Python code in another process, where this module can be imported, with `sys.argv[1:]` as given."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])},
    )


def run(code: str, *arguments: Any, returncode: int = 0) -> str:
    """Runs Python code in another process; gives what it has printed."""
    process = start(code, *arguments)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == returncode, f"{process.returncode}: {out}{errors}"
    return out
