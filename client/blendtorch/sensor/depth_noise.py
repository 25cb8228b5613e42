"""Noise and holes of a structured-light depth camera (Kinect of 2010 and its relatives)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from ._depth_geometry import incidence_angles, projector_shadow, window_support
from ._rng import check_rng


@dataclass(frozen=True)
class DepthCameraNoise:
    """Turns exact depth into what a camera with an infrared projector beside it would have measured.

    In this order:

    1. Holes of the geometry: where the projector's light does not reach (its shadow, found along the rows); where the
       surface is seen at a grazing angle; where too little of the correlation window lies on one surface (edges, thin
       things).
    2. Lateral noise: each pixel takes its depth from a place nearby, Gaussian with

           sigma_L(theta) [pixels] = 0.8 + 0.035 theta / (pi/2 - theta)

    3. Axial noise, Gaussian with

           sigma_z(z, theta) [m] = 0.0012 + 0.0019 (z - 0.4)^2 + 0.0001 / sqrt(z) * theta^2 / (pi/2 - theta)^2

       theta is the angle between the surface's normal and the viewing ray, z in metres. Both: C. V. Nguyen, S. Izadi and
       D. Lovell, "Modeling Kinect sensor noise for improved 3D reconstruction and tracking", 3DIMPVT 2012, section 2. Their
       sigma_z was measured, so it has the quantization in it; step^2 / 12 is taken off its square before (4.) adds it.
    4. Quantization: disparity f b / z in steps of 1/8 pixel, rounded; the step of depth is z^2 / (8 f b). With the Kinect's
       f = 585.5 pixels and b = 0.075 m this is 2.85e-5 z^2 with z in cm: K. Khoshelham and S. Oude Elberink, "Accuracy and
       resolution of Kinect depth data for indoor mapping applications", Sensors 12(2), 2012 (section on depth
       resolution), and 35130 / round(35130 / z) of J. T. Barron and J. Malik, "Intrinsic scene properties from a single
       RGB-D image", CVPR 2013, and A. Handa et al., ICRA 2014. They add 1/2 before rounding, which moves all depths by half
       a step; it is left out here, so that the depth is right in the mean.
    5. Holes of the range.

    A Kinect has 640 x 480 pixels, f = 585.5 and a horizontal field of view of 57 degrees; with another camera the steps
    follow its f and b, while the noise of (2.) and (3.) stays that of the Kinect.

    Not modelled: what dark, shiny, transparent and sunlit surfaces do; noise that neighbours share; the ends of the
    projector's own field.

    Attributes:
        min_m, max_m: Range, metres. 0.8 and 4.0: Microsoft's for the Kinect's default mode ("near mode": 0.4 to 3.0).
        baseline_m: From the camera to the projector along the camera's +X (right), metres, may be negative. 0.075: the
            Kinect's (K. Konolige and P. Mihelich, "Technical description of Kinect calibration", ROS wiki). Shadows fall
            to the left of things. 0 turns off shadows and quantization.
        steps_per_px: Of the disparity. 8: the Kinect's (as above). 0 turns quantization off.
        max_angle_deg: Surfaces seen at a larger angle give no reading; 90 turns it off. 80 is our choice: the terms of
            Nguyen et al. have their pole at 90.
        window: Size of the correlation window, pixels, odd. 9: the Kinect's (as above: 9 x 9 or 9 x 7). 1 turns it off.
        min_support: What part of the window must have the disparity of its centre to within 1 pixel. 0.5 is our choice: the
            surface in the middle decides; straight edges stay, corners and what is thinner than 5 pixels go. The simulator
            of Bohg, Romero, Herzog and Schaal, "Robot arm pose estimation through pixel-wise part classification", ICRA
            2014, asks for 1 / 1.2, and fills three pixels round what it finds.
        axial, lateral: False turns (3.) or (2.) off.
        invalid: What a hole becomes: 0.0 as in the sensor's own pictures, or nan, or inf.
    """

    min_m: float = 0.8
    max_m: float = 4.0
    baseline_m: float = 0.075
    steps_per_px: int = 8
    max_angle_deg: float = 80.0
    window: int = 9
    min_support: float = 0.5
    axial: bool = True
    lateral: bool = True
    invalid: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.min_m < self.max_m:
            raise ConfigError(f"expected 0 < min_m < max_m, got min_m {self.min_m} and max_m {self.max_m}")
        if not np.isfinite(self.baseline_m):
            raise ConfigError(f"baseline_m must be finite, got {self.baseline_m}")
        if self.steps_per_px < 0:
            raise ConfigError(f"steps_per_px must be at least 0, got {self.steps_per_px}")
        if not 0 < self.max_angle_deg <= 90:
            raise ConfigError(f"max_angle_deg must be above 0 and at most 90, got {self.max_angle_deg}")
        if self.window < 1 or self.window % 2 == 0:
            raise ConfigError(f"window must be odd and at least 1 pixel, got {self.window}")
        if not 0 <= self.min_support <= 1:
            raise ConfigError(f"min_support must be 0 to 1, got {self.min_support}")

    def __call__(
        self,
        depth: np.ndarray,
        rng: np.random.Generator,
        *,
        intrinsics: ArrayLike,
        normals_camera: np.ndarray | None = None,
    ) -> np.ndarray:
        """Measures; `depth` is left as it is, and stays the label.

        Args:
            depth: (H, W) floating point, metres along the optical axis; inf, NaN and <= 0 are no surface. Of a pinhole:
                not distorted by a lens.
            rng: Where the randomness comes from; the same state gives the same picture.
            intrinsics: (3, 3) K of the picture, pixels: `labels["camera"]["intrinsics"]`.
            normals_camera: (H, W, 3) unit normals in Blender's camera axes (+X right, +Y up, +Z towards the viewer). None
                takes them from the depth of neighbouring pixels, which is less right at edges.

        Returns:
            (H, W) float32, metres; `invalid` where there is no reading.

        Raises:
            ConfigError: Shapes that do not fit.
        """
        z = np.asarray(depth)
        check_rng(rng)
        if intrinsics is None:
            raise ConfigError(
                "intrinsics are None, as those of orthographic cameras are: a depth camera is perspective."
            )
        matrix = np.asarray(intrinsics, dtype=np.float64)
        if z.ndim != 2 or not np.issubdtype(z.dtype, np.floating):
            raise ConfigError(f"expected depth of shape (H, W), floating point, got {z.shape} {z.dtype}")
        if matrix.shape != (3, 3):
            raise ConfigError(f"expected intrinsics K of shape (3, 3), got {matrix.shape}")
        if normals_camera is not None and np.shape(normals_camera) != (*z.shape, 3):
            raise ConfigError(f"expected normals of shape {(*z.shape, 3)}, got {np.shape(normals_camera)}")
        z = np.where(np.isfinite(z) & (z > 0), z, np.inf).astype(np.float32)
        theta = incidence_angles(z, matrix, normals_camera)
        baseline_px_m = float(matrix[0, 0]) * self.baseline_m
        disparity = abs(baseline_px_m) / z
        hole = np.isinf(z) | (theta > np.deg2rad(self.max_angle_deg))
        if baseline_px_m:
            hole |= projector_shadow(disparity, to_the_right=baseline_px_m > 0)
            if self.window > 1:
                hole |= window_support(disparity, self.window) < self.min_support
        # Always all of them, so that what is switched off does not change what the rest draws.
        shift, noise = (
            rng.standard_normal((2, *z.shape), dtype=np.float32),
            rng.standard_normal(z.shape, dtype=np.float32),
        )
        if self.lateral:
            z, theta, hole = _shifted(shift * lateral_sigma_px(theta), z, theta, hole)
        z = np.where(hole, np.float32(1.0), z)
        quantized = bool(self.steps_per_px and baseline_px_m)
        steps = np.float32(abs(baseline_px_m) * self.steps_per_px)  # disparity in steps is steps / z
        if self.axial:
            sigma = axial_sigma_m(z, theta)
            if quantized:
                sigma = np.sqrt(np.maximum(sigma**2 - (z * z / steps) ** 2 / 12, 0))
            z = z + sigma * noise
        if quantized:
            with np.errstate(divide="ignore"):
                z = steps / np.rint(steps / np.where(z > 0, z, np.inf))
        hole |= ~((z >= self.min_m) & (z <= self.max_m))
        return np.where(hole, np.float32(self.invalid), z.astype(np.float32))


def axial_sigma_m(z: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Standard deviation of depth, metres, at depth z, metres > 0, and angle theta, radians < pi/2; (...) floating point.

    Nguyen, Izadi and Lovell 2012, section 2, for all angles; their sigma_z without the last term is for 10 to 60 degrees.
    """
    lean = theta / (np.pi / 2 - theta)
    return 0.0012 + 0.0019 * (z - 0.4) ** 2 + 0.0001 / np.sqrt(z) * lean**2


def lateral_sigma_px(theta: np.ndarray) -> np.ndarray:
    """Standard deviation of the place, pixels, at angle theta, radians < pi/2; (...) floating point.

    Nguyen, Izadi and Lovell 2012, section 2.
    """
    return 0.8 + 0.035 * theta / (np.pi / 2 - theta)


def _shifted(shift_px: np.ndarray, *images: np.ndarray) -> list[np.ndarray]:
    """Takes each pixel of (H, W) images from where (2, H, W) shifts in x and y point, to the nearest pixel."""
    height, width = images[0].shape
    column = np.clip(np.arange(width) + np.rint(shift_px[0]), 0, width - 1).astype(np.intp)
    row = np.clip(np.arange(height)[:, None] + np.rint(shift_px[1]), 0, height - 1).astype(np.intp)
    flat = row * width + column
    return [image.reshape(-1)[flat] for image in images]
