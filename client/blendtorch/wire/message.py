"""The message: what `codec` turns into bytes and `sockets` carries."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..errors import ScriptError

MAGIC = "BLENDTORCH"
PROTOCOL_VERSION = 1


class Kind(StrEnum):
    """The kinds of message this version knows. A receiver refuses kinds it does not expect on a socket."""

    HELLO = "hello"  # instance -> launcher: the script is running; body: versions
    BEAT = "beat"  # instance -> launcher: it lives; body: {"published", "silent_s"}
    READY = "ready"  # receiver -> instance: who it is, what it has got, how many samples it takes more
    WELCOME = "welcome"  # instance -> receiver: answer to "ready"; body: {"stream", "reads"} and what ring to read
    SAMPLE = "sample"  # instance -> receiver: one sample; body: dict of fields
    END = "end"  # instance -> receiver: the script has ended; body: {"made", "final"}
    ERROR = "error"  # instance -> launcher and receivers: the script raised; body: {"error", "traceback"}
    DUPLEX = "duplex"  # either way on a duplex channel; body: dict of fields
    REQUEST = "request"  # client -> environment; body: {"call": "open", "reset", "step", "render" or "close", ...}
    REPLY = "reply"  # environment -> client: answer to the request with the same `seq`; body: dict, or null
    BELL = "bell"  # either way between environment and client: wakes who waits at a mailbox


@dataclass(frozen=True, slots=True)
class Message:
    """One message between a Blender instance and a client.

    Attributes:
        kind: What the body means, one of `Kind`.
        body: None, bool, int, float, str, bytes, list, tuple, dict, numpy scalars and arrays, nested at will.
        btid: Id of the Blender instance that sent it (or is meant by it); None from a client without one.
        epoch: How often that instance was restarted.
        seq: Running number of the message on this channel, from 0. Samples go on counting after a restart: (btid, seq)
            is one and the same sample whichever epoch made it.
        index: Of a sample, its address in the whole stream, see `blendtorch.btb.sample_indices`.
        time_us: Of a sample, when it was published: microseconds since 1970 by the instance's clock.
        waited_us: Of a sample, how many microseconds the instance has waited for receivers so far.
        nbytes: In how many bytes it came; 0 where it was not received.
    """

    kind: str
    body: Any = None
    btid: int | None = None
    epoch: int = 0
    seq: int = 0
    index: int | None = None
    time_us: int | None = None
    waited_us: int | None = None
    nbytes: int = field(default=0, compare=False)


def script_error(message: Message) -> ScriptError:
    """The exception that a message of kind `Kind.ERROR` reports."""
    body = message.body if isinstance(message.body, dict) else {}
    error, traceback = (body.get(name) for name in ("error", "traceback"))
    error = error if isinstance(error, str) else "no reason given"
    if not isinstance(traceback, str) or not traceback:  # the launcher's word on an instance that has died
        return ScriptError(error)
    return ScriptError(
        f"the script in Blender instance {message.btid} failed: {error}\n--- traceback inside Blender ---\n{traceback}"
    )
