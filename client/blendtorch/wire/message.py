"""The message: what `codec` turns into bytes and `sockets` carries."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import ScriptError

MAGIC = "BLENDTORCH"
PROTOCOL_VERSION = 1


class Kind(StrEnum):
    """The kinds of message this version knows. A receiver refuses kinds it does not expect on a socket."""

    HELLO = "hello"  # instance -> launcher: the script is running; body: versions
    SAMPLE = "sample"  # instance -> trainer: one sample; body: dict of fields
    ERROR = "error"  # instance -> launcher and trainer: the script raised; body: {"error", "traceback"}
    DUPLEX = "duplex"  # either way on a duplex channel; body: dict of fields


@dataclass(frozen=True, slots=True)
class Message:
    """One message between a Blender instance and a client.

    Attributes:
        kind: What the body means, one of `Kind`.
        body: None, bool, int, float, str, bytes, list, tuple, dict, numpy scalars and arrays, nested at will.
        btid: Id of the Blender instance that sent it (or is meant by it); None from a client without one.
        epoch: How often that instance was restarted.
        seq: Running number of the message within (btid, epoch) on this channel, from 0.
    """

    kind: str
    body: Any = None
    btid: int | None = None
    epoch: int = 0
    seq: int = 0


def script_error(message: Message) -> ScriptError:
    """The exception that a message of kind `Kind.ERROR` reports."""
    body = message.body if isinstance(message.body, dict) else {}
    error = str(body.get("error", "no reason given"))
    if not body.get("traceback"):  # the launcher's word on an instance that has died
        return ScriptError(error)
    return ScriptError(
        f"the script in Blender instance {message.btid} failed: {error}\n"
        f"--- traceback inside Blender ---\n{body['traceback']}"
    )
