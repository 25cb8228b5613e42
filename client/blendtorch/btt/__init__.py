"""The training side: launches Blender and receives from it. Imports torch and `blendtorch.wire`, never bpy."""

from ..errors import (
    AddressError,
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
from .colors import linear_to_srgb, srgb_to_linear
from .dataset import RemoteIterableDataset
from .duplex import DuplexChannel
from .finder import Blender, find_blender
from .launch_info import LaunchInfo
from .launcher import BlenderLauncher
from .montage import montage

__all__ = [
    "AddressError",
    "BlendTorchError",
    "Blender",
    "BlenderLauncher",
    "BlenderNotFoundError",
    "ConfigError",
    "DuplexChannel",
    "InstanceError",
    "InstanceStartTimeout",
    "LaunchInfo",
    "MissingFileError",
    "PeerTimeout",
    "PickleNotAllowedError",
    "ProtocolError",
    "ProtocolVersionError",
    "RemoteIterableDataset",
    "ScriptError",
    "UnknownSocketError",
    "find_blender",
    "linear_to_srgb",
    "montage",
    "srgb_to_linear",
]
