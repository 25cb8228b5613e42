"""Whole messages as one run of bytes: how what has no fixed place in a ring travels.

A count of frames, their sizes, the frames; numbers are little-endian 64-bit unsigned integers.
"""

import struct
from collections.abc import Sequence
from itertools import pairwise

from ..errors import ProtocolError
from .body import Buffer
from .codec import MAX_BUFFERS


def pack(frames: Sequence[Buffer]) -> bytes:
    """Joins the frames of a message."""
    sizes = [len(frame) for frame in frames]
    return b"".join([struct.pack(f"<{len(sizes) + 1}Q", len(sizes), *sizes), *frames])


def unpack(data: bytearray) -> list[memoryview]:
    """The frames again, as views.

    Raises:
        ProtocolError: The sizes do not add up.
    """
    if len(data) < 8:
        raise ProtocolError(f"the rest of a sample has {len(data)} bytes, expected at least 8.")
    (count,) = struct.unpack_from("<Q", data)
    if count > MAX_BUFFERS + 1 or len(data) < 8 * (count + 1):
        raise ProtocolError(f"the rest of a sample claims to have {count} frames in {len(data)} bytes.")
    sizes = struct.unpack_from(f"<{count}Q", data, 8)
    ends = [8 * (count + 1)]
    for size in sizes:
        ends.append(ends[-1] + size)
    if ends[-1] != len(data):
        raise ProtocolError(f"the rest of a sample has {len(data)} bytes, its frames have {ends[-1]}.")
    view = memoryview(data)
    return [view[start:end] for start, end in pairwise(ends)]
