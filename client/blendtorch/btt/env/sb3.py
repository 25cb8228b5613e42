"""A vector environment for Stable-Baselines3."""

from typing import TYPE_CHECKING

from gymnasium.vector import AutoresetMode

from ...errors import ConfigError
from .blender_vector_env import BlenderVectorEnv

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv


def to_sb3(env: BlenderVectorEnv) -> "VecEnv":
    """The environment as Stable-Baselines3's `VecEnv`.

    Args:
        env: One with `autoreset_mode` SAME_STEP, for that is when Stable-Baselines3 wants its next episodes to begin.

    Returns:
        The adapter; closing it closes the environment.

    Raises:
        ConfigError: Its `autoreset_mode` is another.
        ImportError: Stable-Baselines3 is not installed: pip install stable-baselines3.
    """
    from .sb3_vec_env import SB3VecEnv

    if env.autoreset_mode != AutoresetMode.SAME_STEP:
        raise ConfigError(
            f"autoreset_mode is {env.autoreset_mode}, expected SAME_STEP: BlenderVectorEnv(..., autoreset_mode='SameStep')."
        )
    return SB3VecEnv(env)
