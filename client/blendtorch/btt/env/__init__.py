"""Blender as an environment for Gymnasium. Importing it makes "blendtorch/CartPole-v0" known to `gymnasium.make`."""

from .blender_env import BlenderEnv
from .blender_vector_env import BlenderVectorEnv
from .registration import register
from .sb3 import to_sb3

__all__ = ["BlenderEnv", "BlenderVectorEnv", "launch_env", "to_sb3"]

launch_env = BlenderEnv  # as the predecessor calls it

register()
