"""ZeroMQ sockets that speak messages. Only here and in `curve` and `handshake` BlendTorch imports zmq."""

import errno
import threading
import time
from collections.abc import Sequence
from typing import Literal

import zmq

from ..errors import AddressError, AuthenticationError, BlendTorchError, ConfigError, PeerTimeout, ProtocolError
from .codec import MAX_HEADER_BYTES, MAX_MESSAGE_BYTES, decode, encode
from .curve import ENVIRONMENT_VARIABLE, CurveKeys, needs_curve
from .handshake import HandshakeWatch, identify, lock
from .message import Message

# PUSH/PULL carry what instances report; PAIR joins two peers both ways; DEALER is a receiver's end of a sample channel,
# of which `RouterSocket` is the instance's.
Pattern = Literal["push", "pull", "pair", "dealer"]
_PATTERNS = {"push": zmq.PUSH, "pull": zmq.PULL, "pair": zmq.PAIR, "dealer": zmq.DEALER}

DEFAULT_QUEUE_SIZE = 10
_COPIED_BYTES = 65_536  # shorter frames are copied by ZeroMQ, which is cheaper than keeping track of them
_TURN_S = 0.2  # how soon `answer` looks whether to stop


class MessageSocket:
    """One ZeroMQ socket that sends and receives `Message`s. Not thread-safe; not to be shared across a fork.

    Args:
        pattern: "push", "pull" or "pair".
        addresses: What to bind or connect, such as "tcp://127.0.0.1:11000" or "ipc:///tmp/x/DATA". A bound
            tcp address may end in ":*" for any free port; `addresses` then tells which.
        bind: Whether this end binds (the Blender side does) or connects.
        queue_size: How many messages may wait per peer at this end before the sender is held.
        allow_pickle: Whether this end sends and loads pickles.
        curve: The keys of the launch: the stream is encrypted, and only peers that have them, too, take part.

    Raises:
        AddressError: An address is in use, malformed, or not of this machine.
        ConfigError: `queue_size` is not positive, `curve` are the keys of the other end, or it lacks where other
            machines reach what is bound.
    """

    def __init__(
        self,
        pattern: Pattern,
        addresses: str | Sequence[str],
        *,
        bind: bool,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        allow_pickle: bool = False,
        curve: CurveKeys | None = None,
    ) -> None:
        if queue_size < 1:
            raise ConfigError(f"queue_size is {queue_size}, expected at least 1 (send_hwm likewise).")
        self.allow_pickle = allow_pickle
        self.addresses: list[str] = []
        self._socket: zmq.Socket = zmq.Context.instance().socket(_PATTERNS[pattern])
        # What is still queued when the process ends is flushed by `close`, never by the interpreter's clean-up,
        # which would hang for ever without a peer.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, queue_size)
        self._socket.setsockopt(zmq.RCVHWM, queue_size)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._watch = None if bind else HandshakeWatch(self._socket, curve is not None)
        try:
            if curve is not None and not bind:
                identify(self._socket, curve)
            for address in [addresses] if isinstance(addresses, str) else addresses:
                self.addresses.append(_attach(self._socket, address, bind, curve))
        except BlendTorchError:
            self.close()
            raise

    @property
    def refused(self) -> str | None:
        """Why a peer does not let this end in, once that is known: one of them has no keys, or other ones."""
        return self._watch.refused if self._watch else None

    def send(self, message: Message, timeout_s: float | None = None) -> None:
        """Queues a message, waiting while the queue is full or nobody is connected.

        Arrays that are read-only are handed to ZeroMQ as they are; arrays that can still be written to are copied, so
        that the caller may reuse them at once.

        Raises:
            PeerTimeout: There was no room within `timeout_s` seconds; None waits for ever.
            AuthenticationError: The peer does not let this end in.
        """
        frames = encode(message, allow_pickle=self.allow_pickle)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.can_send(_left(deadline)):
            if self._send_now(frames):
                return
        raise PeerTimeout(
            f"nobody took a message at {', '.join(self.addresses)} for {timeout_s} s. "
            f"Is the receiver running, connected to this address, and reading?{self._hint()}"
        )

    def _send_now(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Sends a message; false when the receiver that had room has left meanwhile, and nothing was sent."""
        whole = True
        for i, frame in enumerate(frames):
            more = zmq.SNDMORE if i + 1 < len(frames) else 0
            try:
                self._socket.send(frame, more | zmq.NOBLOCK, copy=not memoryview(frame).readonly)
            except zmq.Again:
                whole = False
                if i == 0:
                    break
                # In mid-message ZeroMQ drops what follows up to the message's last frame, so that has to follow, too.
        return whole

    def can_send(self, timeout_s: float | None = 0) -> bool:
        """Whether there is room for a message, or comes to be within `timeout_s` seconds.

        Raises:
            AuthenticationError: There is none, for the peer does not let this end in.
        """
        return self._wait(zmq.POLLOUT, timeout_s)

    def recv(self, timeout_s: float | None = None) -> Message:
        """Takes the next message; its arrays are views of what ZeroMQ received, not copies.

        Raises:
            PeerTimeout: None came within `timeout_s` seconds; None waits for ever.
            ProtocolError: What came is no valid message. It is gone, and the next `recv` takes the next one.
            AuthenticationError: None has come, for a peer does not let this end in.
        """
        if not self._wait(zmq.POLLIN, timeout_s):
            raise PeerTimeout(f"no message came from {', '.join(self.addresses)} for {timeout_s} s.{self._hint()}")
        frames = self._socket.recv_multipart(copy=False)
        return decode([frame.buffer for frame in frames], allow_pickle=self.allow_pickle)

    def try_send(self, message: Message) -> bool:
        """Queues a message if there is room; whether there was."""
        return self._send_now(encode(message, allow_pickle=self.allow_pickle))

    def try_recv(self) -> Message | None:
        """The next message, None when none is there; like `recv` otherwise."""
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            if refused := self.refused:
                raise AuthenticationError(refused) from None
            return None
        return decode([frame.buffer for frame in frames], allow_pickle=self.allow_pickle)

    def close(self, linger_s: float = 0) -> None:
        """Closes the socket; what is still queued may leave in the background for `linger_s` seconds."""
        if self._watch:
            self._watch.close()
            self._watch = None
        self._socket.close(linger=_milliseconds(linger_s))

    def _wait(self, event: int, timeout_s: float | None) -> bool:
        """Waits until the socket can do something, or is known to be refused."""
        if self._watch is None:
            return bool(self._socket.poll(_milliseconds(timeout_s), event))
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        poller = zmq.Poller()
        poller.register(self._socket, event)
        poller.register(self._watch.events, zmq.POLLIN)
        while not self._socket.poll(0, event):
            if refused := self._watch.refused:
                raise AuthenticationError(refused)
            if not poller.poll(_milliseconds(_left(deadline))):
                return False
        return True

    def _hint(self) -> str:
        return self._watch.hint if self._watch else ""


class RouterSocket:
    """The instance's end of a sample channel: hears all receivers, and says to which of them a message goes.

    Args:
        address: What to bind; see `MessageSocket`.
        curve: The keys of the launch; see `MessageSocket`.

    Raises:
        AddressError: The address is in use, malformed, or not of this machine.
        ConfigError: `curve` are the keys of a client, or it lacks where other machines reach the address.
    """

    def __init__(self, address: str, curve: CurveKeys | None = None) -> None:
        self._socket: zmq.Socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        # What is sent to receivers is bounded by what they confirm. A bound here would look as if one had left.
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_HEADER_BYTES)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.address = _attach(self._socket, address, True, curve)

    def send(self, peer: bytes, frames: Sequence[bytes | memoryview]) -> bool:
        """Sends an encoded message to one receiver, without copying it.

        Returns:
            Whether the receiver is still connected.
        """
        try:
            self._socket.send(peer, zmq.SNDMORE | zmq.NOBLOCK)
            for i, frame in enumerate(frames):
                more = zmq.SNDMORE if i + 1 < len(frames) else 0
                self._socket.send(frame, more | zmq.NOBLOCK, copy=len(frame) < _COPIED_BYTES)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def recv(self, timeout_s: float | None = 0) -> tuple[bytes, Message] | None:
        """Takes the next message of a receiver; None when none came within `timeout_s` seconds.

        Raises:
            ProtocolError: What came is no valid message. It is gone.
        """
        if timeout_s != 0 and not self._socket.poll(_milliseconds(timeout_s), zmq.POLLIN):
            return None
        try:
            peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return peer, decode(frames)

    def close(self, linger_s: float = 0) -> None:
        """Closes the socket; what is still queued may leave in the background for `linger_s` seconds."""
        self._socket.close(linger=_milliseconds(linger_s))


def wait_for_any(sockets: Sequence[MessageSocket], timeout_s: float) -> None:
    """Waits until one of the sockets has a message or may be `refused`, `timeout_s` seconds at most."""
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket._socket, zmq.POLLIN)
        if socket._watch and not socket.refused:  # which takes the news that would end the wait at once
            poller.register(socket._watch.events, zmq.POLLIN)
    poller.poll(_milliseconds(timeout_s))


def answer(address: str, message: Message, stop: threading.Event, curve: CurveKeys | None = None) -> None:
    """Binds the address of a sample channel, and answers all receivers with one message until `stop` is set.

    In place of an instance that cannot answer any more.

    Raises:
        AddressError: The address is in use.
    """
    socket = RouterSocket(address, curve)
    frames = encode(message)
    while not stop.is_set():
        try:
            heard = socket.recv(_TURN_S)
        except ProtocolError:
            continue
        if heard is not None:
            socket.send(heard[0], frames)
    socket.close(_TURN_S)


def flush(timeout_s: float) -> None:
    """Waits until what closed sockets still hold has left this process, `timeout_s` seconds at most.

    For the end of a process: sockets that are still open are closed and lose what they hold.
    """
    # A context ends once all its sockets' linger times are over, but only on a thread of its own can it be given up on.
    thread = threading.Thread(target=zmq.Context.instance().destroy, kwargs={"linger": None}, daemon=True)
    thread.start()
    thread.join(timeout_s)


def _attach(socket: zmq.Socket, address: str, bind: bool, curve: CurveKeys | None) -> str:
    """Binds or connects a socket, or closes it; returns the address, a bound one with its port."""
    try:
        port = address.rpartition(":")[2]
        if address.startswith("tcp:") and port != "*" and not (port.isdigit() and int(port) <= 65535):
            raise zmq.ZMQError(errno.EINVAL)  # ZeroMQ itself takes "70000" and "12x" for other ports
        if not address.startswith(("tcp://", "ipc://")):
            raise zmq.ZMQError(zmq.EPROTONOSUPPORT)  # ZeroMQ's others may reach other machines, too
        if not bind:
            socket.connect(address)
            return address
        if curve is not None:
            lock(socket, curve)
        elif needs_curve(address):
            raise ConfigError(
                f"binding {address} lets other machines connect, and there are no keys to know the right ones by. Start "
                "this instance with btt.BlenderLauncher or `blendtorch launch`, which make keys; by hand, set the "
                f"environment variable {ENVIRONMENT_VARIABLE} (docs/guide.md, 'On another machine'); or bind 127.0.0.1."
            )
        socket.bind(address)
        return socket.getsockopt_string(zmq.LAST_ENDPOINT)
    except ConfigError:
        socket.close()
        raise
    except zmq.ZMQError as error:
        socket.close()
        raise _address_error(address, bind, error) from None


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, round(seconds * 1000))


def _address_error(address: str, bind: bool, error: zmq.ZMQError) -> AddressError:
    verb = "bind" if bind else "connect to"
    number = _system_errno(error)
    advice = "Expected tcp://HOST:PORT or ipc:///PATH (at most 107 bytes long)."
    if number == errno.EADDRINUSE:
        advice = (
            "Another process listens there (`ss -ltnp` shows which). Choose another port, or let the launcher pick "
            "free ones by leaving out start_port."
        )
    elif number in (errno.EADDRNOTAVAIL, errno.ENODEV):
        advice = "No network interface of this machine has that address; 127.0.0.1 is always there."
    return AddressError(number, f"cannot {verb} {address}: {error.strerror}. {advice}")


def _system_errno(error: zmq.ZMQError) -> int | None:
    """The number that Python's `errno` has for an error of ZeroMQ's, which on Windows has others for some of them."""
    name = next((one.name for one in zmq.Errno if one == error.errno), "")
    return getattr(errno, name, error.errno)
