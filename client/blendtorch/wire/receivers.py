"""Who receives from an instance, as its end of a sample channel knows it."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ProtocolError
from .body import Buffer
from .ledger import Position
from .message import Kind, Message
from .owned_folder import boot_id

SHARED_MEMORY = Path("/dev/shm")
MAX_WINDOW = 1 << 20
MAX_RECEIVERS = 4096
MAX_HAVE = 1024
# Of messages to one receiver: what stays in the processor's cache until it is used is copied much faster.
BYTES_ON_THEIR_WAY = 16 << 20
MAX_TEXT = 1000
# Of numbers and indices that a receiver asks for: what follows them in an endless stream fits into a message, too.
_MAX_COUNT = 1 << 48


@dataclass
class Receiver:
    """One receiver.

    Attributes:
        peer: Where the socket finds it.
        window: How many samples it takes by message, before it confirms the first of them.
        ring: Whether it sees this machine's shared memory.
        unconfirmed: What was sent to it by message and may not have come.
        heard_at: When it was last heard of, by `time.monotonic`.
        epoch: Of the instance that it had heard of by then.
        has_got: Whether it was sent samples by message, by this instance or a predecessor.
        unconfirmed_bytes: How many bytes are unconfirmed.
    """

    peer: bytes
    window: int
    ring: bool
    unconfirmed: deque[tuple[Position, Sequence[Buffer]]] = field(default_factory=deque)
    heard_at: float = 0.0
    epoch: int = -1
    has_got: bool = False
    unconfirmed_bytes: int = 0

    def confirm(self, seq: int) -> None:
        """Forgets what came: all up to this sample, in the order of sending."""
        if any(position.seq == seq for position, _ in self.unconfirmed):
            while True:
                position, frames = self.unconfirmed.popleft()
                self.unconfirmed_bytes -= sum(map(len, frames))
                if position.seq == seq:
                    break


@dataclass(frozen=True)
class Ready:
    """What a receiver tells an instance: at first, with what it has taken, and twice a second.

    Attributes:
        receiver: An id that it has drawn.
        window: See `Receiver`; 0 says farewell.
        host: What shared memory it sees, see `host_id`; "" for none.
        ring: The path of the ring that it reads, "" for none.
        taken: Number of the sample that it has taken last by message, -1 for none.
        have: Numbers of the samples that it has got last by message, oldest first: a predecessor of the instance may not
            have heard of them. Not in each message, but in the first one of an epoch.
        epoch: Of the instance that it has last heard of.
        owed: seq, index and done of the first sample that it wants; 0, 0, 0 for all.
        stream: The stream that all this is about, "" when it has not heard of any.
        batch: How many samples it takes at a time, which then lie side by side in the ring; 0 for any number.
        keeps: Whether it keeps them there as long as it likes, where there is room, and copies them otherwise.
    """

    receiver: str
    window: int
    host: str = ""
    ring: str = ""
    taken: int = -1
    have: tuple[int, ...] = ()
    owed: tuple[int, int, int] = (0, 0, 0)
    batch: int = 0
    epoch: int = 0
    stream: str = ""
    keeps: bool = False

    @classmethod
    def of(cls, message: Message) -> "Ready":
        """Reads the message.

        Raises:
            ProtocolError: It is no such message.
        """
        body: dict[str, Any] = message.body if isinstance(message.body, dict) else {}
        texts = [body.get(name) for name in ("receiver", "host", "ring", "stream")]
        numbers = [body.get(name) for name in ("window", "batch", "epoch")]
        good = (
            message.kind == Kind.READY
            and all(type(text) is str and len(text) < MAX_TEXT for text in texts)
            and all(type(number) is int and 0 <= number <= MAX_WINDOW for number in numbers)
            and body["receiver"]
            and type(body.get("keeps")) is bool
            and type(body.get("taken")) is int
            and _are_counts(body.get("have"), 0, MAX_HAVE)
            and _are_counts(body.get("owed"), 3, 3)
        )
        if not good:
            raise ProtocolError(f"a receiver sent a message of kind {message.kind[:32]!r} that is not understood.")
        return cls(
            body["receiver"],
            body["window"],
            body["host"],
            body["ring"],
            body["taken"],
            tuple(body["have"]),
            tuple(body["owed"]),
            body["batch"],
            body["epoch"],
            body["stream"],
            body["keeps"],
        )

    def to_body(self) -> dict[str, Any]:
        """The body of the message."""
        return dict(vars(self))


def offered_ring(body: dict[str, Any]) -> tuple[Path, int]:
    """Path and token of the ring that an instance tells a receiver to read.

    Raises:
        ProtocolError: It names none, or one outside of the shared memory.
    """
    path, token = body.get("path"), body.get("token")
    if type(path) is not str or type(token) is not int:
        raise ProtocolError("it names shared memory without a path and a token.")
    file = Path(path) if len(path) < MAX_TEXT and path.isprintable() else None
    if file is None or SHARED_MEMORY not in file.parents or ".." in file.parts:
        raise ProtocolError(f"it names the shared memory {path[:200]!r}, expected a file in {SHARED_MEMORY}.")
    return file, token


def _are_counts(values: Any, least: int, most: int) -> bool:
    return (
        type(values) in (tuple, list)
        and least <= len(values) <= most
        and all(type(value) is int and 0 <= value < _MAX_COUNT for value in values)
    )


def host_id() -> str:
    """What two processes have in common that see the same shared memory; "" where there is none."""
    try:
        device = os.stat(SHARED_MEMORY).st_dev
    except OSError:
        return ""
    boot = boot_id()
    return f"{boot}:{device}:{os.getuid()}" if boot else ""
