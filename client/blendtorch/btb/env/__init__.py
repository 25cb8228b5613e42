"""Environments for reinforcement learning inside Blender: what a script subclasses, and what serves it to Gymnasium.

Imports bpy and `blendtorch.wire`, never Gymnasium, which Blender's Python has not.
"""

from ...wire import spaces
from .base_env import BaseEnv
from .base_vector_env import BaseVectorEnv
from .physics_agents import PhysicsAgents
from .run import run
from .server import EnvServer

__all__ = ["BaseEnv", "BaseVectorEnv", "EnvServer", "PhysicsAgents", "run", "spaces"]
