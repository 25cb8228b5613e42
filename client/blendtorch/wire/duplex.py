"""The two-way channel: the same class at both ends, of which the Blender side binds and the training side connects."""

from typing import Any, ClassVar

from ..errors import PeerTimeout, ProtocolError
from .curve import CurveKeys
from .message import Kind, Message, script_error
from .sockets import DEFAULT_QUEUE_SIZE, MessageSocket


class DuplexChannel:
    """Messages both ways between one Blender instance and one client: while one is connected, others are not heard.

    Args:
        address: What the Blender side binds and the client connects to.
        btid: Id of the Blender instance; the client passes the id of the instance it talks to.
        queue_size: How many messages may wait in each direction before `send` is held.
        timeoutms: How many milliseconds `send` and `recv` wait unless told otherwise; None waits for ever.
        linger_ms: How many milliseconds messages still queued at `close` may take to leave.
        allow_pickle: Whether values that the protocol has no type for are pickled. Both ends must ask for it.
        curve: The keys of the launch, where it has some: `launch_info.curve`. The Blender side knows them by itself.

    Raises:
        AddressError: The address is in use, malformed, or not of this machine.
        ConfigError: Other machines reach what the Blender side binds, and it has no keys.
    """

    _binds: ClassVar[bool]  # set by `btb.DuplexChannel` and `btt.DuplexChannel`

    def __init__(
        self,
        address: str,
        btid: int | None = None,
        *,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        timeoutms: float | None = 10_000,
        linger_ms: float = 1000,
        allow_pickle: bool = False,
        curve: CurveKeys | None = None,
    ) -> None:
        self.btid = btid
        self._timeout_s = None if timeoutms is None else timeoutms / 1000
        self._linger_s = linger_ms / 1000
        self._seq = 0
        self.socket = MessageSocket(
            "pair", address, bind=self._binds, queue_size=queue_size, allow_pickle=allow_pickle, curve=curve
        )

    @property
    def address(self) -> str:
        """The address in use; where a free port was asked for, the port that was found."""
        return self.socket.addresses[0]

    def send(self, **fields: Any) -> int:
        """Sends the fields as one message.

        Returns:
            The message's number; the receiver sees it as the field `btmid`.

        Raises:
            PeerTimeout: The other end took nothing for as long as the channel waits.
            AuthenticationError: The other end does not let this one in: its launch has keys, or other ones.
        """
        mid = self._seq
        self.socket.send(Message(Kind.DUPLEX, fields, self.btid, seq=mid), self._timeout_s)
        self._seq += 1
        return mid

    def recv(self, timeoutms: float | None = -1) -> dict[str, Any] | None:
        """Takes the next message of the other end.

        Args:
            timeoutms: How many milliseconds to wait: 0 looks only, None waits for ever, -1 as long as the channel does.

        Returns:
            The fields, with `btid` and `btmid` (the message's number) added; None when no message came in time.

        Raises:
            ScriptError: The script inside Blender has raised while it had this channel; the message carries its
                traceback. Of a Blender that has died otherwise `launcher.assert_alive()` tells.
            ProtocolError: What came is not a message of a duplex channel. The next call takes the next one.
            AuthenticationError: As with `send`.
        """
        timeout_s = self._timeout_s if timeoutms == -1 else None if timeoutms is None else timeoutms / 1000
        try:
            message = self.socket.recv(timeout_s)
        except PeerTimeout:
            return None
        if message.kind == Kind.ERROR:
            raise script_error(message)
        if message.kind != Kind.DUPLEX or not isinstance(message.body, dict):
            raise ProtocolError(f"a duplex channel got a message of kind {message.kind[:32]!r}, expected 'duplex'.")
        return {**message.body, "btid": message.btid, "btmid": message.seq}

    def close(self) -> None:
        """Closes the channel; what is queued may still leave for `linger_ms`."""
        self.socket.close(self._linger_s)
