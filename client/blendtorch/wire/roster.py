"""The receivers of an instance, and what is on its way to them by message."""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ProtocolError
from .body import Buffer
from .codec import encode
from .ledger import Position
from .message import Message
from .receivers import BYTES_ON_THEIR_WAY, MAX_RECEIVERS, Receiver
from .sockets import RouterSocket

# How long what is on its way to a receiver that is suddenly gone waits for it, or for its farewell, which may still lie in
# the socket: while the stream goes on, and at its end.
_ABSENCE_S = 3.0
_ABSENCE_AT_END_S = 0.2
_LEAST_ON_THEIR_WAY = 2


@dataclass
class _Left:
    """A sample that was on its way to a receiver that is gone."""

    receiver: str
    since: float
    position: Position
    frames: Sequence[Buffer]


class Roster:
    """Knows who is there, who reads the ring, and who takes messages. What leaves with a receiver goes to another one.

    Args:
        router: The socket they are connected to.
        queue_size: How many messages may be on their way to a receiver beyond its own window.

    Attributes:
        there: The receivers, by their ids.
        takers: Ids of those that take messages; the one whose turn it is comes first.
        wants_ring: Whether any reads the ring.
        parting: Whether the stream ends: then nobody is waited for.
    """

    def __init__(self, router: RouterSocket, queue_size: int) -> None:
        self._router = router
        self._queue_size = queue_size
        self._ring_possible = True
        self._backlog: deque[_Left] = deque()
        self.there: dict[str, Receiver] = {}
        self.takers: list[str] = []
        self.wants_ring = False
        self.parting = False

    def join(self, name: str, peer: bytes) -> Receiver:
        """A new receiver.

        Raises:
            ProtocolError: There are too many.
        """
        if len(self.there) >= MAX_RECEIVERS:
            raise ProtocolError(f"there are {MAX_RECEIVERS} receivers already.")
        self.there[name] = Receiver(peer, 0, False)
        return self.there[name]

    def leave(self, name: str) -> None:
        """A receiver is gone: others get what was on its way to it, unless it comes again soon, or has said farewell."""
        now = time.monotonic()
        self._backlog.extend(_Left(name, now, *sent) for sent in self.there.pop(name).unconfirmed)
        self.sort(self._ring_possible)

    def farewell(self, name: str, taken: int) -> None:
        """A receiver has left for good; the last it took was the sample with this number. It may be gone already."""
        if name in self.there:
            self.there[name].confirm(taken)
            self.leave(name)
        for left in self._backlog:
            if left.receiver == name:
                left.since = -math.inf

    def has(self, seqs: Sequence[int]) -> None:
        """A receiver says that it has these samples."""
        if self._backlog and seqs:
            had = set(seqs)
            self._backlog = deque(left for left in self._backlog if left.position.seq not in had)

    def sort(self, ring_possible: bool) -> None:
        """Notes who reads the ring, and who takes messages; after any change of the receivers."""
        self._ring_possible = ring_possible
        self.wants_ring = ring_possible and any(receiver.ring for receiver in self.there.values())
        self.takers = [name for name, receiver in self.there.items() if not (ring_possible and receiver.ring)]

    def taker(self) -> str | None:
        """Who takes the next message: in turn, those with room."""
        return next((name for name in self.takers if self._has_room(self.there[name])), None)

    def give(self, name: str, position: Position, frames: Sequence[Buffer]) -> None:
        """Sends a sample to a receiver, and keeps it until it is confirmed."""
        receiver = self.there[name]
        if name in self.takers:
            self.takers.remove(name)
            self.takers.append(name)
        receiver.unconfirmed.append((position, frames))
        receiver.unconfirmed_bytes += sum(map(len, frames))
        receiver.has_got = True
        if not self._router.send(receiver.peer, frames):
            self.leave(name)

    def resend(self) -> None:
        """Gives to others what was on its way to receivers that have left."""
        due = time.monotonic() - (_ABSENCE_AT_END_S if self.parting else _ABSENCE_S)
        while self._backlog and self.there and self._backlog[0].since <= due:
            # Evenly: workers of a `DataLoader` that have nothing hold up those that have.
            name = min(self.there, key=lambda name: len(self.there[name].unconfirmed))
            if not self._has_room(self.there[name]):
                return
            left = self._backlog.popleft()
            self.give(name, left.position, left.frames)

    def reconnect(self, receiver: Receiver, peer: bytes) -> None:
        """A receiver has connected again: what was on its way is lost, and is sent again."""
        receiver.peer = peer
        for _, frames in receiver.unconfirmed:
            self._router.send(peer, frames)

    def tell_all(self, message: Message) -> None:
        """Sends one message to everybody."""
        frames = encode(message)
        for receiver in self.there.values():
            self._router.send(receiver.peer, frames)

    @property
    def unconfirmed(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._backlog) or any(receiver.unconfirmed for receiver in self.there.values())

    def on_their_way(self) -> list[Position]:
        """The samples that no receiver has for certain."""
        unconfirmed = [position for receiver in self.there.values() for position, _ in receiver.unconfirmed]
        return unconfirmed + [left.position for left in self._backlog]

    def _has_room(self, receiver: Receiver) -> bool:
        count = len(receiver.unconfirmed)
        return count < receiver.window + self._queue_size and (
            count < _LEAST_ON_THEIR_WAY or receiver.unconfirmed_bytes < BYTES_ON_THEIR_WAY
        )
