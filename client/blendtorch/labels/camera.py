"""`camera_labels`: the "camera" entry of a sample's labels."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import projection
from .arrays import as_floats, as_image_shape


def camera_labels(shape: tuple[int, int], camera_from_world: ArrayLike, clip_from_camera: ArrayLike) -> dict[str, Any]:
    """Describe a camera as the labels do.

    Args:
        shape: (H, W) of the image, pixels.
        camera_from_world: (4, 4) rigid, Blender camera axes.
        clip_from_camera: (4, 4) OpenGL projection matrix, Blender camera axes; perspective or orthographic.

    Returns:
        Dict of `schema.CAMERA` and "shape".

    Raises:
        ConfigError: (a ValueError) Other shapes.
    """
    height_width = as_image_shape(shape)
    view = as_floats("camera_from_world", camera_from_world, (4, 4))
    clip = as_floats("clip_from_camera", clip_from_camera, (4, 4))
    return {
        "shape": height_width,
        "intrinsics": projection.intrinsics(clip, height_width) if projection.is_perspective(clip) else None,
        "camera_from_world": view.copy(),
        "camera_from_world_opencv": projection.OPENCV_FROM_BLENDER @ view,
        "clip_from_camera": clip.copy(),
    }


def project(xyz_world: np.ndarray, camera: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Project world points with the camera of the labels.

    Args:
        xyz_world: (..., 3) metres.
        camera: What `camera_labels` returns.

    Returns:
        xy: (..., 2) float64 pixels, NaN where depth <= 0.
        depth_m: (...) float64, metres along the optical axis.
    """
    ndc, depth_m = projection.world_to_ndc(xyz_world, camera["camera_from_world"], camera["clip_from_camera"])
    return projection.ndc_to_pixel(ndc, camera["shape"]), depth_m
