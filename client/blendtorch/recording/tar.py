"""Headers of tar members: POSIX.1-1988 "ustar" (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html, ustar
Interchange Format), and of that regular files with short names alone.

Python's `tarfile` reads more: links, names and sizes in extended headers of any length, sparse files. None of it is in a
recording, so none of it is believed here; and a recording of 100,000 samples has 400,000 headers, of which each takes
`tarfile` 20 us.
"""

from ..errors import RecordingError

BLOCK = 512
END = bytes(2 * BLOCK)  # of an archive
MAX_NAME = 100
MAX_SIZE = 8**11 - 1  # of a member: 8 GiB

_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)
_TYPE, _MAGIC = 156, slice(257, 265)
_REGULAR = b"0\0"  # the type, as POSIX and as older tars write it
_SPACES = 8 * ord(" ")  # the checksum's own field counts as spaces


def _template() -> bytes:
    header = bytearray(BLOCK)
    header[100:124] = b"0000644\0" + 2 * b"0000000\0"  # mode, user, group
    header[136:148] = b"%011o\0" % 0  # when it was changed: the same samples make the same file
    header[_CHECKSUM] = b" " * 8
    header[_TYPE : _TYPE + 1] = b"0"
    header[_MAGIC] = b"ustar\x0000"
    return bytes(header)


_TEMPLATE = _template()
_TEMPLATE_SUM = sum(_TEMPLATE)


def member_header(name: str, size: int) -> bytes:
    """The header of a regular file.

    Args:
        name: ASCII, at most 100 characters.
        size: Bytes, at most 8 GiB.
    """
    encoded = name.encode("ascii")
    assert 0 < len(encoded) <= MAX_NAME
    assert 0 <= size <= MAX_SIZE
    digits = b"%011o" % size
    checksum = _TEMPLATE_SUM + sum(encoded) + sum(digits)
    header = bytearray(_TEMPLATE)
    header[: len(encoded)] = encoded
    header[124:135] = digits
    header[_CHECKSUM] = b"%06o\0 " % checksum
    return bytes(header)


def padded(size: int) -> int:
    """The bytes that so many take in an archive."""
    return -(-size // BLOCK) * BLOCK


def parse_header(block: bytes) -> tuple[str, int]:
    """Name and size of the member that a block is the header of.

    The name is "" where it is no regular file with a short name.

    Raises:
        RecordingError: It is no header, or a damaged one.
    """
    try:
        checksum = int(block[_CHECKSUM].rstrip(b"\0 "), 8)
        size = int(block[_SIZE].rstrip(b"\0 "), 8)
    except ValueError:
        raise RecordingError("is no header of a tar member") from None
    if checksum != sum(block) - sum(block[_CHECKSUM]) + _SPACES or not 0 <= size <= MAX_SIZE:
        raise RecordingError("is no header of a tar member, or a damaged one")
    if block[_TYPE] not in _REGULAR or block[_MAGIC][:5] != b"ustar" or any(block[345:500]):
        return "", size
    return block[_NAME].rstrip(b"\0").decode("ascii", "replace"), size
