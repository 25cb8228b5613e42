"""Rigid poses and velocities from the 4 x 4 matrices of objects."""

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from .arrays import as_floats

_MIRRORED = -1e-12
"""Determinant of unit axes below which they are left-handed; nearer to 0 they lie in a plane, up to rounding."""
_NEARLY_A_ROTATION = 1e-4
"""Largest entry of R^T R - I at which two steps of Newton and Schulz reach rounding: 1e-4, 1e-8, 1e-16."""


def rigid_poses(to_from_object: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Take the scale out of affine matrices.

    As Blender's `Matrix.decompose` does it: the scale is the length of each column; where the axes are left-handed (an
    odd number of negative scales), all three scales are negative and the axes are turned around, since from a matrix one
    cannot tell which axis was mirrored. So for matrices without shear
    to_from_object = pose @ diag(*scale, 1) up to rounding.

    Two cases in which the unit axes are no rotation:

    * Sheared matrices (a rotated child of a non-uniformly scaled parent): the rotation nearest to the unit axes in the
      sense of least squares; pose and scale alone then do not give the matrix back.
    * Scales of zero: an axis of length 0 says nothing about the rotation. With one of them the other two axes decide.
      With two or three some rotation that fits is returned, the same for the same matrix.

    The nearest rotation is the orthogonal factor of the polar decomposition, U V^T of the singular value decomposition
    U S V^T, with the last singular vector negated where that would be a reflection: Higham, "Computing the polar
    decomposition - with applications", SIAM J. Sci. Stat. Comput. 7 (1986); Umeyama, "Least-squares estimation of
    transformation parameters between two point patterns", PAMI 13 (1991), for the sign. Axes that are orthogonal up to
    float32, as nearly all are, need no decomposition: the iteration of Newton and Schulz, X (3 I - X^T X) / 2,
    converges to the same factor (Higham, "Functions of Matrices", 2008, section 8.3).

    Args:
        to_from_object: (K, 4, 4), last row (0, 0, 0, 1).

    Returns:
        poses: (K, 4, 4) float64, rotation and translation, determinant 1; NaN where a matrix is not finite.
        scale: (K, 3) float64, of the object's x, y and z axis.

    Raises:
        ConfigError: (a ValueError) Another shape.
    """
    matrices = as_floats("to_from_object", to_from_object, ("K", 4, 4))
    finite = np.isfinite(matrices).all(axis=(1, 2))
    linear = np.where(finite[:, None, None], matrices[:, :3, :3], np.eye(3))
    scale = np.linalg.norm(linear, axis=1)
    axes = linear / np.where(scale > 0.0, scale, 1.0)[:, None, :]
    sign = np.where(np.linalg.det(axes) < _MIRRORED, -1.0, 1.0)
    poses = np.zeros_like(matrices)
    poses[:, :3, :3] = _nearest_rotations(axes * sign[:, None, None])
    poses[:, :3, 3] = matrices[:, :3, 3]
    poses[:, 3, 3] = 1.0
    scale *= sign[:, None]
    poses[~finite] = np.nan
    scale[~finite] = np.nan
    return poses, scale


def _nearest_rotations(axes: np.ndarray) -> np.ndarray:
    """Return the nearest rotations to (K, 3, 3) whose columns are unit vectors or 0 and whose determinant is >= 0."""
    excess = np.abs(axes.transpose(0, 2, 1) @ axes - np.eye(3)).max(axis=(1, 2))
    rotations = np.empty_like(axes)
    near = excess < _NEARLY_A_ROTATION
    x = axes[near]
    for _ in range(2):
        x = 0.5 * x @ (3.0 * np.eye(3) - x.transpose(0, 2, 1) @ x)
    rotations[near] = x
    u, _, v_transposed = np.linalg.svd(axes[~near])
    u[:, :, 2] *= np.sign(np.linalg.det(u) * np.linalg.det(v_transposed))[:, None]
    rotations[~near] = u @ v_transposed
    return rotations


def rotation_vectors(rotations: ArrayLike) -> np.ndarray:
    """Turn rotation matrices into rotation vectors: the axis, as long as the angle in radians.

    By way of unit quaternions, each computed from its largest component (Shepperd, "Quaternion from rotation matrix",
    J. Guidance and Control 1 (1978)), and the angle from the arc tangent of both parts: exact to rounding for the
    smallest angles and for half a turn, where the trace of the matrix is of no use. At half a turn the axis may
    point either way.

    Args:
        rotations: (K, 3, 3), of determinant 1.

    Returns:
        (K, 3) float64, radians, at most pi long; NaN where a matrix has NaN.

    Raises:
        ConfigError: (a ValueError) Another shape.
    """
    r = as_floats("rotations", rotations, ("K", 3, 3))
    products = np.empty((len(r), 4, 4))  # 4 q_i q_j of the quaternion q = (w, x, y, z)
    trace = r[:, 0, 0] + r[:, 1, 1] + r[:, 2, 2]
    products[:, 0, 0] = 1.0 + trace
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        products[:, 1 + i, 1 + i] = 1.0 + 2.0 * r[:, i, i] - trace
        products[:, 0, 1 + i] = products[:, 1 + i, 0] = r[:, k, j] - r[:, j, k]
        products[:, 1 + j, 1 + k] = products[:, 1 + k, 1 + j] = r[:, j, k] + r[:, k, j]
    largest = np.argmax(np.einsum("kii->ki", products), axis=1)
    q = products[np.arange(len(r)), largest]
    q *= np.where(q[:, :1] < 0.0, -1.0, 1.0)
    sine = np.linalg.norm(q[:, 1:], axis=1)
    angle = 2.0 * np.arctan2(sine, q[:, 0])
    return q[:, 1:] * (angle / np.where(sine == 0.0, 1.0, sine))[:, None]


def velocities(
    world_from_object: ArrayLike, world_from_object_before: ArrayLike, interval_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean velocity of objects between two moments.

    The angular velocity is the rotation vector of R_now R_before^T, over time: the steady turn that leads
    from the one orientation to the other the short way. Faster than half a turn an interval it is another turn than the
    true one. Scale is left out of account.

    Args:
        world_from_object: (K, 4, 4), now.
        world_from_object_before: (K, 4, 4), `interval_s` ago; NaN for objects that were not there.
        interval_s: Seconds, above 0.

    Returns:
        linear: (K, 3) float64, m/s in world axes, of the origins of the objects; NaN where unknown.
        angular: (K, 3) float64, rad/s, rotation vector in world axes; NaN where unknown.

    Raises:
        ConfigError: (a ValueError) Other shapes, or an interval that is not above 0.
    """
    now = as_floats("world_from_object", world_from_object, ("K", 4, 4))
    before = as_floats("world_from_object_before", world_from_object_before, (len(now), 4, 4))
    if not (np.isfinite(interval_s) and interval_s > 0.0):
        raise ConfigError(f"interval_s: expected seconds above 0, got {interval_s!r}")
    poses, _ = rigid_poses(np.concatenate([now, before]))
    now, before = poses[: len(now)], poses[len(now) :]
    angular = rotation_vectors(now[:, :3, :3] @ before[:, :3, :3].transpose(0, 2, 1))
    return (now[:, :3, 3] - before[:, :3, 3]) / interval_s, angular / interval_s
