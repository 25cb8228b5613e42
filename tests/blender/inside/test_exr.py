"""The readers behind final renders, without a render: EXR files, well-formed and not, and Cryptomatte's ids."""

import struct

import numpy as np
import pytest

from blendtorch.btb.cryptomatte import dominant_bits, matte_bits, murmur3_32, number_ids
from blendtorch.btb.exr import read_exr
from blendtorch.errors import ExrError

SHAPE = (3, 5)
CHANNELS = {
    "Layer.Depth.Z": np.arange(15, dtype="<f4").reshape(SHAPE) / 7,
    "half": np.arange(15, dtype="<f2").reshape(SHAPE),
    "ids": np.arange(15, dtype="<u4").reshape(SHAPE) * 1000003,
}


def attribute(name, kind, value):
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def channel(name, dtype, sampling=1):
    pixel_type = {"<u4": 0, "<f2": 1, "<f4": 2}[dtype.str]
    return name.encode() + b"\0" + struct.pack("<iiii", pixel_type, 0, sampling, sampling)


def make_exr(*, magic=20000630, version=2, first_y=-4, leave_out="", **changed):
    """An EXR file; `changed` replaces values of attributes."""
    height, width = SHAPE
    values = {
        "channels": ("chlist", b"".join(channel(name, array.dtype) for name, array in CHANNELS.items()) + b"\0"),
        "compression": ("compression", b"\0"),
        "dataWindow": ("box2i", struct.pack("<4i", 2, first_y, 2 + width - 1, first_y + height - 1)),
        "lineOrder": ("lineOrder", b"\0"),
        "note": ("string", "für".encode()),
    }
    values |= {name: (values[name][0], value) for name, value in changed.items()}
    values.pop(leave_out, None)
    header = struct.pack("<II", magic, version)
    header += b"".join(attribute(name, kind, value) for name, (kind, value) in values.items()) + b"\0"
    lines = [b"".join(array[row].tobytes() for array in CHANNELS.values()) for row in range(height)]
    lines = [struct.pack("<ii", first_y + row, len(line)) + line for row, line in enumerate(lines)]
    start = len(header) + 8 * height
    return header + b"".join(struct.pack("<Q", start + len(lines[0]) * row) for row in range(height)) + b"".join(lines)


@pytest.mark.parametrize("version", [0x2, 0x402])
def test_reads_channels_of_all_types(version):
    exr = read_exr(make_exr(version=version))
    assert exr.shape == SHAPE
    assert list(exr.channels) == list(CHANNELS)
    for name, expected in CHANNELS.items():
        np.testing.assert_array_equal(exr.channels[name], expected)
        assert exr.channels[name].dtype == expected.dtype
    assert exr.attributes["note"] == ("string", "für".encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 8 bytes expected at 0, the file has 0"),
        (b"\x89PNG\r\n\x1a\n", "not an EXR file: it begins with 0x474e5089"),
        (make_exr(version=0x1002), r"flags are 0x1002, expected 0x2 or 0x402: one part .*use_exr_interleave"),
        (make_exr(version=0x202), "flags are 0x202"),
        (make_exr(compression=b"\3"), "compression is 03, expected 00"),
        (make_exr(lineOrder=b"\1"), "line order"),
        (make_exr(leave_out="channels"), "'channels' of type 'chlist' expected, found none"),
        (make_exr(dataWindow=struct.pack("<4i", 0, 0, -1, 3)), r"data window is 0 x 4, expected 1 .. 65536"),
        (make_exr(dataWindow=struct.pack("<4i", 0, 0, 2**31 - 1, 3)), "data window is"),
        (make_exr(dataWindow=b"1234"), "truncated: 16 bytes expected"),
        (make_exr(channels=channel("a", np.dtype("<f4"), 2) + b"\0"), "sampling 2 x 2"),
        (make_exr(channels=b"a\0" + struct.pack("<4i", 7, 0, 1, 1) + b"\0"), "pixel type 7"),
        (make_exr(channels=b"a" * 300), "no end of the name"),
        (make_exr(channels=channel("a", np.dtype("<f4")) + b"\0"), "scanlines are not where"),
        (make_exr()[:-1], "EXR file is truncated"),
        (make_exr(dataWindow=struct.pack("<4i", 2, -3, 6, -1)), "scanlines are not where, or not what"),
    ],
)
def test_malformed_files(data, message):
    with pytest.raises(ExrError, match=message):
        read_exr(data)


def test_no_truncation_and_no_damage_does_worse_than_an_error():
    good = make_exr()
    for size in range(len(good)):
        with pytest.raises(ExrError):
            read_exr(good[:size])
    pixels = len(good) - SHAPE[0] * (8 + 5 * 10)
    rng = np.random.default_rng(1)
    for position in range(pixels):
        damaged = bytearray(good)
        damaged[position] ^= int(rng.integers(1, 256))
        try:
            exr = read_exr(damaged)
        except ExrError:
            continue
        for array in exr.channels.values():
            array.sum()


def test_attribute_sizes_that_are_lies():
    for size in (-1, 2**31 - 1):
        lie = struct.pack("<II", 20000630, 2) + b"a\0b\0" + struct.pack("<i", size)
        with pytest.raises(ExrError, match="header is truncated"):
            read_exr(lie + bytes(100))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"hello", 0x248BFA47),
        (b"hello, world", 0x149BBB7F),
        (b"The quick brown fox jumps over the lazy dog", 0x2E4FF723),
        (b"Cube", 0xA8FCE865),  # as Blender's manifest says
        ("Sphäre.é".encode(), 0x1FCE9055),
    ],
)
def test_murmur3(data, expected):
    assert murmur3_32(data) == expected


def test_the_bits_are_those_of_a_float_that_is_a_number():
    assert matte_bits("Cube") == 0xA8FCE865
    assert (murmur3_32(b"n17"), matte_bits("n17")) == (0x000738C5, 0x008738C5)  # would be denormal
    assert (murmur3_32(b"n535"), matte_bits("n535")) == (0xFF8D97EF, 0xFF0D97EF)  # would be NaN


def as_floats(rows):
    return np.array(rows, np.uint32).view(np.float32)


def test_what_covers_most():
    a, b = matte_bits("a"), matte_bits("b")
    cycles = [
        (as_floats([[0, a, a, a, a]]), np.array([[0, 1, 0.4, 0.4, 0.5]], np.float32)),
        (as_floats([[0, 0, 0, b, b]]), np.array([[0, 0, 0, 0.3, 0.5]], np.float32)),
    ]
    # Where background has 0.6, 0.3 and 0.
    assert dominant_bits(cycles).tolist() == [[0, a, 0, a, a]]
    eevee = [
        (as_floats([[0, a, 0, b]]), np.array([[1, 1, 0.6, 0.4]], np.float32)),
        (as_floats([[0, 0, a, 0]]), np.array([[0, 0, 0.4, 0.3]], np.float32)),
        (as_floats([[0, 0, 0, a]]), np.array([[0, 0, 0, 0.3]], np.float32)),
    ]
    assert dominant_bits(eevee).tolist() == [[0, a, 0, b]]
    assert dominant_bits(cycles[:1]).tolist() == [[0, a, 0, 0, a]]


def test_ids_in_order_of_name():
    bits = np.array([[0, matte_bits("b"), 12345], [matte_bits("a"), matte_bits("a"), 0]], np.uint32)
    ids, names, unknown = number_ids(bits, ["c", "b", "a", "b"])
    assert ids.tolist() == [[0, 2, 0], [1, 1, 0]]
    assert ids.dtype == np.uint32
    assert names == {1: "a", 2: "b", 3: "c"}
    assert unknown == {12345}
