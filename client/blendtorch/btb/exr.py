"""Reads the EXR files that Blender writes without compression, in plain numpy (no bpy here).

Layout (openexr.com, "OpenEXR File Layout"): magic number, version and flags, attributes that each are name, type, size and
value, ended by a zero byte; a table of offsets of scanlines; scanlines, each y, size, and then for each channel in order of
name the row's values, little-endian.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import ExrError

_MAGIC = 20000630
_LONG_NAMES = 0x400  # the only flag that does not change the layout
_DTYPES: dict[int, np.dtype] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_LARGEST_SIDE = 65536
_LINE_HEADER = 8


@dataclass(frozen=True)
class Exr:
    """A picture of an EXR file.

    Attributes:
        shape: (H, W) pixels.
        channels: By name ("ViewLayer.Depth.Z") H x W arrays, uint32, float16 or float32 as in the file, first row at the
            top. Views of the file's bytes, not contiguous.
        attributes: By name the type and the value's bytes, of all attributes of the header.
    """

    shape: tuple[int, int]
    channels: dict[str, np.ndarray]
    attributes: dict[str, tuple[str, bytes]]


def read_exr(data: bytes | memoryview) -> Exr:
    """Reads a file of one part with uncompressed scanlines.

    Args:
        data: The whole file, or anything with the buffer protocol that holds it. Arrays returned are views of it.

    Raises:
        ExrError: It is none, is truncated or inconsistent, or is compressed, tiled, deep or in several parts.
    """
    view = memoryview(data).cast("B")
    header = _Reader(view)
    magic, version = header.numbers("<II")
    if magic != _MAGIC:
        raise ExrError(f"not an EXR file: it begins with {magic:#010x}, expected {_MAGIC:#010x}.")
    if version & ~_LONG_NAMES != 2:
        raise ExrError(
            f"EXR version and flags are {version:#x}, expected 0x2 or {2 | _LONG_NAMES:#x}: one part of scanlines "
            "(not tiled, deep or multi-part; in Blender 5.x set use_exr_interleave)."
        )
    attributes = dict(header.attributes())
    shape, first_y = _shape(attributes)
    formats = list(_channels(_value(attributes, "channels", "chlist")))
    compression = _value(attributes, "compression", "compression")
    if compression != b"\0":
        raise ExrError(f"EXR compression is {compression.hex()}, expected 00 (exr_codec = 'NONE').")
    if _value(attributes, "lineOrder", "lineOrder") != b"\0":
        raise ExrError("EXR line order is not that of increasing y, which is the only one read here.")
    return Exr(shape, _scanlines(view, header.position, shape, first_y, formats), attributes)


class _Reader:
    """Reads one thing after the other and never beyond the end."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.position = 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self._view) - self.position:
            raise ExrError(
                f"EXR header is truncated: {size} bytes expected at {self.position}, the file has {len(self._view)}."
            )
        self.position += size
        return bytes(self._view[self.position - size : self.position])

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self) -> str:
        """A name: up to 255 bytes, ended by zero."""
        start = self.position
        raw = bytes(self._view[start : start + 256])
        end = raw.find(0)
        if end < 0:
            raise ExrError(f"EXR header is damaged: no end of the name at {start}.")
        self.position += end + 1
        return raw[:end].decode("utf-8", "surrogateescape")

    def attributes(self) -> Iterator[tuple[str, tuple[str, bytes]]]:
        while name := self.text():
            kind = self.text()
            (size,) = self.numbers("<i")
            yield name, (kind, self.take(size))


def _value(attributes: dict[str, tuple[str, bytes]], name: str, kind: str) -> bytes:
    found, value = attributes.get(name, ("", b""))
    if found != kind:
        raise ExrError(f"EXR attribute {name!r} of type {kind!r} expected, found {found or 'none'}.")
    return value


def _shape(attributes: dict[str, tuple[str, bytes]]) -> tuple[tuple[int, int], int]:
    left, top, right, bottom = _Reader(memoryview(_value(attributes, "dataWindow", "box2i"))).numbers("<4i")
    height, width = bottom - top + 1, right - left + 1
    if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
        raise ExrError(f"EXR data window is {width} x {height}, expected 1 .. {_LARGEST_SIDE} each.")
    return (height, width), top


def _channels(value: bytes) -> Iterator[tuple[str, np.dtype]]:
    reader = _Reader(memoryview(value))
    while name := reader.text():
        pixel_type, _, x_sampling, y_sampling = reader.numbers("<4i")
        if pixel_type not in _DTYPES or (x_sampling, y_sampling) != (1, 1):
            raise ExrError(
                f"EXR channel {name!r} has pixel type {pixel_type} and sampling {x_sampling} x {y_sampling}, "
                "expected type 0, 1 or 2 and 1 x 1."
            )
        yield name, _DTYPES[pixel_type]


def _scanlines(
    view: memoryview, table: int, shape: tuple[int, int], first_y: int, formats: list[tuple[str, np.dtype]]
) -> dict[str, np.ndarray]:
    height, width = shape
    line_size = _LINE_HEADER + width * sum(dtype.itemsize for _, dtype in formats)
    start = table + 8 * height
    if len(view) < start + height * line_size:
        raise ExrError(
            f"EXR file is truncated: {start + height * line_size} bytes expected for {width} x {height} pixels of "
            f"{len(formats)} channels, it has {len(view)}."
        )
    # Uncompressed lines in order lie at equal distances, so that the table of offsets only confirms them.
    offsets = np.frombuffer(view, "<u8", height, table)
    lines = np.frombuffer(view, np.uint8, height * line_size, start).reshape(height, line_size)
    heads: np.ndarray = np.ndarray((height, 2), "<i4", lines, strides=(line_size, 4))
    rows = np.arange(height)
    if not (
        np.array_equal(offsets, (start + rows * line_size).astype(np.uint64))
        and np.array_equal(heads[:, 0], first_y + rows)
        and (heads[:, 1] == line_size - _LINE_HEADER).all()
    ):
        raise ExrError("EXR file is damaged: its scanlines are not where, or not what, its header says.")
    channels: dict[str, np.ndarray] = {}
    offset = _LINE_HEADER
    for name, dtype in formats:
        channels[name] = np.ndarray(shape, dtype, lines, offset, (line_size, dtype.itemsize))
        offset += width * dtype.itemsize
    return channels
