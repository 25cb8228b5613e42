"""Colour: sRGB, as pictures are shown and stored, and linear, as light adds up. For numpy arrays and torch tensors."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from .. import srgb

Image = TypeVar("Image", np.ndarray, torch.Tensor)


def srgb_to_linear(image: Image) -> Image:
    """Removes the sRGB transfer curve (IEC 61966-2-1). Do not pass alpha: it is linear already.

    Args:
        image: sRGB, any shape: uint8 0 .. 255, or floating point 0 .. 1.

    Returns:
        Linear light, 0 .. 1, of the same kind and shape; float32 for uint8, else of the same dtype.

    Raises:
        TypeError: `image` is of another dtype.
    """
    return srgb.to_linear(_as_float(image), _where_of(image))


def linear_to_srgb(image: Image) -> Image:
    """Applies the sRGB transfer curve (IEC 61966-2-1). Do not pass alpha: it stays linear.

    Args:
        image: Linear light, any shape: floating point 0 .. 1 (or uint8 0 .. 255, which is coarse in the dark).

    Returns:
        sRGB, 0 .. 1, of the same kind and shape; float32 for uint8, else of the same dtype.

    Raises:
        TypeError: `image` is of another dtype.
    """
    return srgb.to_srgb(_as_float(image), _where_of(image))


def _where_of(image: Any) -> Callable[[Any, Any, Any], Any]:
    return torch.where if isinstance(image, torch.Tensor) else np.where


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
