"""The training side: launches Blender and receives from it.

Imports torch, `blendtorch.wire`, `blendtorch.recording`, `blendtorch.export` and `blendtorch.labels`, never bpy.
"""

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
    RecordingError,
    RecordingWriteError,
    ScriptError,
    UnknownSocketError,
)
from ..export import ExportSummary, export
from ..export.annotate import annotate
from ..labels.check import LabelChecker, check_labels
from ..labels.pictures import PANELS, depth_to_rgb, ids_to_rgb, normals_to_rgb, panels
from ..launch.finder import Blender, find_blender
from ..launch.launch_info import LaunchInfo
from ..launch.launcher import BlenderLauncher
from ..launch.supervisor import Restart
from ..recording import FieldSchema, Recording, RecordingSettings, RecordingWriter
from ..wire.curve import CurveKeys
from . import env
from .collate import collate
from .colors import linear_to_srgb, srgb_to_linear
from .dataset import RemoteIterableDataset
from .duplex import DuplexChannel
from .file_dataset import FileDataset
from .inspection import Inspection, inspect
from .montage import montage
from .progress import progress
from .replay_loader import ReplayLoader
from .reuse_loader import ReuseLoader, ReuseStats
from .stats import InstanceStats, StreamStats
from .stream import stream
from .stream_loader import StreamLoader

__all__ = [
    "PANELS",
    "AddressError",
    "AuthenticationError",
    "BlendTorchError",
    "Blender",
    "BlenderLauncher",
    "BlenderNotFoundError",
    "ConfigError",
    "CurveKeys",
    "DuplexChannel",
    "ExportSummary",
    "FieldSchema",
    "FileDataset",
    "Inspection",
    "InstanceError",
    "InstanceStartTimeout",
    "InstanceStats",
    "LabelChecker",
    "LaunchInfo",
    "MissingFileError",
    "PeerTimeout",
    "PickleNotAllowedError",
    "ProtocolError",
    "ProtocolVersionError",
    "Recording",
    "RecordingError",
    "RecordingSettings",
    "RecordingWriteError",
    "RecordingWriter",
    "RemoteIterableDataset",
    "ReplayLoader",
    "Restart",
    "ReuseLoader",
    "ReuseStats",
    "ScriptError",
    "StreamLoader",
    "StreamStats",
    "UnknownSocketError",
    "annotate",
    "check_labels",
    "collate",
    "depth_to_rgb",
    "env",
    "export",
    "find_blender",
    "ids_to_rgb",
    "inspect",
    "linear_to_srgb",
    "montage",
    "normals_to_rgb",
    "panels",
    "progress",
    "srgb_to_linear",
    "stream",
]
