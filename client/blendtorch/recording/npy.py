"""Headers of .npy members (numpy's own format, version 1.0: numpy.lib.format), without the arrays behind them."""

import io
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from ..errors import RecordingError
from ..wire.body import DTYPES, MAX_NDIM

MAX_HEADER = 512  # bytes; ours are shorter
_MAGIC = b"\x93NUMPY\x01\x00"


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


@lru_cache(maxsize=1024)
def parse_npy_header(start: bytes) -> ArrayKind:
    """What the member holds that begins with these bytes.

    Args:
        start: Its first bytes, as `header_of` gives them.

    Raises:
        RecordingError: It is not the header of an array that a recording may hold.
    """
    stream = io.BytesIO(start)
    try:
        np.lib.format.read_magic(stream)
        # Evaluates literals alone (ast.literal_eval), and `start` is short.
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise RecordingError(f"has no header of an array: {str(error)[:100]}") from None
    known = DTYPES.get(dtype.name)
    if fortran_order or known is None or known != dtype or len(shape) > MAX_NDIM or any(n < 0 for n in shape):
        raise RecordingError(f"holds {dtype} of shape {shape}, which no recording of BlendTorch does")
    return ArrayKind(dtype.name, tuple(shape), stream.tell())


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
