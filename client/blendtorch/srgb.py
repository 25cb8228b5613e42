"""The sRGB transfer curve, IEC 61966-2-1:1999, section 5.2, for whoever has arrays with `clip` and a `where`."""

from collections.abc import Callable
from typing import Any

# The two pieces of the curve meet at these values.
_SRGB_KNEE = 0.04045
_LINEAR_KNEE = 0.0031308


def to_linear(srgb: Any, where: Callable[[Any, Any, Any], Any]) -> Any:
    """Removes the curve.

    Args:
        srgb: Array or tensor of floating point, 0 .. 1.
        where: `numpy.where` for arrays, `torch.where` for tensors.

    Returns:
        Linear light of the same kind, shape and dtype.
    """
    return where(srgb <= _SRGB_KNEE, srgb / 12.92, ((srgb.clip(min=0) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Any, where: Callable[[Any, Any, Any], Any]) -> Any:
    """Applies the curve; arguments as for `to_linear`, the other way round."""
    return where(linear <= _LINEAR_KNEE, linear * 12.92, 1.055 * linear.clip(min=0) ** (1 / 2.4) - 0.055)
