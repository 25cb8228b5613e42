"""Gives the samples of a Blender window and of its workers to clients and to a recording, on a thread of its own.

Runs inside Blender's window. Imports numpy, `blendtorch.wire` and `blendtorch.recording`; never bpy or torch.
"""

from .sample_hub import SampleHub
from .stats import HubStats

__all__ = ["HubStats", "SampleHub"]
