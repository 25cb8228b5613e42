"""Lens distortion after Brown and Conrady, of points, pictures, and samples with their labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from ._distort_sample import FieldRule, distort_sample
from ._resample import Interpolation, SamplingMap

_TOLERANCE_PX = 1e-6
_MAX_STEPS = 50
_KEPT_MAPS = 4


@dataclass(frozen=True, eq=False)
class BrownConrady:
    """A lens that is not quite a pinhole: radial and tangential distortion.

    With (x, y) = ((u - cx) / fx, (v - cy) / fy) of the undistorted pixel and s = x^2 + y^2, the distorted pixel is at

        g  = (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3)
        x' = x g + 2 p1 x y + p2 (s + 2 x^2)
        y' = y g + p1 (s + 2 y^2) + 2 p2 x y

    and (u', v') = (fx x' + cx, fy y' + cy). D. C. Brown, "Decentering distortion of lenses", Photogrammetric Engineering
    32(3), 1966, and "Close-range camera calibration", 37(8), 1971; in the parametrization of OpenCV (calib3d, "Detailed
    description"; rational with k4 .. k6), so that what `cv2.calibrateCamera` finds can be used here. Pixels are this
    project's, (0, 0) the outer corner of the upper left one: add 0.5 to cx and cy of an OpenCV calibration.

    The polynomial of a real lens rises as far as the lens sees. Fitted or made up, it can turn back further out, where
    two points would come to lie on one. Beyond that radius points become NaN; pictures that reach it are refused.

    The distorted picture has the size and the intrinsics of the undistorted one. With barrel distortion (k1 < 0) its edge
    shows what the undistorted picture does not have, and is filled. Depth stays along the optical axis.

    The map from pixels to pixels is computed once for each shape of picture, and kept (the last four): keep the lens, too.

    Attributes:
        intrinsics: (3, 3) K of the undistorted picture, and of the distorted one: `labels["camera"]["intrinsics"]`.
        k1, k2, k3: Radial coefficients, no unit; all 0 is no distortion.
        p1, p2: Tangential coefficients: the elements of the lens are not centred on each other.
        k4, k5, k6: Radial coefficients of the denominator: OpenCV's rational model.
    """

    intrinsics: np.ndarray
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    k5: float = 0.0
    k6: float = 0.0
    _maps: dict[tuple[int, int], SamplingMap] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        matrix = np.array(self.intrinsics, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ConfigError(f"intrinsics must be a finite matrix K of shape (3, 3), got {self.intrinsics!r}")
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or matrix[1, 0] != 0 or not np.array_equal(matrix[2], (0, 0, 1)):
            raise ConfigError(
                f"intrinsics must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0, got {matrix.tolist()}"
            )
        if not np.isfinite(self.coefficients).all():
            raise ConfigError(f"the coefficients of the distortion must be finite, got {self.coefficients.tolist()}")
        matrix.flags.writeable = False
        object.__setattr__(self, "intrinsics", matrix)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # megabytes, and quickly made again

    @property
    def coefficients(self) -> np.ndarray:
        """(5,) float64 k1, k2, p1, p2, k3 as OpenCV orders them; (8,) with k4, k5, k6 where one of these is not 0."""
        short = [self.k1, self.k2, self.p1, self.p2, self.k3]
        rational = [self.k4, self.k5, self.k6]
        return np.array(short + rational if any(rational) else short, dtype=np.float64)

    @property
    def fold_radius(self) -> float:
        """Distance from the optical axis, at depth 1, at which the radial polynomial turns back; inf if it never does.

        The smallest positive root in s = r^2 of d(r g)/dr, with g = N / M: (N + 2 s N') M - 2 s N M' = 0, or M = 0.
        """
        s = np.polynomial.Polynomial([0.0, 1.0])
        n = np.polynomial.Polynomial([1.0, self.k1, self.k2, self.k3])
        m = np.polynomial.Polynomial([1.0, self.k4, self.k5, self.k6])
        slope = (n + 2 * s * n.deriv()) * m - 2 * s * n * m.deriv()
        # Roots in 1 / s: the constant coefficients are 1, while the highest ones may be as small as they like.
        roots = np.concatenate([np.roots(slope.coef), np.roots(m.coef)])
        real = roots.real[np.abs(roots.imag) < 1e-9 * np.abs(roots.real)]
        return float(1.0 / np.sqrt(real.max())) if real.size and real.max() > 1e-12 else float("inf")

    def distort_points(self, xy: ArrayLike) -> np.ndarray:
        """Tells where the lens puts points of the undistorted picture.

        Args:
            xy: (..., 2) undistorted pixels, also outside the picture.

        Returns:
            (..., 2) float64 distorted pixels; NaN where the lens model folds over (see the class), and for NaN.

        Raises:
            ConfigError: The last axis is not of length 2.
        """
        distorted, _, valid = self._distort(self._to_normalized(xy))
        return self._to_pixel(np.where(valid, distorted, np.nan))

    def undistort_points(self, xy: ArrayLike) -> np.ndarray:
        """Tells where points of the distorted picture come from: the inverse of `distort_points`, by Newton's method.

        Args:
            xy: (..., 2) distorted pixels.

        Returns:
            (..., 2) float64 undistorted pixels, which `distort_points` brings to within 1e-6 pixels of `xy`; NaN where
            there is no such point on this side of the fold, or it was not found in 50 steps, and for NaN.

        Raises:
            ConfigError: The last axis is not of length 2.
        """
        wanted = self._to_normalized(xy)
        within = 0.999 * self.fold_radius
        tolerance = _TOLERANCE_PX / max(self.intrinsics[0, 0], self.intrinsics[1, 1])
        x = _limited(wanted, within)
        for _ in range(_MAX_STEPS):
            distorted, (a, b, d), valid = self._distort(x)
            missing = wanted - distorted
            found = np.abs(missing).max(axis=0) <= tolerance
            if (found | np.isnan(wanted[0] + wanted[1])).all():
                break
            with np.errstate(all="ignore"):  # the Jacobian [[a, b], [b, d]] may be singular beyond the fold
                step = np.stack([d * missing[0] - b * missing[1], a * missing[1] - b * missing[0]]) / (a * d - b * b)
            x = _limited(x + np.where(np.isfinite(step), step, 0.0), within)
        return self._to_pixel(np.where(found & valid, x, np.nan))

    def distort_image(
        self, image: np.ndarray, interpolation: Interpolation = "linear", fill: float | bool = 0
    ) -> np.ndarray:
        """Makes the picture that the lens would have made of an undistorted one.

        Args:
            image: (H, W) or (H, W, C), undistorted. Not optical flow, whose values change, too: see `distort_sample`.
            interpolation: "linear" for pictures, uint8 or floating point, blends the four nearest pixels (as they are
                stored, sRGB or linear, as OpenCV does). "nearest" for ids, depth, normals, classes, any dtype: takes
                one pixel, and never blends.
            fill: Where the undistorted picture has nothing: 0 for pictures, ids and normals, inf for depth.

        Returns:
            Same shape and dtype.

        Raises:
            ConfigError: The lens model folds over within the picture, or does not reach its corners; `interpolation` does
                not suit the dtype.
        """
        array = np.asarray(image)
        if array.ndim not in (2, 3):
            raise ConfigError(f"expected a picture of shape (H, W) or (H, W, C), got {array.shape}")
        return self.sampling_map((array.shape[0], array.shape[1])).sample(array, interpolation, fill)

    def distort_sample(
        self, sample: Mapping[str, Any], fields: Mapping[str, FieldRule] | None = None
    ) -> dict[str, Any]:
        """Distorts the pictures and the labels of a sample, so that they agree. An `item_transform`.

        Pictures, by name: `image*` linear, filled with 0; `ids`, `semantic` and `normals_*` nearest, 0; `depth` nearest,
        inf; `occluded_*` nearest, True; `flow_*` nearest, NaN, and turned into the flow of the distorted picture: with u
        the undistorted position of a pixel p, D(u + flow(u)) - p.

        Labels, where there are any:

        * `camera` gets `distortion`, float64 (see `coefficients`); the matrices stay those of the pinhole.
        * `instances`: `box` and `pixels` are found anew in the distorted `ids`. Without `ids` in the sample `box` becomes
          the box around the distorted outline of the box (conservative: it holds the object and may be too large), cut
          off at the picture, and `pixels` is dropped. `box_amodal` becomes the box around its distorted outline, likewise
          conservative. `box3d_pixel` is distorted corner by corner, NaN beyond the fold. `visible_fraction` and
          `truncation` are dropped: they would need the hidden surfaces rendered. All in metres stays.
        * `keypoints`: `xy` is distorted; `visibility` becomes 0 for those outside the distorted picture, and stays 0 for
          those that come into it, for the undistorted picture did not show them.

        Args:
            sample: Of arrays, with or without `labels`; not changed. What is no picture is handed on as it is.
            fields: How to treat pictures of other names: name -> ("linear" or "nearest", fill).

        Returns:
            A new dict; what did not change is shared with `sample`.

        Raises:
            ConfigError: A picture of unknown name; pictures of different sizes; labels of another camera than this lens
                has been made for, or distorted already; or as `distort_image`.
        """
        return distort_sample(self, sample, fields or {})

    def sampling_map(self, shape: tuple[int, int]) -> SamplingMap:
        """Gives the map of a shape (H, W), from the cache or made anew; errors as `distort_image`."""
        if shape not in self._maps:
            made = SamplingMap(self._undistorted_positions(shape))
            while len(self._maps) >= _KEPT_MAPS:
                self._maps.pop(next(iter(self._maps)), None)
            self._maps[shape] = made
            return made
        return self._maps[shape]

    def _undistorted_positions(self, shape: tuple[int, int]) -> np.ndarray:
        """(H, W, 2) float64: where the centre of each distorted pixel comes from."""
        height, width = shape
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
        positions = None
        if not np.isnan(self.undistort_points(corners)).any():
            grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
            positions = self.undistort_points(grid)
        if positions is None or np.isnan(positions).any():
            reach = np.linalg.norm(self._to_normalized(corners), axis=0).max()
            fold = self.fold_radius
            # An undistorted radius of `fold` is the last one, and comes to lie here; None for purely tangential folds.
            last = f"turns back at radius {fold:.3g}" if np.isfinite(fold) else "folds over by p1 and p2"
            raise ConfigError(
                f"the distortion {self.coefficients.tolist()} {last} and leaves parts of a {height} x {width} picture "
                f"without an origin; its corners have the radius {reach:.3g} (radii at depth 1). Expected a lens that is "
                "monotonic over the whole picture: take smaller coefficients, a higher one of the other sign, or a longer "
                "focal length"
            )
        return positions

    def _distort(self, x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
        """Distorts normalized (2, ...); also a, b, d of the Jacobian [[a, b], [b, d]], and which points are not folded."""
        u, v = x
        s = u * u + v * v
        n = 1 + s * (self.k1 + s * (self.k2 + s * self.k3))
        m = 1 + s * (self.k4 + s * (self.k5 + s * self.k6))
        n_slope = self.k1 + s * (2 * self.k2 + s * 3 * self.k3)
        m_slope = self.k4 + s * (2 * self.k5 + s * 3 * self.k6)
        p1, p2 = self.p1, self.p2
        with np.errstate(all="ignore"):  # far out it may overflow, which is found invalid
            g = n / m
            g_slope = (n_slope * m - n * m_slope) / (m * m)
            distorted = np.stack(
                [
                    u * g + 2 * p1 * u * v + p2 * (s + 2 * u * u),
                    v * g + p1 * (s + 2 * v * v) + 2 * p2 * u * v,
                ]
            )
            a = g + 2 * u * u * g_slope + 2 * p1 * v + 6 * p2 * u
            b = 2 * u * v * g_slope + 2 * p1 * u + 2 * p2 * v
            d = g + 2 * v * v * g_slope + 6 * p1 * v + 2 * p2 * u
            valid = (s < self.fold_radius**2) & (a * d - b * b > 0) & np.isfinite(distorted).all(axis=0)
        return distorted, (a, b, d), valid

    def _to_normalized(self, xy: ArrayLike) -> np.ndarray:
        """(..., 2) pixels to (2, ...) at depth 1, contiguous, which is faster."""
        array = np.asarray(xy, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != 2:
            raise ConfigError(f"expected points of shape (..., 2), got an array of shape {array.shape}")
        (fx, skew, cx), (_, fy, cy), _ = self.intrinsics
        y = (array[..., 1] - cy) / fy
        return np.stack([(array[..., 0] - cx - skew * y) / fx, y])

    def _to_pixel(self, x: np.ndarray) -> np.ndarray:
        (fx, skew, cx), (_, fy, cy), _ = self.intrinsics
        return np.stack([fx * x[0] + skew * x[1] + cx, fy * x[1] + cy], axis=-1)


def _limited(x: np.ndarray, radius: float) -> np.ndarray:
    """Moves (2, ...) points that are further out to that radius, on the same ray."""
    if np.isinf(radius):
        return x
    return x * np.minimum(1.0, radius / np.maximum(np.sqrt((x * x).sum(axis=0)), 1e-300))
