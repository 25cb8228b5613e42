"""What a peer can send that means no good, or is broken: raw sockets in place of an instance or of a receiver."""

from collections.abc import Sequence
from typing import Any

import zmq

from blendtorch.wire import Kind, Message, encode
from blendtorch.wire.receivers import Ready
from blendtorch.wire.sample_receiver import SampleReceiver


class Impostor:
    """In place of an instance: sends its only receiver whatever it is told to."""

    def __init__(self, address: str) -> None:
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(address)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.peer = b""

    def meet(self, receiver: SampleReceiver) -> None:
        """Waits for the receiver to say that it is there."""
        receiver.sources[0].say_ready()
        assert self._socket.poll(5000)
        self.peer = self._socket.recv_multipart()[0]

    def send(self, frames: Sequence[Any], copy: bool = True) -> None:
        self._socket.send_multipart([self.peer, *frames], copy=copy)

    def say(self, kind: Kind, body: Any, seq: int = 0) -> None:
        self.send(encode(Message(kind, body, 7, 0, seq)))

    def close(self) -> None:
        self._socket.close()


class Guest:
    """In place of a receiver: sends an instance whatever it is told to."""

    def __init__(self, address: str) -> None:
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.SNDHWM, 0)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def send(self, frames: Sequence[Any]) -> None:
        self.socket.send_multipart(list(frames))

    def say_ready(self, **changes: Any) -> None:
        body = {**Ready("guest", 4).to_body(), **changes}
        self.send(encode(Message(Kind.READY, body)))

    def close(self) -> None:
        self.socket.close()
