"""Pictures looked up at other positions: bilinear or nearest, with a fill outside."""

from typing import Literal

import numpy as np

from ..errors import ConfigError

Interpolation = Literal["linear", "nearest"]


class SamplingMap:
    """For each pixel of a new picture, where to look in the old one; both have the same size.

    Args:
        positions: (H, W, 2) float64 continuous pixel positions (x, y) in the old picture, (0, 0) its outer corner.

    Attributes:
        positions: As given, float64.
        inside: (H, W) bool, whether the position lies in the old picture.
    """

    def __init__(self, positions: np.ndarray) -> None:
        height, width = positions.shape[:2]
        self.shape = (height, width)
        # Rounded so that arithmetic of 1e-13 does not decide between two pixels.
        self.positions = np.round(positions, 9)
        x, y = self.positions[..., 0], self.positions[..., 1]
        self.inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
        self._nearest = _flat(np.floor(x), np.floor(y), width, height)
        left, top = np.floor(x - 0.5), np.floor(y - 0.5)  # of the pixels whose centres are around
        self._taps = [_flat(left + i, top + j, width, height) for j in (0, 1) for i in (0, 1)]
        self._right = (x - 0.5 - left).astype(np.float32).reshape(-1, 1)
        self._below = (y - 0.5 - top).astype(np.float32).reshape(-1, 1)

    def sample(self, image: np.ndarray, interpolation: Interpolation, fill: float | bool) -> np.ndarray:
        """Makes the new picture.

        Args:
            image: (H, W) or (H, W, C). For "linear" uint8 or floating point; any dtype for "nearest".
            interpolation: "linear": the four pixels around, blended; at the border those that there are.
                "nearest": the pixel in which the position lies.
            fill: What is outside.

        Returns:
            Same shape and dtype.

        Raises:
            ConfigError: Another shape, an unknown interpolation, or "linear" for other integers, which are ids or classes.
        """
        if image.shape[:2] != self.shape:
            raise ConfigError(f"expected a picture of {self.shape}, got {image.shape}")
        pixels = image.reshape(self.shape[0] * self.shape[1], -1)
        if interpolation == "nearest":
            new = pixels[self._nearest]
        elif interpolation != "linear":
            raise ConfigError(f'interpolation must be "linear" or "nearest", got {interpolation!r}')
        elif image.dtype == np.uint8:
            new = (self._blend(pixels.astype(np.float32)) + np.float32(0.5)).astype(np.uint8)
        elif np.issubdtype(image.dtype, np.floating):
            new = self._blend(pixels).astype(image.dtype, copy=False)
        else:
            raise ConfigError(f'"linear" would blend {image.dtype}, expected uint8 or floating point: take "nearest"')
        new[~self.inside.reshape(-1)] = fill
        return new.reshape(image.shape)

    def _blend(self, pixels: np.ndarray) -> np.ndarray:
        """(H * W, C) floating point to the same."""
        rows = []
        for left, right in (self._taps[:2], self._taps[2:]):
            new = pixels[right]
            start = pixels[left]
            new -= start
            new = new * self._right
            new += start
            rows.append(new)
        upper, lower = rows
        lower -= upper
        lower *= self._below
        lower += upper
        return lower


def _flat(x: np.ndarray, y: np.ndarray, width: int, height: int) -> np.ndarray:
    """Turns whole x and y into row-major indices, (H * W,); what is outside becomes the nearest border pixel."""
    column = np.clip(x, 0, width - 1).astype(np.intp)
    row = np.clip(y, 0, height - 1).astype(np.intp)
    return (row * width + column).reshape(-1)
