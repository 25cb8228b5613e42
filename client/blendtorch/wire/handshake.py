"""The handshakes of sockets with keys: who is let in at the end that binds, and why the end that connects was not.

With CURVE alone a server takes every client that knows its public key. That the client's key is the launch's, too, is
checked by what ZeroMQ calls a ZAP handler (rfc.zeromq.org/spec/27): a socket at a fixed address inside the process,
which it asks about each peer. One serves all sockets of a context; a thread of its own answers, and notes the peers that
ZeroMQ itself has refused.
"""

import itertools
import logging
import struct
import threading
import time
from collections import Counter, deque
from contextlib import suppress

import zmq
from zmq.utils import z85

from ..errors import AddressError, ConfigError
from .curve import CurveKeys

log = logging.getLogger(__name__)

_ZAP = "inproc://zeromq.zap.01"
_MOST_ADDRESSES = 1000  # as many are told apart in the log, so that strangers cannot fill the memory
# For how long connections may end in their handshakes, none ever having succeeded, before the keys are to blame, and not
# a peer that has just died, or a tunnel whose other end has yet to start; and how many of them there must be.
_PATIENCE_S = 10.0
_MANY_FAILURES = 20
_NO_KEYS = 0x11000002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
_OTHER_KEY = 0x11000001  # ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
_numbers = itertools.count()


class Gate:
    """Answers for all sockets of a context which peers may come in, on a thread that ends with the context.

    Attributes:
        refused: How many peers were refused, by address: the peers' own, or the one they came to where that is all that
            is known of them.
    """

    def __init__(self, context: zmq.Context) -> None:
        self.context = context
        self.refused: dict[str, int] = {}
        # Context.destroy, on another thread, closes the sockets that it knows, and that is not safe while they are in use.
        # It does not know those of a shadow: they learn that the context ends, and close themselves.
        self._shadow: zmq.Context = zmq.Context.shadow(context)
        self._questions = self._bound(zmq.REP, _ZAP)
        self._wake_address = f"inproc://blendtorch-gate-{next(_numbers)}"
        self._wakened = self._bound(zmq.PULL, self._wake_address)
        self._new: deque[zmq.Socket] = deque()
        self._watched: list[zmq.Socket] = []
        self._thread = threading.Thread(target=self._serve, name="blendtorch gate", daemon=True)
        self._thread.start()

    @property
    def stands(self) -> bool:
        """Whether it still answers; otherwise nobody comes in."""
        return self._thread.is_alive()

    def watch(self, socket: zmq.Socket) -> None:
        """Has the log say who was refused by a socket; before the socket binds."""
        wanted = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_MONITOR_STOPPED
        self._new.append(_monitor(self._shadow, socket, wanted))
        with self._shadow.socket(zmq.PUSH) as wake:
            wake.connect(self._wake_address)
            with suppress(zmq.Again):  # the gate has just ended
                wake.send(b"", zmq.NOBLOCK)

    def _bound(self, kind: int, address: str) -> zmq.Socket:
        socket = self._shadow.socket(kind)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close()
            raise AddressError(
                error.errno,
                f"cannot check who connects: {address} is taken. Does this process run a ZAP authenticator of its own "
                "(zmq.auth)? Expected none in zmq.Context.instance(); give that one another context.",
            ) from None
        return socket

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._questions, zmq.POLLIN)
        poller.register(self._wakened, zmq.POLLIN)
        try:
            while True:
                for socket, _ in poller.poll():
                    if socket is self._questions:
                        self._questions.send_multipart(self._answer(self._questions.recv_multipart()))
                    elif socket is self._wakened:
                        self._wakened.recv()
                        self._watched.append(self._new.popleft())
                        poller.register(self._watched[-1], zmq.POLLIN)
                    elif not self._note(socket):
                        poller.unregister(socket)
                        self._watched.remove(socket)
                        socket.close(0)
        except zmq.ContextTerminated:
            pass
        finally:
            for socket in [self._questions, self._wakened, *self._watched, *self._new]:
                socket.close(0)

    def _answer(self, question: list[bytes]) -> list[bytes]:
        """Lets in who has proved to own the key that `lock` gave the socket for its domain."""
        _, number, domain, address, _, mechanism, *credentials = question
        if mechanism == b"CURVE" and [z85.encode(key) for key in credentials] == [domain]:
            return [b"1.0", number, b"200", b"OK", b"", b""]
        self._refuse(address.decode(errors="replace") or "this machine", "its key is not that of this launch's clients")
        return [b"1.0", number, b"400", b"unknown key", b"", b""]

    def _note(self, events: zmq.Socket) -> bool:
        """Takes an event of a watched socket; false when it was the last one."""
        event, value, address = _read(events)
        if event == zmq.EVENT_MONITOR_STOPPED:
            return False
        reasons = {_NO_KEYS: "it has no keys", _OTHER_KEY: "its keys are not this launch's"}
        self._refuse(address, reasons.get(value, "its handshake is malformed"))
        return True

    def _refuse(self, address: str, why: str) -> None:
        if address not in self.refused and len(self.refused) < _MOST_ADDRESSES:
            self.refused[address] = 0
            log.warning("refused a peer at %s: %s. More of them are not logged.", address, why)
        if address in self.refused:
            self.refused[address] += 1


class HandshakeWatch:
    """Notes, for a socket that connects, why nobody let it in.

    Args:
        socket: The socket, before it connects.
        has_keys: Whether it has keys.

    Attributes:
        events: Readable when there is news.
    """

    def __init__(self, socket: zmq.Socket, has_keys: bool) -> None:
        self._socket = socket
        self._has_keys = has_keys
        self._failures: Counter[str] = Counter()  # since the last success, by address
        self._failing_since: dict[str, float] = {}
        self._succeeded: set[str] = set()  # addresses where the keys have proved right
        self._refused: str | None = None
        wanted = (
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        )
        self.events = _monitor(zmq.Context.instance(), socket, wanted)

    @property
    def refused(self) -> str | None:
        """Why the peer does not let this socket in; None as long as it may, or when it does."""
        while self.events.poll(0):
            event, value, address = _read(self.events)
            why = self._judge(event, value, address)
            if why and not self._refused:
                self._refused = f"the instance at {address} refuses this client: {why}"
        return self._refused

    @property
    def hint(self) -> str:
        """What may be wrong with a peer of whom nothing is heard; empty when nothing is known."""
        peer = "the instance that curve= is of" if self._has_keys else "a BlendTorch instance that wants no curve="
        return "".join(
            f" {count} connection(s) to {address} ended in the handshake: is that {peer}?"
            for address, count in self._failures.items()
        )

    def close(self) -> None:
        """Ends the watch."""
        if not self._socket.closed:
            self._socket.disable_monitor()
        self.events.close(0)

    def _judge(self, event: int, value: int, address: str) -> str | None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures.pop(address, None)
            self._succeeded.add(address)
            return None
        self._failures[address] += 1
        since = self._failing_since.setdefault(address, time.monotonic())
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return "it does not know the client key of curve=. Expected the launch info of this very launch."
        if value == _NO_KEYS and event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            if self._has_keys:
                return "curve= was given, but it has no keys. Leave curve= out, or give the instance keys."
            return "it wants keys. Pass curve=launch_info.curve of its launch."
        # A server that cannot read what a client says closes the connection without a word. So does a tunnel (`ssh -L`,
        # docker's proxy) while the instance behind it is restarted.
        if not self._has_keys or address in self._succeeded or self._failures[address] < _MANY_FAILURES:
            return None
        if (failing_s := time.monotonic() - since) >= _PATIENCE_S:
            return (
                f"it has closed {self._failures[address]} connections in {failing_s:.0f} s. Its key is not the server key "
                "of curve= (is that one of an earlier launch?), or nobody listens behind a tunnel there."
            )
        return None


def lock(socket: zmq.Socket, keys: CurveKeys) -> None:
    """Makes a socket that will bind let in none but the clients of a launch.

    Raises:
        ConfigError: The keys are a client's.
        AddressError: This process has another authenticator.
    """
    if keys.server_secret is None:
        raise ConfigError(
            "curve= has no server_secret, which the end that binds needs: these are the keys of a client."
        )
    gate = _gate_of_this_process()
    socket.setsockopt_string(zmq.CURVE_SECRETKEY, keys.server_secret)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    # With the domain the gate is told whom the socket is for. Enforced: without an answer nobody comes in.
    socket.setsockopt_string(zmq.ZAP_DOMAIN, keys.client_public)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    gate.watch(socket)


def identify(socket: zmq.Socket, keys: CurveKeys) -> None:
    """Makes a socket that will connect talk to the instances of a launch alone.

    Raises:
        ConfigError: The keys are an instance's.
    """
    if keys.client_secret is None:
        raise ConfigError(
            "curve= has no client_secret, which the end that connects needs: these are keys of an instance."
        )
    socket.setsockopt_string(zmq.CURVE_PUBLICKEY, keys.client_public)
    socket.setsockopt_string(zmq.CURVE_SECRETKEY, keys.client_secret)
    socket.setsockopt_string(zmq.CURVE_SERVERKEY, keys.server_public)


_gate: Gate | None = None
_making = threading.Lock()


def _gate_of_this_process() -> Gate:
    """The gate of the current context: another one after a fork, and after `sockets.flush`."""
    global _gate
    with _making:
        context: zmq.Context = zmq.Context.instance()
        if _gate is None or _gate.context is not context or not _gate.stands:
            _gate = Gate(context)
        return _gate


def refused_peers() -> dict[str, int]:
    """How many peers the sockets of this process have refused, by address, see `Gate.refused`."""
    return dict(_gate.refused) if _gate else {}


def _monitor(context: zmq.Context, socket: zmq.Socket, wanted: int) -> zmq.Socket:
    """A socket that receives events of another one."""
    address = f"inproc://blendtorch-monitor-{next(_numbers)}"
    socket.monitor(address, wanted)
    events: zmq.Socket = context.socket(zmq.PAIR)
    events.setsockopt(zmq.RCVHWM, 0)  # at a limit ZeroMQ's own thread would wait
    events.connect(address)
    return events


def _read(events: zmq.Socket) -> tuple[int, int, str]:
    numbers, address = events.recv_multipart()
    event, value = struct.unpack("=Hi", numbers)
    return event, value, address.decode(errors="replace")
