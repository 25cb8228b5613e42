"""Arrays as image files within a recording, where a field asks for it by `encode`."""

import io
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from ..errors import ConfigError, EncodeError, RecordingError

Encoding = Literal["npy", "png", "jpg", "webp", "exr"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)

_PILLOW_NAMES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
_PNG_COLORS = {1: 0, 3: 2, 4: 6}  # channels to colour types: grey, RGB, RGBA
# What each can hold: dtypes, and numbers of channels.
_HOLDS = {
    "png": (("uint8", "uint16"), (1, 3, 4)),
    "jpg": (("uint8",), (1, 3)),
    "webp": (("uint8",), (3, 4)),
    "exr": (("float16", "float32", "uint32"), (1, 3, 4)),
}
_MAX_PIXELS = 178_956_970  # twice Pillow's Image.MAX_IMAGE_PIXELS: of more it suspects a decompression bomb
_EXR_NAMES = {1: "Y", 3: "RGB", 4: "RGBA"}


def encode(array: np.ndarray, encoding: str, quality: int) -> bytes:
    """An image as a file.

    Args:
        array: (H, W) or (H, W, C). png: uint8, without C or C = 3 or 4, or uint16 without C. jpg: uint8, without C or
            C = 3. webp: uint8, C = 3 or 4. exr: float16, float32 or uint32, without C or C = 3 or 4.
        encoding: "png", "jpg", "webp" or "exr". png and exr lose nothing.
        quality: Of jpg and webp, 1 to 100.

    Raises:
        EncodeError: The format does not hold such an array.
        ConfigError: A library is missing; names it.
    """
    dtypes, channels = _HOLDS[encoding]
    count = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 and array.shape[2] > 1 else 0
    is_16_bit_color = array.dtype == np.uint16 and count > 1
    if array.dtype.name not in dtypes or count not in channels or is_16_bit_color or not array.size:
        raise EncodeError(
            f"is {array.dtype} of shape {array.shape}, which {encoding} does not hold: it takes {' or '.join(dtypes)} of "
            f"H x W with {' or '.join(map(str, channels))} channel(s) (one: without that axis; uint16: one). Choose "
            "another encoding, or none."
        )
    if array.shape[0] * array.shape[1] > _MAX_PIXELS:
        raise EncodeError(f"has more than {_MAX_PIXELS} pixels, which Pillow does not read. Record it as it is (npy).")
    if encoding == "png":
        return _encode_png(np.ascontiguousarray(array))
    if encoding == "exr":
        return _encode_exr(array)
    file, picture = io.BytesIO(), _pillow().fromarray(array)
    try:
        picture.save(file, _PILLOW_NAMES[encoding], quality=quality)
    except (OSError, ValueError) as error:  # Pillow has both for what is larger than the format knows
        raise EncodeError(
            f"is of shape {array.shape}, which {encoding} cannot hold: {error}. Choose png, or none."
        ) from None
    return file.getvalue()


def decode(data: bytes, encoding: str) -> np.ndarray:
    """The image that `encode` was given; of jpg and webp something like it.

    Raises:
        RecordingError: The file is damaged, or of another format.
        ConfigError: A library is missing; names it.
    """
    if encoding == "exr":
        return _decode_exr(data)
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(data), formats=[_PILLOW_NAMES[encoding]]) as image:
            return np.array(image, np.uint16 if image.mode.startswith("I") else np.uint8)
    except Exception as error:  # Pillow raises many kinds for damaged files, and none of ours
        raise RecordingError(f"is no readable {encoding}: {str(error)[:200]}") from None


def _encode_png(array: np.ndarray) -> bytes:
    """A PNG (https://www.w3.org/TR/png-3/), by zlib alone: Blender's Python has no library for it.

    Each row is stored as the difference to the one above (filter 2, "up"), which renders compress well by.
    """
    height, width = array.shape[:2]
    rows = array.astype(">u2").view(np.uint8) if array.dtype == np.uint16 else array
    rows = rows.reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    color = _PNG_COLORS[1 if array.ndim == 2 else array.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, color, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(filtered.data, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _encode_exr(array: np.ndarray) -> bytes:
    openexr = _openexr()
    name = _EXR_NAMES[1 if array.ndim == 2 else array.shape[2]]
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}

    def write(path: str) -> None:
        openexr.File(header, {name: np.ascontiguousarray(array)}).write(path)

    return _by_file(write, b"")


def _decode_exr(data: bytes) -> np.ndarray:
    openexr = _openexr()
    found: list[np.ndarray] = []

    def read(path: str) -> None:
        channels = openexr.File(path).channels()
        name = next(name for name in _EXR_NAMES.values() if name in channels)
        found.append(np.array(channels[name].pixels))

    try:
        _by_file(read, data)
    except Exception as error:  # OpenEXR raises RuntimeError and others
        raise RecordingError(f"is no readable exr: {str(error)[:200]}") from None
    return found[0]


def _by_file(use: Callable[[str], None], data: bytes) -> bytes:
    """What `use` leaves in a temporary file that begins as `data`: OpenEXR's Python module knows files alone."""
    descriptor, path = tempfile.mkstemp(suffix=".exr")
    try:
        with open(descriptor, "r+b") as file:
            file.write(data)
            file.flush()
            use(path)
            with open(path, "rb") as written:
                return written.read()
    finally:
        os.unlink(path)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ConfigError(
            "this Python has no Pillow, which images of recordings need: pip install pillow. (Inside Blender png can be "
            "written without it; jpg and webp are best recorded in training, by StreamLoader(record=...).)"
        ) from None
    return Image


def _openexr() -> Any:
    try:
        import OpenEXR
    except ImportError:
        raise ConfigError(
            'this Python has no OpenEXR, which encode="exr" needs: pip install "blendtorch[export]"'
        ) from None
    return OpenEXR
