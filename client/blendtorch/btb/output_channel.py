"""The channel on which an instance publishes its samples."""

from typing import Any

from ..errors import ConfigError
from ..wire import Kind, LaunchArguments, Message
from ..wire.sockets import DEFAULT_QUEUE_SIZE, MessageSocket
from .session import open_session


class BlenderOutputChannel:
    """Publishes samples to the training side. Binds `address`; any number of clients connect, and share the samples.

    Args:
        address: What to bind, usually `btargs.btsockets["DATA"]`.
        btid: Id of this instance, sent along with every sample.
        send_hwm: How many samples may wait for each client before `publish` blocks.
        linger_ms: How many milliseconds samples still queued at the end may take to leave.
        allow_pickle: Whether fields that the protocol has no type for are pickled. Both ends must ask for it.

    Raises:
        AddressError: The address is in use, malformed, or not of this machine.
    """

    def __init__(
        self,
        address: str,
        btid: int | None = None,
        send_hwm: int = DEFAULT_QUEUE_SIZE,
        linger_ms: float = 10_000,
        *,
        allow_pickle: bool = False,
    ) -> None:
        # The session that this process is already, where the script has parsed its arguments.
        self._session = open_session(LaunchArguments())
        self.btid = btid
        self._epoch = self._session.args.epoch
        self._linger_s = linger_ms / 1000
        self._seq = 0
        self._socket = MessageSocket("push", address, bind=True, queue_size=send_hwm, allow_pickle=allow_pickle)
        self._session.add_channel(self)

    @property
    def address(self) -> str:
        """The address that is bound; where a free port was asked for, the port that was found."""
        return self._socket.addresses[0]

    def publish(self, **fields: Any) -> None:
        """Sends one sample. Blocks while the clients' queues are full, or no client is connected.

        Writable arrays are copied before this returns, so they may be drawn into again; read-only ones are not copied.

        Args:
            **fields: The sample: numpy arrays, numbers, strings, lists, dicts, ...; see docs/protocol.md. The receiver
                gets them with the field `btid` added.

        Raises:
            PickleNotAllowedError: A field has a type that the protocol does not know; names the field.
            ConfigError: A field is called `btid`.
        """
        if "btid" in fields:
            raise ConfigError("the field name 'btid' is taken: every sample carries the id of its instance under it.")
        self._socket.send(Message(Kind.SAMPLE, fields, self.btid, self._epoch, self._seq))
        self._seq += 1

    def publish_error(self, body: dict[str, str], duration_s: float) -> None:
        """Tells all clients that are connected, or connect within `duration_s` seconds, that this instance has failed."""
        self._socket.offer(Message(Kind.ERROR, body, self.btid, self._epoch, self._seq), duration_s)

    def ready(self) -> bool:
        """Whether `publish` would not block."""
        return self._socket.can_send()

    def close(self) -> None:
        """Closes the channel; what is queued may still leave for `linger_ms`, as long as this process lives."""
        self._session.remove_channel(self)
        self._socket.close(self._linger_s)
