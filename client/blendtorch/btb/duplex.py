"""The Blender end of a two-way channel."""

from typing import Any

from ..wire import Kind, LaunchArguments, Message, duplex
from .session import open_session


class DuplexChannel(duplex.DuplexChannel):
    __doc__ = duplex.DuplexChannel.__doc__
    _binds = True

    def __init__(self, address: str, btid: int | None = None, **options: Any) -> None:
        self._session = open_session(LaunchArguments())
        super().__init__(address, btid, **{"curve": self._session.curve, **options})
        self._session.add_channel(self)

    def close(self) -> None:
        """Closes the channel; what is queued may still leave for `linger_ms`."""
        self._session.remove_channel(self)
        super().close()

    def publish_error(self, body: dict[str, str], duration_s: float) -> None:
        """Tells the client that this instance has failed.

        Raises:
            PeerTimeout: The client did not take the message within `duration_s` seconds.
        """
        self.socket.send(Message(Kind.ERROR, body, self.btid), duration_s)

    def ready(self) -> bool:
        """Always true: only the script itself knows when it is going to send."""
        return True
