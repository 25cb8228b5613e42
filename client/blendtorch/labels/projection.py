"""Projective geometry of a pinhole or orthographic camera, in plain numpy (no bpy here).

Frames and units used throughout:

* world: Blender's, right-handed, metres;
* camera (Blender): +X right, +Y up, looks along -Z;
* camera (OpenCV): +X right, +Y down, looks along +Z;
* NDC: OpenGL's normalized device coordinates; what the camera sees is [-1, 1]^3, +X right, +Y up, z = -1 on the
  near and +1 on the far clip plane;
* pixel: continuous coordinates whose (0, 0) is the *outer corner* of the first pixel. The centre of that pixel is
  (0.5, 0.5) and the right edge of an image of width W is x = W, as in COCO and in XYXY boxes. OpenCV puts
  (0, 0) at the *centre* of the first pixel: subtract 0.5 from pixel coordinates, and from cx and cy of the intrinsics.

Matrices are named TO_from_FROM and act on column vectors: x_camera = camera_from_world @ x_world. Image shapes are
(H, W) in pixels. Formulas: OpenGL 4.6 core specification, "Coordinate Transformations"
(perspective division and viewport); Hartley and Zisserman, Multiple View Geometry, 2nd edition, chapter 6 (K).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError

Origin = Literal["upper-left", "lower-left"]

OPENCV_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
"""(4, 4) float64: Blender camera axes to OpenCV camera axes, half a turn about X. It is its own inverse."""
OPENCV_FROM_BLENDER.flags.writeable = False


def as_points(points: ArrayLike, dimensions: int = 3) -> np.ndarray:
    """Return points as float64 and check how many coordinates each has.

    Args:
        points: (..., D) numbers, anything numpy understands.
        dimensions: D.

    Returns:
        (..., D) float64.

    Raises:
        ConfigError: (a ValueError) The last axis is not of length D.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != dimensions:
        raise ConfigError(f"expected points of shape (..., {dimensions}), got an array of shape {array.shape}")
    return array


def to_homogeneous(points: ArrayLike) -> np.ndarray:
    """Append a coordinate 1: (..., D) to (..., D + 1) float64."""
    array = np.asarray(points, dtype=np.float64)
    return np.concatenate([array, np.ones((*array.shape[:-1], 1))], axis=-1)


def from_homogeneous(points: ArrayLike) -> np.ndarray:
    """Divide by the last coordinate and drop it: (..., D + 1) to (..., D) float64; points at infinity become NaN."""
    array = np.asarray(points, dtype=np.float64)
    w = array[..., -1:]
    return array[..., :-1] / np.where(w == 0.0, np.nan, w)


def transform_points(to_from: ArrayLike, points: ArrayLike) -> np.ndarray:
    """Apply an affine transform to points.

    Args:
        to_from: (4, 4), last row (0, 0, 0, 1).
        points: (..., 3) in the frame FROM.

    Returns:
        (..., 3) float64 in the frame TO.
    """
    matrix = np.asarray(to_from, dtype=np.float64)
    return as_points(points) @ matrix[:3, :3].T + matrix[:3, 3]


def world_to_ndc(
    xyz_world: ArrayLike, camera_from_world: ArrayLike, clip_from_camera: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Project world points to normalized device coordinates.

    A point in or behind the plane of the camera (depth <= 0) has no picture; the perspective division would mirror it
    into the image. Its NDC are therefore NaN, for orthographic cameras too: NaN compares False with any image bound
    and cannot be mistaken for a pixel. Points off to the side, or outside the clip range, but in front keep their
    finite coordinates.

    Args:
        xyz_world: (..., 3) world, metres.
        camera_from_world: (4, 4), Blender camera axes.
        clip_from_camera: (4, 4) OpenGL projection matrix, perspective or orthographic.

    Returns:
        ndc: (..., 3) float64, OpenGL NDC, NaN where depth <= 0.
        depth_m: (...) float64, metres along the optical axis, positive in front, finite everywhere.
    """
    xyz_camera = transform_points(camera_from_world, xyz_world)
    depth_m = -xyz_camera[..., 2]
    clip = to_homogeneous(xyz_camera) @ np.asarray(clip_from_camera, dtype=np.float64).T
    clip[depth_m <= 0.0] = np.nan
    return from_homogeneous(clip), depth_m


def ndc_to_pixel(ndc: ArrayLike, shape: tuple[int, int], origin: Origin = "upper-left") -> np.ndarray:
    """Map NDC to continuous pixel coordinates (see the module docstring for the convention).

    Args:
        ndc: (..., 2) or (..., 3) OpenGL NDC; z is ignored.
        shape: (H, W) of the image, pixels.
        origin: Corner that is (0, 0): "upper-left" (y down, rows as stored in images) or "lower-left" (y up).

    Returns:
        (..., 2) float64 pixel (x, y). NaN stays NaN.

    Raises:
        ConfigError: Unknown origin, or points with another number of coordinates.
    """
    array = np.asarray(ndc, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] not in (2, 3):
        raise ConfigError(f"expected NDC of shape (..., 2) or (..., 3), got an array of shape {array.shape}")
    if origin not in ("upper-left", "lower-left"):
        raise ConfigError(f'origin must be "upper-left" or "lower-left", got {origin!r}')
    height, width = shape
    y_sign = -1.0 if origin == "upper-left" else 1.0
    return (array[..., :2] * (1.0, y_sign) + 1.0) * (0.5 * width, 0.5 * height)


def is_perspective(clip_from_camera: ArrayLike) -> bool:
    """Tell a perspective projection matrix (last row (0, 0, -1, 0)) from an orthographic one ((0, 0, 0, 1))."""
    return bool(np.asarray(clip_from_camera)[3, 2] != 0.0)


def linear_depth(ndc_z: ArrayLike, clip_from_camera: ArrayLike) -> np.ndarray:
    """Turn NDC z into depth in metres.

    Inverts the third and fourth row of the projection: perspective depth = P23 / (z + P22), orthographic
    depth = (P23 - z) / P22. What OpenGL stores in a depth buffer is (z + 1) / 2, so pass 2 * buffer - 1.

    Args:
        ndc_z: (...) NDC z, -1 at the near and +1 at the far clip plane.
        clip_from_camera: (4, 4) OpenGL projection matrix.

    Returns:
        (...) float64, metres along the optical axis, positive in front.
    """
    z = np.asarray(ndc_z, dtype=np.float64)
    matrix = np.asarray(clip_from_camera, dtype=np.float64)
    if is_perspective(matrix):
        return matrix[2, 3] / (z + matrix[2, 2])
    return (matrix[2, 3] - z) / matrix[2, 2]


def intrinsics(clip_from_camera: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    """Compute the pinhole matrix K that belongs to an OpenGL projection matrix.

    [x, y, 1]^T ~ K @ xyz for xyz in *OpenCV* camera axes, [x, y] pixel with the origin in the upper left corner in this
    project's convention (outer corner is 0). For OpenCV's functions, whose 0 is the centre of the first
    pixel, subtract 0.5 from K[0, 2] and K[1, 2]. K is viewport @ projection (rows x, y, w) @ axis flip, which gives
    fx = P00 W/2, fy = P11 H/2, cx = (1 - P02) W/2, cy = (1 + P12) H/2.

    Args:
        clip_from_camera: (4, 4) OpenGL perspective projection matrix, Blender camera axes.
        shape: (H, W) of the image, pixels.

    Returns:
        (3, 3) float64.

    Raises:
        ConfigError: The projection is orthographic, which no K describes.
    """
    matrix = np.asarray(clip_from_camera, dtype=np.float64)
    if not is_perspective(matrix):
        raise ConfigError("an orthographic projection has no intrinsics K; use the projection matrix itself")
    height, width = shape
    pixel_from_ndc = np.array([[width / 2, 0.0, width / 2], [0.0, -height / 2, height / 2], [0.0, 0.0, 1.0]])
    return pixel_from_ndc @ matrix[[0, 1, 3], :3] @ OPENCV_FROM_BLENDER[:3, :3]
