"""The environments that come with BlendTorch, by their names for `gymnasium.make`."""

from pathlib import Path

import gymnasium

import blendtorch

# Run inside Blender, never imported here.
_SCRIPTS = Path(blendtorch.__file__).parent / "btb" / "envs"
_NAMES = {"CartPole-v0": "cartpole.py", "CartPolePixels-v0": "cartpole_pixels.py"}


def register() -> None:
    """Makes them known to Gymnasium: "blendtorch/CartPole-v0" and so on."""
    for name, script in _NAMES.items():
        gymnasium.register(
            f"blendtorch/{name}",
            entry_point="blendtorch.btt.env.blender_env:BlenderEnv",
            vector_entry_point="blendtorch.btt.env.blender_vector_env:BlenderVectorEnv",
            kwargs={"script": str(_SCRIPTS / script)},
        )
