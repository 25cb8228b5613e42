"""The receivers of an instance, and what is on its way to them by message."""

from collections import deque
from collections.abc import Sequence

from ..errors import ProtocolError
from .body import Buffer
from .codec import encode
from .ledger import Position
from .message import Message
from .receivers import MAX_RECEIVERS, Receiver
from .sockets import RouterSocket


class Roster:
    """Knows who is there, who reads the ring, and who takes messages. What leaves with a receiver goes to another one.

    Args:
        router: The socket they are connected to.
        queue_size: How many messages may be on their way to a receiver beyond its own window.

    Attributes:
        there: The receivers, by their ids.
        takers: Ids of those that take messages; the one whose turn it is comes first.
        wants_ring: Whether any reads the ring.
    """

    def __init__(self, router: RouterSocket, queue_size: int) -> None:
        self._router = router
        self._queue_size = queue_size
        self._ring_possible = True
        self._backlog: deque[tuple[Position, Sequence[Buffer]]] = deque()  # of receivers that have left
        self.there: dict[str, Receiver] = {}
        self.takers: list[str] = []
        self.wants_ring = False

    def join(self, name: str, peer: bytes, window: int) -> Receiver:
        """A new receiver.

        Raises:
            ProtocolError: There are too many.
        """
        if len(self.there) >= MAX_RECEIVERS:
            raise ProtocolError(f"there are {MAX_RECEIVERS} receivers already.")
        self.there[name] = Receiver(peer, window, False)
        return self.there[name]

    def leave(self, name: str) -> None:
        """A receiver has left; others get what was on its way to it."""
        self._backlog.extend(self.there.pop(name).unconfirmed)
        self.sort(self._ring_possible)

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
        receiver.has_got = True
        if not self._router.send(receiver.peer, frames):
            self.leave(name)

    def resend(self) -> None:
        """Gives to others what was on its way to receivers that have left."""
        while self._backlog and self.there:
            # Evenly: workers of a `DataLoader` that have nothing hold up those that have.
            name = min(self.there, key=lambda name: len(self.there[name].unconfirmed))
            if not self._has_room(self.there[name]):
                return
            self.give(name, *self._backlog.popleft())

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

    def oldest(self, made: Position) -> Position:
        """The oldest sample that no receiver has for certain; `made`, what is made next, when they have all."""
        on_their_way = [receiver.unconfirmed[0][0] for receiver in self.there.values() if receiver.unconfirmed]
        return min([made, *on_their_way, *(position for position, _ in self._backlog)])

    def _has_room(self, receiver: Receiver) -> bool:
        return len(receiver.unconfirmed) < receiver.window + self._queue_size
