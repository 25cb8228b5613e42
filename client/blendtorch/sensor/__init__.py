"""Effects of real cameras on pictures and labels, in plain numpy. Imports numpy, errors and labels."""

from .depth_noise import DepthCameraNoise
from .distortion import BrownConrady
from .motion_blur import MotionBlur, average_subframes, subframe_times
from .noise import ShotReadNoise

__all__ = [
    "BrownConrady",
    "DepthCameraNoise",
    "MotionBlur",
    "ShotReadNoise",
    "average_subframes",
    "subframe_times",
]
