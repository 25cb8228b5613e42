"""What both ends must agree on: messages, sockets, keys, launch arguments. Imports stdlib and numpy, three modules zmq."""

from ..errors import EncodeError, PickleNotAllowedError, ProtocolError, ProtocolVersionError
from .codec import decode, encode
from .launch_args import LaunchArguments, NamedSockets
from .message import PROTOCOL_VERSION, Kind, Message

__all__ = [
    "PROTOCOL_VERSION",
    "EncodeError",
    "Kind",
    "LaunchArguments",
    "Message",
    "NamedSockets",
    "PickleNotAllowedError",
    "ProtocolError",
    "ProtocolVersionError",
    "decode",
    "encode",
]
