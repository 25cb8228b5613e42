"""Whether the camera of the labels agrees with itself, and whether images have its shape."""

from typing import Any

import numpy as np

from ...errors import ConfigError
from .. import projection
from ..arrays import as_image_shape
from ..schema import CAMERA
from .reasons import Reasons
from .tables import malformed

_RIGID = 1e-5
"""How far R^T R may be from the identity: rotations may have been float32."""


def read_camera(value: Any, reasons: Reasons) -> dict[str, Any] | None:
    """Report what is wrong with the camera.

    Args:
        value: What labels have under "camera".
        reasons: Gets what is wrong.

    Returns:
        The camera, or None where it is not good enough to compare anything with it.
    """
    if not isinstance(value, dict):
        reasons.add("schema", f"camera: expected a dict, got {type(value).__name__}")
        return None
    before = len(reasons.found)
    try:
        as_image_shape(value.get("shape"))
    except ConfigError as error:
        reasons.add("schema", f"camera: {error}")
    for name, column in CAMERA.items():
        if name not in value:
            reasons.add("schema", f"camera: expected an entry {name}, got {', '.join(value) or 'none'}")
        elif not (name == "intrinsics" and value[name] is None):
            wrong = malformed(value[name], column._replace(tail=column.tail[1:]), column.tail[0])
            if wrong or not np.isfinite(value[name]).all():
                reasons.add("schema", f"camera[{name!r}]: {wrong or 'expected finite numbers, got NaN or infinity'}")
    if len(reasons.found) > before:
        return None
    _compare(value, reasons)
    return value


def _compare(camera: dict[str, Any], reasons: Reasons) -> None:
    view, clip = camera["camera_from_world"], camera["clip_from_camera"]
    if not is_rigid(view[None])[0]:
        reasons.add("camera", f"camera_from_world is not rigid: expected a rotation and a translation, got {view}")
    expected = projection.OPENCV_FROM_BLENDER @ view
    if not np.allclose(camera["camera_from_world_opencv"], expected, rtol=1e-6, atol=1e-6):
        reasons.add(
            "camera",
            f"camera_from_world_opencv is {camera['camera_from_world_opencv']}, expected camera_from_world with "
            f"the second and third row negated, {expected}",
        )
    perspective = projection.is_perspective(clip)
    expected = projection.intrinsics(clip, camera["shape"]) if perspective else None
    seen = camera["intrinsics"]
    same = seen is None if expected is None else seen is not None and np.allclose(seen, expected, rtol=1e-6, atol=1e-6)
    if not same:
        reasons.add("camera", f"intrinsics are {seen}, expected {expected}, which follows from clip_from_camera")


def is_rigid(matrices: np.ndarray) -> np.ndarray:
    """Tell which of (K, 4, 4) matrices are a rotation (R^T R = I, determinant 1) and a translation; (K,) bool."""
    r = matrices[:, :3, :3]
    orthogonal = np.abs(r.transpose(0, 2, 1) @ r - np.eye(3)).max(axis=(1, 2)) < _RIGID
    return orthogonal & (np.linalg.det(r) > 0.0) & (matrices[:, 3] == (0.0, 0.0, 0.0, 1.0)).all(axis=1)


def read_image(name: str, value: Any, dtype: str, shape: tuple[int, ...] | None, reasons: Reasons) -> np.ndarray | None:
    """Report an image of another type or shape, and return it if it is well-formed.

    Args:
        name: "ids" or "depth".
        value: The image, None where the sample has none.
        dtype: That it should have.
        shape: (H, W) that it should have; None for any.
        reasons: Gets what is wrong.

    Returns:
        (H, W) image, or None.
    """
    if value is None:
        return None
    wanted = f"expected {dtype} of shape {'(H, W)' if shape is None else tuple(shape)}"
    if not isinstance(value, np.ndarray):
        reasons.add("schema", f"{name}: {wanted}, got {type(value).__name__}")
        return None
    fits = value.ndim == 2 and value.size > 0 and (shape is None or value.shape == tuple(shape))
    if not fits or value.dtype != dtype:
        reasons.add("schema", f"{name}: {wanted}, got {value.dtype} of shape {value.shape}")
        return None
    return value
