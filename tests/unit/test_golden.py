"""The bytes of protocol version 1 are what they were: golden vectors, and the worked example of the specification."""

import json
import re
from pathlib import Path

import pytest
from exact import assert_exact
from golden.make import FOLDER, VECTORS

from blendtorch.wire import PROTOCOL_VERSION, PickleNotAllowedError, decode, encode
from blendtorch.wire.body import DTYPES

PROTOCOL_PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def frames_of(name: str) -> list[bytes]:
    content = json.loads((FOLDER / f"{name}.json").read_text())
    assert content["header"].encode() == bytes.fromhex(content["frames"][0])
    return [bytes.fromhex(frame) for frame in content["frames"]]


@pytest.mark.parametrize("name", VECTORS)
def test_bytes_become_the_value(name: str) -> None:
    message = decode(frames_of(name), allow_pickle=VECTORS[name].pickles)
    wanted = VECTORS[name].message
    assert (message.kind, message.btid, message.epoch, message.seq) == (
        wanted.kind,
        wanted.btid,
        wanted.epoch,
        wanted.seq,
    )
    assert_exact(message.body, wanted.body)


@pytest.mark.parametrize("name", VECTORS)
def test_the_value_becomes_the_bytes(name: str) -> None:
    frames = encode(VECTORS[name].message, allow_pickle=VECTORS[name].pickles)
    assert [bytes(frame) for frame in frames] == frames_of(name)


def test_each_file_has_its_value_and_each_value_its_file() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(VECTORS)


def test_the_vectors_cover_the_protocol() -> None:
    headers = [json.loads(frames_of(name)[0]) for name in VECTORS]
    text = json.dumps(headers)
    assert {header["version"] for header in headers} == {PROTOCOL_VERSION}
    assert {header["kind"] for header in headers} == {
        *("hello", "sample", "error", "duplex"),
        *("request", "reply", "bell"),
    }
    assert set(re.findall(r'"\$": "(\w+)", "', text)) == {
        "int",
        "float",
        "bytes",
        "tuple",
        "dict",
        "array",
        "scalar",
        "pickle",
    }
    for node in ("array", "scalar"):
        assert set(re.findall(rf'"\$": "{node}", "dtype": "(\w+)"', text)) == set(DTYPES)


def test_a_pickle_is_refused_unless_allowed() -> None:
    with pytest.raises(PickleNotAllowedError, match=r"body\['z'\]"):
        decode(frames_of("pickle"))


def test_the_specification_shows_a_golden_vector() -> None:
    blocks = re.findall(r"```hex\n(.*?)```", PROTOCOL_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [bytes.fromhex(block) for block in blocks] == frames_of("example")


def test_the_specification_names_each_dtype_with_its_size() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PROTOCOL_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: int(size) for name, size in rows} == {name: dtype.itemsize for name, dtype in DTYPES.items()}
