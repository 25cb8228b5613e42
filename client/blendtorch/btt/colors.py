"""Colour: sRGB, as pictures are shown and stored, and linear, as light adds up. For numpy arrays and torch tensors."""

from typing import Any, TypeVar

import numpy as np
import torch

Image = TypeVar("Image", np.ndarray, torch.Tensor)

# IEC 61966-2-1:1999, section 5.2. The two pieces of the curve meet at these values.
_SRGB_KNEE = 0.04045
_LINEAR_KNEE = 0.0031308


def srgb_to_linear(image: Image) -> Image:
    """Removes the sRGB transfer curve (IEC 61966-2-1). Do not pass alpha: it is linear already.

    Args:
        image: sRGB, any shape: uint8 0 .. 255, or floating point 0 .. 1.

    Returns:
        Linear light, 0 .. 1, of the same kind and shape; float32 for uint8, else of the same dtype.

    Raises:
        TypeError: `image` is of another dtype.
    """
    x = _as_float(image)
    return _where(x <= _SRGB_KNEE, x / 12.92, ((x.clip(min=0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(image: Image) -> Image:
    """Applies the sRGB transfer curve (IEC 61966-2-1). Do not pass alpha: it stays linear.

    Args:
        image: Linear light, any shape: floating point 0 .. 1 (or uint8 0 .. 255, which is coarse in the dark).

    Returns:
        sRGB, 0 .. 1, of the same kind and shape; float32 for uint8, else of the same dtype.

    Raises:
        TypeError: `image` is of another dtype.
    """
    x = _as_float(image)
    return _where(x <= _LINEAR_KNEE, x * 12.92, 1.055 * x.clip(min=0) ** (1 / 2.4) - 0.055)


def _where(condition: Any, low: Image, high: Image) -> Image:
    if isinstance(high, torch.Tensor):
        return torch.where(condition, low, high)
    return np.where(condition, low, high)


def _as_float(image: Image) -> Image:
    if isinstance(image, torch.Tensor):
        if image.dtype == torch.uint8:
            return image.float() / 255
        if image.is_floating_point():
            return image
    elif image.dtype == np.uint8:
        return image.astype(np.float32) / 255
    elif np.issubdtype(image.dtype, np.floating):
        return image
    raise TypeError(f"image is {image.dtype}, expected uint8 or a floating-point type.")
