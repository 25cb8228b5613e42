"""`box_corners`: the corners of 3D boxes."""

import numpy as np
from numpy.typing import ArrayLike

from .arrays import as_floats

CORNERS = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 1], [1, 1, 0]])
"""(8, 3) int: which bound, 0 the lowest and 1 the highest, each corner has in x, y and z. The order is that of Blender's
`Object.bound_box`: once around the face of lowest x, then likewise around that of highest x."""
CORNERS.flags.writeable = False


def box_corners(to_from_object: ArrayLike, bounds: ArrayLike) -> np.ndarray:
    """Place the corners of boxes that are aligned with the axes of their objects.

    Args:
        to_from_object: (K, 4, 4) affine, last row (0, 0, 0, 1), to any frame; scale and shear are allowed.
        bounds: (K, 2, 3) lowest and highest corner of each box in the axes of its object, in the object's units.

    Returns:
        (K, 8, 3) float64 in the frame TO, metres; corners in the order of `CORNERS`.

    Raises:
        ConfigError: (a ValueError) Other shapes, or not as many matrices as bounds.
    """
    matrices = as_floats("to_from_object", to_from_object, ("K", 4, 4))
    corners = as_floats("bounds", bounds, (len(matrices), 2, 3))[:, CORNERS, np.arange(3)]
    return corners @ matrices[:, :3, :3].transpose(0, 2, 1) + matrices[:, None, :3, 3]
