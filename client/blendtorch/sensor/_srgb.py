"""Pictures into linear light and back, by tables."""

import numpy as np

from .. import srgb
from ..errors import ConfigError


def _decoded(codes: np.ndarray) -> np.ndarray:
    """Codes 0 .. 255, also between whole ones, to linear light, float32."""
    return srgb.to_linear(codes / 255.0, np.where).astype(np.float32)


_LINEAR_OF_CODE = _decoded(np.arange(256))
# Encoding without a power for each pixel: a table of 2^16 steps of light, none of which has room for two codes, gives
# the code at the lower end of the step, and one comparison tells whether the next code has begun. The last never does.
_STEPS = 2**16
_CODE_STARTS = np.append(_decoded(np.arange(255) + 0.5), np.float32(np.inf))
_CODE_OF_STEP = np.searchsorted(_CODE_STARTS, np.arange(_STEPS + 1) / _STEPS, side="right").astype(np.uint8)


def num_colors(image: np.ndarray) -> int:
    """Checks the layout of a picture and counts its channels without alpha.

    Args:
        image: (H, W), or (H, W, C) with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).

    Returns:
        1 or 3; the channel after these, if there is one, is alpha.

    Raises:
        ConfigError: Another shape or type, or neither uint8 nor floating point.
    """
    if not isinstance(image, np.ndarray):
        raise ConfigError(
            f"expected a picture as a numpy array, got {type(image).__name__} (of a tensor, its .numpy())"
        )
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ConfigError(f"expected a picture of uint8 (sRGB) or floating point (linear light), got {image.dtype}")
    if image.ndim == 2:
        return 1
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4):
        raise ConfigError(f"expected a picture of shape (H, W) or (H, W, 1 .. 4), got {image.shape}")
    return 3 if image.shape[2] >= 3 else 1


def decode(codes: np.ndarray) -> np.ndarray:
    """Turns uint8 sRGB codes of any shape into linear light, float32 0 .. 1."""
    return _LINEAR_OF_CODE[codes]


def encode(linear: np.ndarray) -> np.ndarray:
    """Turns linear light of any shape into uint8 sRGB codes, rounded; below 0 and above 1 is clipped."""
    light = np.clip(linear, 0.0, 1.0)
    codes = _CODE_OF_STEP[(light * _STEPS).astype(np.int32)]
    return codes + (light >= _CODE_STARTS[codes])
