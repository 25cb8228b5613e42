"""Fields that are stored as image files: without loss where it is promised, as other decoders read them; and refusals."""

import io
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenEXR
import pytest
from PIL import Image
from recording_samples import assert_sample, readable, record

from blendtorch.errors import ConfigError, EncodeError, RecordingError
from blendtorch.recording import FieldSchema, Recording, RecordingSettings, RecordingWriter
from blendtorch.recording.images import ENCODINGS, decode, encode

SIZES = [(1, 1), (5, 7), (64, 48), (1, 300), (300, 1)]
LOSSLESS = [
    ("png", "uint8", ()),
    ("png", "uint8", (3,)),
    ("png", "uint8", (4,)),
    ("png", "uint16", ()),
    *(("exr", dtype, channels) for dtype in ("float16", "float32", "uint32") for channels in ((), (3,), (4,))),
]
LOSSY = [("jpg", ()), ("jpg", (3,)), ("webp", (3,)), ("webp", (4,))]


def noise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Bits of all kinds; for floats NaN with payloads and infinities, too."""
    size = np.dtype(dtype).itemsize
    return np.random.default_rng(seed).integers(0, 256, (*shape, size), np.uint8).view(dtype)[..., 0]


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    gray = 127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 11)
    return np.broadcast_to(gray.astype(np.uint8).reshape(*shape[:2], *[1] * len(shape[2:])), shape).copy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("encoding", "dtype", "channels"), LOSSLESS)
def test_nothing_is_lost_where_it_is_promised(
    encoding: str, dtype: str, channels: tuple[int, ...], size: tuple[int, int]
) -> None:
    for array in (noise((*size, *channels), dtype), np.zeros((*size, *channels), dtype)):
        back = decode(encode(array, encoding, 1), encoding)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize(("encoding", "dtype", "channels"), LOSSLESS)
def test_layout_in_memory_does_not_matter(encoding: str, dtype: str, channels: tuple[int, ...]) -> None:
    array = noise((12, 10, *channels), dtype)
    for odd in (array[::-1], array[::2, ::3], array.swapaxes(0, 1), np.asfortranarray(array)):
        assert decode(encode(odd, encoding, 1), encoding).tobytes() == odd.tobytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "channels"), [case[1:] for case in LOSSLESS if case[0] == "png"])
def test_other_decoders_read_our_png(dtype: str, channels: tuple[int, ...], size: tuple[int, int]) -> None:
    array = noise((*size, *channels), dtype)
    data = encode(array, "png", 1)
    with Image.open(io.BytesIO(data)) as image:
        image.verify()  # checksums, too
    with av.open(io.BytesIO(data), format="png_pipe") as file:  # FFmpeg's own, not libpng
        (frame,) = file.decode(video=0)
        name = "gray16le" if dtype == "uint16" else {(): "gray", (3,): "rgb24", (4,): "rgba"}[channels]
        assert np.array_equal(frame.to_ndarray(format=name), array)


def test_our_png_says_nothing_of_colours_and_is_made_the_same_each_time() -> None:
    """A chunk of gamma or colour space would have other programs change the values."""
    data = encode(noise((4, 4, 3), "uint8"), "png", 1)
    assert data == encode(noise((4, 4, 3), "uint8"), "png", 99)
    kinds, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kinds.append(data[at + 4 : at + 8])
        assert int.from_bytes(data[at + 8 + size : at + 12 + size], "big") == zlib.crc32(data[at + 4 : at + 8 + size])
        at += 12 + size
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint32"])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_openexr_reads_our_exr(tmp_path: Path, dtype: str, channels: tuple[int, ...]) -> None:
    array = noise((6, 5, *channels), dtype)
    path = tmp_path / "x.exr"
    path.write_bytes(encode(array, "exr", 1))
    found = OpenEXR.File(str(path), separate_channels=True).channels()
    names = ["Y"] if not channels else list("RGBA"[: channels[0]])
    assert sorted(found) == sorted(names)
    for i, name in enumerate(names):
        assert found[name].pixels.tobytes() == (array if not channels else array[..., i]).tobytes()


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    decode(encode(noise((2, 2), "float32"), "exr", 1), "exr")
    with pytest.raises(RecordingError):
        decode(b"junk", "exr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("encoding", "channels"), LOSSY)
def test_what_loses_is_near_and_quality_counts(encoding: str, channels: tuple[int, ...]) -> None:
    array = smooth((64, 96, *channels))
    files = {quality: encode(array, encoding, quality) for quality in (1, 50, 100)}
    assert len(files[1]) < len(files[50]) < len(files[100])
    for quality, most in ((50, 8), (100, 3)):
        back = decode(files[quality], encoding)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert np.abs(back.astype(int) - array).mean() < most


HELD = {(encoding, dtype, channels) for encoding, dtype, channels in LOSSLESS} | {
    (encoding, "uint8", channels) for encoding, channels in LOSSY
}
OTHER_SHAPES = [(), (4,), (4, 4, 1), (4, 4, 2), (4, 4, 5), (1, 4, 4, 3), (0, 4), (4, 0, 3), (0, 0)]


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e != "npy"])
def test_all_else_is_refused_by_name(tmp_path: Path, encoding: str) -> None:
    cases = [(dtype, (4, 4, *channels)) for dtype in DTYPE_NAMES for channels in ((), (3,), (4,))]
    cases = [case for case in cases if (encoding, case[0], case[1][2:]) not in HELD]
    cases += [("uint8" if encoding != "exr" else "float32", shape) for shape in OTHER_SHAPES]
    with RecordingWriter(RecordingSettings(tmp_path, encode={"picture": encoding})) as writer:
        for dtype, shape in cases:
            with pytest.raises(EncodeError, match=f"'picture' is {dtype} of shape .* {encoding}.* Choose another"):
                writer.write({"picture": np.ones(shape, dtype)})
    assert list(tmp_path.iterdir()) == []


DTYPE_NAMES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize(
    ("encoding", "shape"), [("jpg", (1, 70_000)), ("jpg", (70_000, 1, 3)), ("webp", (1, 17_000, 3))]
)
def test_images_larger_than_the_format_knows_are_refused_by_name(
    tmp_path: Path, encoding: str, shape: tuple[int, ...]
) -> None:
    with RecordingWriter(RecordingSettings(tmp_path, encode={"picture": encoding})) as writer:
        with pytest.raises(EncodeError, match=f"'picture'.*{encoding}"):
            writer.write({"picture": np.zeros(shape, np.uint8)})
        assert writer.write({"picture": np.zeros((4, 4, 3), np.uint8)})
    assert len(Recording(tmp_path)) == 1


def test_recordings_of_images(tmp_path: Path) -> None:
    chosen = {"a": "png", "b": "exr", "c": "jpg", "d": "npy", "f": "webp", "none": "png"}
    made = [
        {
            "a": noise((8, 9, 3), "uint8", i),
            "b": noise((8, 9), "float32", i),
            "c": smooth((8, 9, 3)),
            "d": noise((8, 9), "uint8", i),
            "e": noise((8, 9, 3), "uint8", i),
            "f": smooth((8, 9, 4)),
            "x": i,
        }
        for i in range(3)
    ]
    record(tmp_path, made, encode=chosen, quality=90)
    recording = Recording(tmp_path)
    for found, expected in zip(recording, made, strict=True):
        for name in ("c", "f"):
            near = found.pop(name)
            assert np.abs(near.astype(int) - expected[name]).max() < 60
        assert_sample(found, {name: value for name, value in expected.items() if name not in ("c", "f")})
    assert recording.schema == {
        "a": FieldSchema("uint8", (8, 9, 3), "png"),
        "b": FieldSchema("float32", (8, 9), "exr"),
        "c": FieldSchema("uint8", (8, 9, 3), "jpg"),
        "d": FieldSchema("uint8", (8, 9), "npy"),
        "e": FieldSchema("uint8", (8, 9, 3), "npy"),
        "f": FieldSchema("uint8", (8, 9, 4), "webp"),
        "x": FieldSchema("int", None, "json"),
    }


def test_a_field_that_is_no_array_is_not_encoded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record(tmp_path, [{"a": [1, 2], "n": 1}, {}], encode={"a": "png"}, shard_samples=1)
    assert caplog.text.count("encode names 'a', which is no array of the first sample") == 1
    assert Recording(tmp_path)[0] == {"a": [1, 2], "n": 1}


# --- Damaged files ---------------------------------------------------------------------------------------------------


def damaged(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3])):
        at = rng.randrange(len(changed))
        if rng.random() < 0.7:
            changed[at] ^= 1 << rng.randrange(8)
        else:
            del changed[at : at + rng.randrange(1, 30)]
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some
@pytest.mark.parametrize("encoding", ["png", "jpg", "webp"])
def test_damaged_images_are_recording_errors_or_images(encoding: str) -> None:
    rng = random.Random(0)
    original = encode(smooth((24, 32, 3)), encoding, 80)
    refused = 0
    for _ in range(300):
        try:
            found = decode(damaged(original, rng), encoding)
        except RecordingError as error:
            refused += 1
            reason = str(error)
        else:
            reason = ""
            assert found.dtype in (np.uint8, np.uint16)
        assert len(reason) < 500
    assert refused > 20


def test_damaged_exr_are_recording_errors_or_images() -> None:
    """In another process: OpenEXR is C++."""
    code = """
import random, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_recording_images import damaged, smooth
from blendtorch.errors import RecordingError
from blendtorch.recording.images import decode, encode
rng, refused = random.Random(0), 0
original = encode(smooth((24, 32, 3)).astype(np.float32), "exr", 1)
for i in range(300):
    try:
        decode(damaged(original, rng), "exr")
    except RecordingError:
        refused += 1
print(refused)
"""
    process = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout.splitlines()[-1]) > 20  # OpenEXR prints what it meets


@pytest.mark.parametrize("encoding", ["png", "jpg", "webp", "exr"])
@pytest.mark.parametrize(
    "other", [b"", b"junk", "png", "jpg", "webp", "exr", b"II*\0" + bytes(100), b"%!PS-Adobe-3.0 EPSF"]
)
def test_files_of_another_format_are_not_read(encoding: str, other: Any) -> None:
    """Pillow would find out by itself what a file is, and run Ghostscript for one of PostScript."""
    if encoding == other:
        return
    array = smooth((4, 4, 3)) if other != "exr" else smooth((4, 4)).astype(np.float32)
    data = encode(array, other, 90) if isinstance(other, str) else other
    with pytest.raises(RecordingError, match=f"no readable {encoding}"):
        decode(data, encoding)


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_png_that_claims_to_be_huge_is_refused(side: int) -> None:
    data = bytearray(encode(np.zeros((2, 2, 3), np.uint8), "png", 1))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(RecordingError, match="no readable png"):
        decode(bytes(data), "png")


def test_a_damaged_image_is_told_with_its_name_and_the_others_come(tmp_path: Path) -> None:
    (shard,) = record(tmp_path, [{"a": noise((8, 8, 3), "uint8", i)} for i in range(3)], encode={"a": "png"})
    data = bytearray(shard.read_bytes())
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    data[second + 30] ^= 0xFF
    shard.write_bytes(data)
    recording = Recording(tmp_path)
    with pytest.raises(RecordingError, match=r"00-00000-000001\.a\.png is no readable png"):
        recording[1]
    assert sorted(readable(tmp_path)) == ["00-00000-000000", "00-00000-000002"]


@pytest.mark.parametrize(("encoding", "module"), [("jpg", "PIL"), ("webp", "PIL"), ("exr", "OpenEXR")])
def test_a_library_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, module: str
) -> None:
    array = smooth((4, 4, 3)) if encoding != "exr" else smooth((4, 4)).astype(np.float32)
    record(tmp_path / "there", [{"x": array}], encode={"x": encoding})
    monkeypatch.setitem(sys.modules, module, None)
    with RecordingWriter(RecordingSettings(tmp_path / "new", encode={"x": encoding})) as writer:
        with pytest.raises(ConfigError, match="pip install"):
            writer.write({"x": array})
    recording = Recording(tmp_path / "there")
    with pytest.raises(ConfigError, match="pip install"):
        recording[0]


def test_png_is_written_without_any_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "PIL", None)
        record(tmp_path, [{"x": noise((4, 4, 3), "uint8")}], encode={"x": "png"})
    assert_sample(Recording(tmp_path)[0], {"x": noise((4, 4, 3), "uint8")})
