"""Keypoints: which are in the image, which of these are seen, and the form that COCO gives them."""

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from .arrays import as_depth_image, as_floats, as_id_image
from .neighbours import AT_CENTRE_PX, four_pixels, inside
from .tolerance import DEFAULT_TOLERANCE, DepthTolerance

OUTSIDE, HIDDEN, SEEN = 0, 1, 2
"""Visibility as in COCO's keypoints: not in the image; in it, but something is in front; seen."""


def keypoint_visibility(
    xy: ArrayLike,
    depth_m: ArrayLike,
    depth: ArrayLike,
    *,
    ids: ArrayLike | None = None,
    owner_ids: ArrayLike | None = None,
    tolerance: DepthTolerance = DEFAULT_TOLERANCE,
) -> np.ndarray:
    """Tell of points whether they are seen in a depth image.

    A point is hidden where the *farthest* of the 2 x 2 pixels around it is in front of it by more than the tolerance.
    Depth is known at pixel centres alone, and points lie between them. On a surface at a slant one of the four is
    behind the point, so that a surface does not hide its own vertices, however steep. A vertex on a silhouette, which
    is where many keypoints are, lies on the border between its object and what is behind it: some of the four pixels
    show what is behind, so it is seen; the nearest of the four would hide it or not as the rounding falls. The price
    is at the silhouettes of other things: a point that is covered by less than about a pixel's width is said to be
    seen, and so is one behind something thinner than two pixels. That is within what a picture of this resolution can
    tell, and it is the side on which annotators err.

    Args:
        xy: (J, 2) pixels, (0, 0) is the outer corner of the upper left pixel; NaN for points behind the camera.
        depth_m: (J,) depth of the points, metres along the optical axis.
        depth: (H, W) float32, depth of the surfaces, metres; inf for the background, which hides nothing.
        ids: (H, W) uint32 image of ids, of the same shape. Needed with `owner_ids`.
        owner_ids: (J,) id of the instance each point belongs to, 0 for none. Its pixels do not hide the point: a joint
            inside of a body is seen where the body is.
        tolerance: What counts as in front; see `DepthTolerance` for the values.

    Returns:
        (J,) uint8: 0 out of the image (x outside [0, W), y outside [0, H), NaN, or depth not above 0), 1 in the image
        and hidden, 2 seen.

    Raises:
        ConfigError: (a ValueError) Other shapes or types, or one of `ids` and `owner_ids` without the other.
    """
    points = as_floats("xy", xy, ("J", 2))
    depth_of_point = as_floats("depth_m", depth_m, (len(points),))
    surface = as_depth_image("depth", depth)
    if (ids is None) != (owner_ids is None):
        raise ConfigError("ids and owner_ids go together: expected both or none of them, got one")
    visibility = np.full(len(points), OUTSIDE, dtype=np.uint8)
    shape = (surface.shape[0], surface.shape[1])
    x, y = points.T
    there = np.flatnonzero(inside(x, y, shape) & (depth_of_point > 0.0))
    pixels = np.stack(four_pixels(x[there], y[there], shape, AT_CENTRE_PX))
    around = surface.ravel()[pixels].astype(np.float64)
    if ids is not None and owner_ids is not None:
        id_image = as_id_image("ids", ids)
        if id_image.shape != surface.shape:
            raise ConfigError(f"ids: expected the shape of depth, {surface.shape}, got {id_image.shape}")
        owners = as_floats("owner_ids", owner_ids, (len(points),))[there]  # float64 holds every uint32
        around[(id_image.ravel()[pixels] == owners) & (owners != 0)] = np.inf
    hidden = tolerance.in_front(around.max(axis=0), depth_of_point[there])
    visibility[there] = np.where(hidden, HIDDEN, SEEN)
    return visibility


def coco_keypoints(xy: ArrayLike, visibility: ArrayLike) -> np.ndarray:
    """Put keypoints into COCO's form: x, y, v in a row, zeros for those that are not in the image.

    Coordinates stay continuous ones, whose (0, 0) is the outer corner of the upper left pixel, as in COCO's own boxes.
    Flattened and appended for each instance it is COCO's field "keypoints"
    (https://cocodataset.org/#format-data, "Keypoint Detection").

    Args:
        xy: (J, 2) pixels; NaN is allowed where visibility is 0.
        visibility: (J,) 0, 1 or 2, as `keypoint_visibility` returns it.

    Returns:
        (J, 3) float32.

    Raises:
        ConfigError: (a ValueError) Other shapes, or another visibility.
    """
    points = as_floats("xy", xy, ("J", 2))
    v = as_floats("visibility", visibility, (len(points),))
    if not np.isin(v, (OUTSIDE, HIDDEN, SEEN)).all():
        raise ConfigError(f"visibility: expected 0, 1 or 2, got {v[~np.isin(v, (OUTSIDE, HIDDEN, SEEN))][0]:g}")
    rows = np.concatenate([points, v[:, None]], axis=1)
    rows[v == OUTSIDE] = 0.0
    return rows.astype(np.float32)
