"""Runs inside Blender: a pole on a cart, of which the agent sees a picture."""

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from blendtorch import btb
from blendtorch.btb.env import spaces
from blendtorch.btb.envs.cartpole import CartPole

SIZE = 84


class CartPolePixels(CartPole):
    """A pole on a cart, seen by a camera that does not move.

    Observations are (84, 84, 3) uint8, sRGB, first row at the top. One picture does not show speeds: put
    `gymnasium.wrappers.FrameStackObservation` around it. All else is as in `CartPole`, of which it has one.

    Args:
        substeps: As of `CartPole`.
        iterations: As of `CartPole`.
    """

    observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)

    def __init__(self, substeps: int = 1, iterations: int = 10) -> None:
        super().__init__(1, substeps, iterations)
        camera = btb.Camera(bpy.data.objects["Camera"], shape=(SIZE, SIZE))
        self._eye = btb.OffScreenRenderer(camera, mode="rgb", samples=1)
        self._picture = np.zeros((SIZE, SIZE, 3), np.uint8)

    def reset(self, agents: np.ndarray, rngs: Sequence[np.random.Generator], options: dict[str, Any]) -> np.ndarray:
        """Begins as `CartPole` does."""
        super().reset(agents, rngs, options)
        bpy.context.view_layer.update()
        return self._eye.render(self._picture)[None]

    def step(self, actions: np.ndarray, active: np.ndarray) -> tuple:
        """Plays a step, and takes a picture."""
        _, *rest = super().step(actions, active)
        return self._eye.render(self._picture)[None], *rest


if __name__ == "__main__":
    btb.env.run(CartPolePixels)
