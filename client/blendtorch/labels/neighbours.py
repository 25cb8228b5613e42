"""`four_pixels`: the four pixels around a point of an image, which is where one looks for the surface at that point."""

import numpy as np

AT_CENTRE_PX = 0.01
"""How far from a pixel's centre a projected point still is at it: well above the rounding of float32, and below
what makes a difference in depth. So what has not moved is compared with its own pixel and no other."""


def inside(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Tell which points lie in the image: 0 <= x < W and 0 <= y < H, so that some pixel holds them.

    Args:
        x: (...) pixels; NaN is outside.
        y: (...) pixels.
        shape: (H, W).

    Returns:
        (...) bool.
    """
    height, width = shape
    return (x >= 0.0) & (x < width) & (y >= 0.0) & (y < height)


def four_pixels(
    x: np.ndarray, y: np.ndarray, shape: tuple[int, int], at_centre_px: float = 0.0
) -> tuple[np.ndarray, ...]:
    """Find the 2 x 2 pixels whose centres are around each point.

    A point at the centre of a pixel, or level with it, has no other pixel to that side: the one is there twice. So it is
    within half a pixel of the border of the image, where centres are on one side alone.

    Args:
        x: (N,) pixels, in the image.
        y: (N,) pixels, in the image.
        shape: (H, W).
        at_centre_px: How far from a centre still counts as at it, pixels.

    Returns:
        Four arrays, (N,) int64: indices into the flattened image, of the upper left, upper right, lower left and lower
        right pixel.
    """
    left, right = _two(x, shape[1], at_centre_px)
    upper, lower = _two(y, shape[0], at_centre_px)
    upper *= shape[1]
    lower *= shape[1]
    return upper + left, upper + right, lower + left, lower + right


def _two(position: np.ndarray, length: int, at_centre_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels on either side along an axis of that length."""
    first = (position + (0.5 + at_centre_px)).astype(np.int64) - 1  # truncation is floor, for no position is below 0
    second = np.ceil(position - (0.5 + at_centre_px)).astype(np.int64)
    return np.maximum(first, 0, out=first), np.minimum(second, length - 1, out=second)
