"""Messages as one run of bytes: what comes back, and what is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.errors import ProtocolError
from blendtorch.wire.rest import pack, unpack


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_frames_come_back(frames: list[bytes]) -> None:
    assert [bytes(frame) for frame in unpack(bytearray(pack(frames)))] == frames


@given(st.lists(st.binary(max_size=40), max_size=4), st.data())
def test_what_is_cut_short_or_long_is_refused(frames: list[bytes], data: st.DataObject) -> None:
    packed = pack(frames)
    cut = data.draw(st.integers(0, len(packed) - 1))
    for wrong in (packed[:cut], packed + b"\0" * (cut + 1)):
        with pytest.raises(ProtocolError, match="the rest of a sample"):
            unpack(bytearray(wrong))


@pytest.mark.parametrize(
    "words", [[2**64 - 1], [2**61, 0], [4098, *[0] * 4098], [1, 2**64 - 1], [2, 2**63, 2**63], [3, 1, 1, 1]]
)
def test_sizes_that_overflow_are_refused(words: list[int]) -> None:
    with pytest.raises(ProtocolError, match="the rest of a sample"):
        unpack(bytearray(struct.pack(f"<{len(words)}Q", *words)))


@given(st.binary(max_size=100))
def test_random_bytes_are_refused_or_are_frames(data: bytes) -> None:
    try:
        frames = unpack(bytearray(data))
    except ProtocolError:
        return
    assert pack([bytes(frame) for frame in frames]) == data
