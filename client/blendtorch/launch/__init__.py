"""Starts and watches Blender processes.

Imports `blendtorch.wire`, `blendtorch.recording` and, where there is one, psutil; never bpy or torch: it runs on the
training side as well as inside a Blender, which launches workers with it.
"""

from .finder import Blender, find_all, find_blender
from .launch_info import LaunchInfo
from .launcher import BlenderLauncher
from .supervisor import InstanceState, Restart

__all__ = ["Blender", "BlenderLauncher", "InstanceState", "LaunchInfo", "Restart", "find_all", "find_blender"]
