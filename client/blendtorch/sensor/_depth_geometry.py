"""How a depth camera sees surfaces: at which angle, in the projector's light or not, and how much of a window is one."""

import numpy as np

_STEEPEST = np.float32(np.pi / 2 - 1e-3)
"""Angles end just before 90 degrees, where the noise models have their pole."""


def incidence_angles(z: np.ndarray, intrinsics: np.ndarray, normals_camera: np.ndarray | None) -> np.ndarray:
    """Angle between the surface's normal and the viewing ray.

    Args:
        z: (H, W) float32 depth, metres along the optical axis, inf without surface.
        intrinsics: (3, 3) K, pixels.
        normals_camera: (H, W, 3) unit normals in Blender's camera axes, or None: then of the plane through each pixel and
            a neighbour in x and in y, each time the neighbour that is nearer in depth.

    Returns:
        (H, W) float32, radians, 0 to just below pi/2; 0 without surface.
    """
    height, width = z.shape
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    x = ((np.arange(width) + 0.5 - cx) / fx).astype(np.float32)[None, :]
    y = ((np.arange(height) + 0.5 - cy) / fy).astype(np.float32)[:, None]
    surface = np.isfinite(z)
    if normals_camera is None:
        nx, ny, nz = _normals(np.where(surface, z, np.float32(0.0)), surface, x, y, float(fx), float(fy))
    else:
        given = np.asarray(normals_camera, dtype=np.float32)
        nx, ny, nz = given[..., 0], -given[..., 1], -given[..., 2]  # to OpenCV's axes
    cosine = np.abs(nx * x + ny * y + nz) / np.sqrt((nx * nx + ny * ny + nz * nz) * (x * x + y * y + 1) + 1e-30)
    theta = np.minimum(np.arccos(np.minimum(cosine, 1.0)), _STEEPEST)
    return np.where(surface, theta, np.float32(0.0))


def _normals(
    z: np.ndarray, surface: np.ndarray, x: np.ndarray, y: np.ndarray, fx: float, fy: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals, not of unit length, OpenCV's axes, from depth.

    The surface is z(u, v), its points are z (x, y, 1). The cross product of its tangents along u and v is, but for a
    positive factor, (-fx dz/du, -fy dz/dv, z + x fx dz/du + y fy dz/dv).
    """
    dx = fx * _least_difference(z, surface, axis=1)
    dy = fy * _least_difference(z, surface, axis=0)
    return -dx, -dy, z + x * dx + y * dy


def _least_difference(z: np.ndarray, surface: np.ndarray, axis: int) -> np.ndarray:
    """Difference to the next or from the last pixel along the axis, the smaller one; 0 without neighbours."""
    step = np.diff(z, axis=axis)
    ahead, behind = [slice(None)] * 2, [slice(None)] * 2
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    step = np.where(surface[tuple(ahead)] & surface[tuple(behind)], step, np.float32(np.inf))
    edge = [(0, 0), (0, 0)]
    edge[axis] = (0, 1)
    forward = np.pad(step, edge, constant_values=np.inf)
    edge[axis] = (1, 0)
    backward = np.pad(step, edge, constant_values=np.inf)
    least = np.where(np.abs(forward) < np.abs(backward), forward, backward)
    return np.where(np.isfinite(least), least, np.float32(0.0))


def projector_shadow(disparity: np.ndarray, to_the_right: bool) -> np.ndarray:
    """Finds the surfaces that the projector's light does not reach, because others are nearer to it on the same ray.

    Camera and projector are a rectified pair: the light on a pixel in column x with disparity d = f b / z comes from the
    projector's column x - d (projector to the camera's right), in the same row. Of all pixels with that column the one of
    the largest disparity is lit, as in a depth buffer. Columns are one pixel wide; where a surface that the projector sees
    more from the front than the camera does leaves a column between two neighbours empty, it is closed.

    Args:
        disparity: (H, W) float32, pixels, >= 0; 0 for what is infinitely far.
        to_the_right: Whether the projector is to the right of the camera.

    Returns:
        (H, W) bool, True in the shadow.
    """
    if not to_the_right:
        return projector_shadow(disparity[:, ::-1], True)[:, ::-1]
    height, width = disparity.shape
    margin = int(np.ceil(disparity.max(initial=0.0))) + 1
    column = np.rint(np.arange(width, dtype=np.float32) - disparity).astype(np.intp) + margin
    row = np.arange(height)[:, None] * (width + margin + 1)
    nearest = np.zeros(height * (width + margin + 1), dtype=np.float32)
    _keep_largest(nearest, row + column, disparity)
    gap = np.diff(column, axis=1) == 2
    _keep_largest(nearest, (row + column[:, :-1] + 1)[gap], np.minimum(disparity[:, :-1], disparity[:, 1:])[gap])
    # One surface may put two pixels into one column: only what is nearer by more than a column's width is another one.
    return nearest[row + column] > disparity + 1.0


def _keep_largest(target: np.ndarray, index: np.ndarray, value: np.ndarray) -> None:
    """target[index] = max(target[index], value), for indices that occur several times, too."""
    order = np.argsort(value, axis=None, kind="stable")  # numpy keeps the last of several values for one index
    index, value = index.reshape(-1)[order], value.reshape(-1)[order]
    largest = np.zeros_like(target)
    largest[index] = value
    np.maximum(target, largest, out=target)


def window_support(disparity: np.ndarray, window: int, within_px: float = 1.0) -> np.ndarray:
    """Finds what part of the window round each pixel has nearly the pixel's own disparity: lies on the same surface.

    Args:
        disparity: (H, W) float32, pixels.
        window: Odd size of the window, pixels. Beyond the border the picture is continued by its border pixels.
        within_px: What counts as the same.

    Returns:
        (H, W) float32, 1 / window^2 to 1.
    """
    height, width = disparity.shape
    half = window // 2
    padded = np.pad(disparity, half, mode="edge")
    # Most windows lie within one surface: found by separable minima and maxima, so that only the rest is counted.
    lowest = _slide(_slide(padded, window, np.minimum).T, window, np.minimum).T
    highest = _slide(_slide(padded, window, np.maximum).T, window, np.maximum).T
    support = np.ones((height, width), dtype=np.float32)
    row, column = np.nonzero(np.maximum(highest - disparity, disparity - lowest) > within_px)
    own = disparity[row, column]
    count = np.zeros(len(own), dtype=np.int32)
    flat, corner = padded.reshape(-1), row * padded.shape[1] + column
    for y in range(window):
        for x in range(window):
            count += np.abs(flat[corner + (y * padded.shape[1] + x)] - own) <= within_px
    support[row, column] = count / np.float32(window**2)
    return support


def _slide(image: np.ndarray, window: int, reduce: np.ufunc) -> np.ndarray:
    """(H, W) to (H - window + 1, W): `reduce` over windows of rows."""
    rows = image.shape[0] - window + 1
    result = image[:rows].copy()
    for i in range(1, window):
        reduce(result, image[i : i + rows], out=result)
    return result
