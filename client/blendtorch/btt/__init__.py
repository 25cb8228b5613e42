"""The training side: launches Blender and receives from it. Imports torch and `blendtorch.wire`, never bpy."""

from ..errors import (
    AddressError,
    AuthenticationError,
    BlenderNotFoundError,
    BlendTorchError,
    ConfigError,
    InstanceError,
    InstanceStartTimeout,
    MissingFileError,
    PeerTimeout,
    PickleNotAllowedError,
    ProtocolError,
    ProtocolVersionError,
    ScriptError,
    UnknownSocketError,
)
from ..wire.curve import CurveKeys
from .collate import collate
from .colors import linear_to_srgb, srgb_to_linear
from .dataset import RemoteIterableDataset
from .duplex import DuplexChannel
from .finder import Blender, find_blender
from .launch_info import LaunchInfo
from .launcher import BlenderLauncher
from .montage import montage
from .progress import progress
from .stats import InstanceStats, StreamStats
from .stream import stream
from .stream_loader import StreamLoader
from .supervisor import Restart

__all__ = [
    "AddressError",
    "AuthenticationError",
    "BlendTorchError",
    "Blender",
    "BlenderLauncher",
    "BlenderNotFoundError",
    "ConfigError",
    "CurveKeys",
    "DuplexChannel",
    "InstanceError",
    "InstanceStartTimeout",
    "InstanceStats",
    "LaunchInfo",
    "MissingFileError",
    "PeerTimeout",
    "PickleNotAllowedError",
    "ProtocolError",
    "ProtocolVersionError",
    "RemoteIterableDataset",
    "Restart",
    "ScriptError",
    "StreamLoader",
    "StreamStats",
    "UnknownSocketError",
    "collate",
    "find_blender",
    "linear_to_srgb",
    "montage",
    "progress",
    "srgb_to_linear",
    "stream",
]
