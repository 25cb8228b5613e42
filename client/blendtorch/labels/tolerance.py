"""`DepthTolerance`: by how much two depths may differ and still be of one surface."""

from typing import NamedTuple

import numpy as np


class DepthTolerance(NamedTuple):
    """A share of the depth plus a length.

    The share grows with distance as the footprint of a pixel does: half a pixel of an image with f = 500 px is a
    thousandth of the depth, on a surface that falls away at 79 degrees (slope 5) five thousandths. The length covers
    what lies on a surface, such as a decal, or a keypoint that is not quite on its mesh. A depth buffer of 24 bits
    stays below both.
    """

    relative: float = 0.005
    """Share of the depth."""
    metres: float = 0.001
    """Added to it, metres."""

    def in_front(self, surface_m: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
        """Tell where a surface hides what lies at a depth: is nearer by more than the tolerance.

        Args:
            surface_m: (...) depth of the surface, metres; inf where there is none, which hides nothing.
            depth_m: (...) depth of what may be hidden, metres, above 0.

        Returns:
            (...) bool; False where either is NaN.
        """
        return surface_m < depth_m * (1.0 - self.relative) - self.metres

    def apart(self, depth_m: np.ndarray, expected_m: np.ndarray) -> np.ndarray:
        """Tell where two depths, (...) metres, finite and of any sign, differ by more than the tolerance."""
        return np.abs(depth_m - expected_m) > self.relative * np.abs(expected_m) + self.metres


DEFAULT_TOLERANCE = DepthTolerance()
