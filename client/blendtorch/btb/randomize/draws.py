"""What was drawn, as the numbers and colours that are to be set. No bpy here."""

import colorsys
from typing import Any

import numpy as np

from ...errors import RandomizeError
from .distributions import Constant, Distribution
from .fields import is_number


def numbers(drawn: Any, size: int) -> np.ndarray:
    """What was drawn as (size,) float64.

    Raises:
        RandomizeError: It is not that many numbers.
    """
    items = list(drawn) if isinstance(drawn, tuple | np.ndarray) else [drawn]
    if len(items) != size or not all(is_number(item) for item in items):
        raise RandomizeError(
            f"the distribution gave {drawn!r}; expected {'a number' if size == 1 else f'{size} numbers'}"
        )
    return np.asarray(items, dtype=np.float64)


def number(distribution: Distribution, rng: np.random.Generator) -> float:
    """Draws one number.

    Raises:
        RandomizeError: It gives something else.
    """
    return float(numbers(distribution.sample(rng, 1), 1)[0])


def color(distribution: Distribution, space: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Draws a colour.

    Args:
        distribution: Of three components.
        space: "RGB" or "HSV".
        rng: Where the randomness comes from.

    Returns:
        Scene-linear RGB.

    Raises:
        RandomizeError: It is no colour: not three numbers, below 0, or saturation above 1.
    """
    x, y, z = (float(item) for item in numbers(distribution.sample(rng, 3), 3))
    if space == "HSV":
        if not 0.0 <= y <= 1.0 or z < 0.0:
            raise RandomizeError(
                f"hue, saturation, value are {x:g}, {y:g}, {z:g}; saturation is 0 to 1, value 0 or more"
            )
        return colorsys.hsv_to_rgb(x % 1.0, y, z)
    if min(x, y, z) < 0.0:
        raise RandomizeError(f"the colour is {x:g}, {y:g}, {z:g}; red, green and blue are 0 or more")
    return x, y, z


def check_number(distribution: Distribution, low: float, high: float) -> None:
    """Looks whether a distribution gives numbers within limits.

    Raises:
        RandomizeError: It does not.
    """
    rng = np.random.default_rng(0)
    for example in distribution.examples():
        within(number(Constant(example), rng), low, high)


def check_color(distribution: Distribution, space: str) -> None:
    """Looks whether a distribution gives colours.

    Raises:
        RandomizeError: It does not.
    """
    rng = np.random.default_rng(0)
    for example in distribution.examples():
        color(Constant(example), space, rng)


def within(value: float, low: float, high: float) -> float:
    """The value, which Blender would otherwise limit without a word.

    Raises:
        RandomizeError: It is out of the range.
    """
    if isinstance(value, int):
        is_within, digits = low <= value <= high, ".10g"
    else:
        # Limits are known as float32, in which 0.1 is a little more. What is too large for one is infinite.
        with np.errstate(over="ignore"):
            is_within, digits = bool(np.float32(low) <= np.float32(value) <= np.float32(high)), "g"
    if not is_within:
        raise RandomizeError(
            f"{value:{digits}} is out of the range {low:{digits}} to {high:{digits}}; change the distribution, or limit it"
        )
    return value
