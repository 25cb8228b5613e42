"""Randomizers of lights."""

import math
from dataclasses import dataclass
from typing import Literal

from . import find
from .context import Context
from .distributions import Distribution
from .draws import check_color, check_number, color, number
from .randomizer import Randomizer, register
from .target import Target

LIGHTS = ("LIGHT", "OBJECT", "COLLECTION")
"""Types of targets that stand for lights: objects for the light that they are, if they are one."""


@register
@dataclass(frozen=True)
class LightEnergy(Randomizer):
    """How bright a light is.

    Attributes:
        target: Of type LIGHT, or OBJECT or COLLECTION: the lights among them.
        distribution: Watts; of suns, watts per square metre. `LogUniform` is what eyes call even.
    """

    target: Target
    distribution: Distribution

    TARGETS = LIGHTS

    def apply(self, ctx: Context) -> None:
        """Draws one number of each light."""
        for light in find.lights(ctx, self.target):
            ctx.change(light, "energy", number(self.distribution, ctx.rng))

    def check(self, ctx: Context) -> None:
        """Looks for the lights, and whether the distribution gives numbers."""
        find.lights(ctx, self.target)
        check_number(self.distribution, -math.inf, math.inf)


@register
@dataclass(frozen=True)
class LightColor(Randomizer):
    """A light's colour.

    Attributes:
        target: Of type LIGHT, or OBJECT or COLLECTION: the lights among them.
        distribution: Of three components. RGB is scene-linear; hue, saturation and value of HSV are of the linear colour.
        space: What the three mean.
    """

    target: Target
    distribution: Distribution
    space: Literal["RGB", "HSV"] = "RGB"

    TARGETS = LIGHTS

    def apply(self, ctx: Context) -> None:
        """Draws one colour of each light."""
        for light in find.lights(ctx, self.target):
            ctx.change(light, "color", color(self.distribution, self.space, ctx.rng))

    def check(self, ctx: Context) -> None:
        """Looks for the lights, and whether the distribution gives colours."""
        find.lights(ctx, self.target)
        check_color(self.distribution, self.space)
