"""Headers of .npy members (numpy's own format, version 1.0: numpy.lib.format), without the arrays behind them."""

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from ..errors import RecordingError
from ..wire.body import DTYPES, MAX_NDIM

PAGE = 4096  # bytes: of memory, on most machines
MAX_HEADER = 512 + PAGE  # bytes; ours are shorter
_MAGIC = b"\x93NUMPY\x01\x00"
# As numpy writes it. numpy itself evaluates the text, and has its tokenizer look at what is no Python.
_HEADER = re.compile(
    rb"\{'descr': '([<|][a-z]\d{1,2})', 'fortran_order': False, 'shape': \(((?:\d{1,18}, )*(?:\d{1,18},?)?)\),? ?\} *\n"
)
_NAMES = {dtype.str: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class ArrayKind:
    """What a .npy member holds.

    Attributes:
        dtype: Name of its dtype, one of the wire protocol's: bool, int8 ... complex128; little-endian.
        shape: Its shape.
        header_bytes: How many bytes come before the elements, which are in C order.
    """

    dtype: str
    shape: tuple[int, ...]
    header_bytes: int

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype, native where this machine is little-endian."""
        return DTYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return prod(self.shape) * self.numpy_dtype.itemsize


@lru_cache(maxsize=1024)
def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The bytes that come before the elements of such an array, a multiple of 64."""
    header = io.BytesIO()
    description = {"descr": DTYPES[dtype].str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def on_a_page(header: bytes, offset: int) -> bytes:
    """A header with as many spaces more as have the elements begin on a page of memory, where the header is at this offset.

    The system then writes and reads whole pages, which it does faster, and arrays that lie in the file are aligned.
    """
    length = -(-(offset + len(header)) // PAGE) * PAGE - offset
    spaces = b" " * (length - len(header))
    return header[:8] + (length - 10).to_bytes(2, "little") + header[10:-1] + spaces + b"\n"


@lru_cache(maxsize=1024)
def parse_npy_header(start: bytes) -> ArrayKind:
    """What the member holds that begins with these bytes.

    Args:
        start: Its first bytes, as `header_of` gives them.

    Raises:
        RecordingError: It is not the header of an array that a recording may hold.
    """
    match = _HEADER.fullmatch(start, 10)
    if match is None:
        raise RecordingError(f"has the header {start[10:110]!r}, which no array of a recording has")
    name = _NAMES.get(match[1].decode())
    shape = tuple(int(length) for length in re.findall(rb"\d+", match[2]))
    # What numpy can address; lengths of 0 do not count there.
    if name is None or len(shape) > MAX_NDIM or prod(max(n, 1) for n in shape) * DTYPES[name].itemsize >= 1 << 62:
        raise RecordingError(f"has the header {start[10:110]!r}, which no array of a recording has")
    return ArrayKind(name, shape, len(start))


def header_of(start: bytes) -> bytes:
    """The part of a member's first bytes that is its header.

    Raises:
        RecordingError: It is not one, or longer than those a recording has.
    """
    if start[:8] != _MAGIC:
        raise RecordingError("is no array (.npy version 1.0)")
    length = 10 + int.from_bytes(start[8:10], "little")
    if length > MAX_HEADER or length > len(start):
        raise RecordingError(f"has a header of {length} bytes, expected at most {MAX_HEADER}")
    return start[:length]
