"""Whether keypoints are where their points in space are, and visible where they can be."""

from typing import Any

import numpy as np

from ..camera import project
from ..keypoints import HIDDEN, OUTSIDE, SEEN
from ..neighbours import inside
from ..projection import transform_points
from ..tolerance import DepthTolerance
from .geometry import worst_distance
from .images import numbers
from .reasons import Reasons
from .tables import Table


def check_keypoints(
    table: Table, camera: dict[str, Any] | None, projection_px: float, depth: DepthTolerance, reasons: Reasons
) -> None:
    """Compare the columns of the keypoints.

    Args:
        table: Keypoints.
        camera: Of the labels; without it only visibility is looked at.
        projection_px: How far a keypoint may be from the projection of its point, pixels.
        depth: How far its depth may be from that of its point.
        reasons: Gets what is wrong.
    """
    if table.has("visibility"):
        visibility = table["visibility"]
        reasons.add_rows(
            "visibility",
            ~np.isin(visibility, (OUTSIDE, HIDDEN, SEEN)),
            lambda row: f"{table.name(row)}: visibility is {visibility[row]}, expected 0, 1 or 2",
        )
    if camera is None:
        return
    if table.has("xyz_world", "xy"):
        xy = table["xy"]
        expected, expected_depth = project(table["xyz_world"], camera)
        distance_m = np.linalg.norm(transform_points(camera["camera_from_world"], table["xyz_world"]), axis=-1)
        worst = worst_distance(xy[:, None], expected[:, None], expected_depth[:, None], distance_m[:, None])
        reasons.add_rows(
            "xy",
            worst > projection_px,
            lambda row: (
                f"{table.name(row)}: xy is {numbers(xy[row])}, expected the projection of xyz_world, "
                f"{numbers(expected[row])}, within {projection_px:g} px"
            ),
        )
    if table.has("xyz_world", "depth_m"):
        seen = table["depth_m"]
        _, wanted = project(table["xyz_world"], camera)
        reasons.add_rows(
            "depth_m",
            depth.apart(seen, wanted),
            lambda row: f"{table.name(row)}: depth_m is {seen[row]:.6g}, expected that of xyz_world, {wanted[row]:.6g}",
        )
    if table.has("visibility", "xy", "depth_m"):
        points, depth_m, v = table["xy"], table["depth_m"], table["visibility"]
        reasons.add_rows(
            "visibility",
            np.isin(v, (HIDDEN, SEEN)) & ~(inside(points[:, 0], points[:, 1], camera["shape"]) & (depth_m > 0.0)),
            lambda row: (
                f"{table.name(row)}: visibility is {v[row]} at {numbers(points[row])}, depth "
                f"{depth_m[row]:.6g} m, expected 0 for what is not in the image of "
                f"{camera['shape'][1]} x {camera['shape'][0]} pixels"
            ),
        )
