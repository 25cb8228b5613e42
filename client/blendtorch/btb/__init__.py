"""The Blender side: runs inside Blender, imports bpy, `blendtorch.wire`, `blendtorch.recording` and
`blendtorch.labels`, never torch.
"""

from ..labels.check import LabelChecker, check_labels
from ..recording import RecordingSettings
from . import env, randomize, setup
from .animation import AnimationController
from .arguments import parse_blendtorch_args
from .camera import Camera
from .coordinates import bbox_coordinates, object_coordinates, object_origins
from .duplex import DuplexChannel
from .frame_renderer import FrameRenderer
from .keypoints import Keypoint
from .label_renderer import LabelRenderer
from .offscreen import OffScreenRenderer
from .output_channel import BlenderOutputChannel
from .recorder import Recorder
from .sampling import sample_indices, sample_rng
from .signal import Signal
from .visibility import object_visibility, points_visible

__all__ = [
    "AnimationController",
    "BlenderOutputChannel",
    "Camera",
    "DuplexChannel",
    "FrameRenderer",
    "Keypoint",
    "LabelChecker",
    "LabelRenderer",
    "OffScreenRenderer",
    "Recorder",
    "RecordingSettings",
    "Signal",
    "bbox_coordinates",
    "check_labels",
    "env",
    "object_coordinates",
    "object_origins",
    "object_visibility",
    "parse_blendtorch_args",
    "points_visible",
    "randomize",
    "sample_indices",
    "sample_rng",
    "setup",
]
