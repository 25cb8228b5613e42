"""Messages to buffers and back, as pure functions. `docs/protocol.md` is the specification.

A message is a JSON header followed by the raw buffers it refers to::

    frame 0      {"magic": "BLENDTORCH", "version": 1, "kind": ..., "btid": ..., "epoch": ..., "seq": ...,
                  "sizes": [bytes of frame 1, bytes of frame 2, ...], "body": NODE}
    frame 1...   arrays (little-endian, C order), bytes and pickles, in the order in which the body names them

`body` turns values into nodes and back.
"""

import json
from collections.abc import Sequence
from typing import Any

from ..errors import EncodeError, ProtocolError, ProtocolVersionError
from .body import MAX_JSON_INT, BodyReader, BodyWriter, Buffer
from .message import MAGIC, PROTOCOL_VERSION, Message

MAX_HEADER_BYTES = 1 << 20
MAX_MESSAGE_BYTES = 1 << 31
MAX_BUFFERS = 4096

_OPTIONAL = ("index", "time_us", "waited_us")  # fields that only samples have


def encode(message: Message, *, allow_pickle: bool = False) -> list[Buffer]:
    """Turns a message into its frames; contiguous little-endian arrays are referred to, not copied.

    Args:
        message: The message.
        allow_pickle: Whether values that the protocol has no type for may be pickled. The receiver must allow it too.

    Returns:
        Frame 0, the header, and one frame for each array, bytes object and pickle.

    Raises:
        PickleNotAllowedError: A value needs pickle and `allow_pickle` is false; names the field.
        EncodeError: The message exceeds a limit of the protocol (nesting, header size, number of buffers), or its kind,
            btid, epoch or seq is not what a receiver takes.
    """
    writer = BodyWriter(allow_pickle)
    body = writer.whole(message.body)
    header = {
        "magic": MAGIC,
        "version": PROTOCOL_VERSION,
        "kind": str(message.kind),
        "btid": message.btid,
        "epoch": message.epoch,
        "seq": message.seq,
        **{name: value for name in _OPTIONAL if (value := getattr(message, name)) is not None},
        "sizes": [len(buffer) for buffer in writer.buffers],
        "body": body,
    }
    if (bad := _bad_field(header)) is not None:
        raise EncodeError(f"the message's {bad} is {header[bad]!r}; see `Message` for what it may be.")
    frame0 = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    if len(frame0) > MAX_HEADER_BYTES:
        raise EncodeError(
            f"the message's header has {len(frame0)} bytes, the protocol allows {MAX_HEADER_BYTES}. "
            "Send long lists as numpy arrays and long texts as bytes."
        )
    if len(writer.buffers) > MAX_BUFFERS:
        raise EncodeError(
            f"the message has {len(writer.buffers)} arrays and bytes objects, the protocol allows {MAX_BUFFERS}. "
            "Stack arrays of equal shape into one."
        )
    if sum(header["sizes"]) > MAX_MESSAGE_BYTES:
        raise EncodeError(
            f"the message has {sum(header['sizes'])} bytes, the protocol allows {MAX_MESSAGE_BYTES}. Split it."
        )
    return [frame0, *writer.buffers]


def decode(frames: Sequence[Buffer], *, allow_pickle: bool = False) -> Message:
    """Turns frames back into the message; arrays are views of the frames, not copies.

    Args:
        frames: What `encode` returned, as bytes or memoryviews of bytes. Arrays are writable where the frame is.
        allow_pickle: Whether pickled values may be loaded. **A pickle can execute code**: only from peers you trust.

    Returns:
        The message, its body equal to what was encoded, type for type.

    Raises:
        ProtocolVersionError: The peer speaks another version of the protocol.
        PickleNotAllowedError: The message holds a pickle and `allow_pickle` is false; names the field.
        ProtocolError: The message is malformed, truncated, oversized or not BlendTorch's.
    """
    header, buffers = _read_header(frames)
    body = BodyReader(buffers, allow_pickle).whole(header["body"])
    optional = {name: header.get(name) for name in _OPTIONAL}
    nbytes = sum(map(len, frames))
    return Message(header["kind"], body, header["btid"], header["epoch"], header["seq"], **optional, nbytes=nbytes)


def _read_header(frames: Sequence[Buffer]) -> tuple[dict[str, Any], list[memoryview]]:
    if not frames:
        raise ProtocolError("the message has no frames, expected at least a header.")
    if len(frames) - 1 > MAX_BUFFERS:
        raise ProtocolError(f"the message has {len(frames) - 1} buffers, the protocol allows {MAX_BUFFERS}.")
    raw, *buffers = (memoryview(frame).cast("B") for frame in frames)
    if raw.nbytes > MAX_HEADER_BYTES:
        raise ProtocolError(f"the header has {raw.nbytes} bytes, the protocol allows {MAX_HEADER_BYTES}.")
    try:
        header = json.loads(bytes(raw).decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the header is not JSON ({error}); this is not a BlendTorch message.") from None
    if not isinstance(header, dict) or header.get("magic") != MAGIC:
        raise ProtocolError(f'the header lacks "magic": "{MAGIC}"; this is not a BlendTorch message.')
    if header.get("version") != PROTOCOL_VERSION or type(header["version"]) is not int:
        raise ProtocolVersionError(
            f"the peer speaks version {str(header.get('version'))[:32]} of the protocol, this end speaks "
            f"{PROTOCOL_VERSION}. Install the same version of blendtorch at both ends "
            "(in Blender: the add-on; in Python: pip install -U blendtorch)."
        )
    if (bad := _bad_field(header)) is not None:
        raise ProtocolError(f'the header\'s "{bad}" is missing or of the wrong type.')
    sizes = [buffer.nbytes for buffer in buffers]
    if header["sizes"] != sizes:
        raise ProtocolError(
            f"the header announces buffers of {str(header['sizes'])[:100]} bytes, {str(sizes)[:100]} came: truncated?"
        )
    if sum(sizes) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"the message has {sum(sizes)} bytes, the protocol allows {MAX_MESSAGE_BYTES}.")
    return header, buffers


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_JSON_INT


def _bad_field(header: dict[str, Any]) -> str | None:
    """The first field that is missing or of the wrong type."""
    checks = {
        "kind": isinstance(header.get("kind"), str),
        "btid": "btid" in header and (header["btid"] is None or _is_count(header["btid"])),
        "epoch": _is_count(header.get("epoch")),
        "seq": _is_count(header.get("seq")),
        **{name: header.get(name) is None or _is_count(header[name]) for name in _OPTIONAL},
        "sizes": isinstance(header.get("sizes"), list) and all(_is_count(size) for size in header["sizes"]),
        "body": "body" in header,
    }
    return next((name for name, good in checks.items() if not good), None)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
