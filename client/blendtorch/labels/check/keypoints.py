"""Whether keypoints are where their points in space are, and visible where they can be."""

from typing import Any

import numpy as np

from ..camera import project
from ..keypoints import HIDDEN, OUTSIDE, SEEN, keypoint_visibility
from ..neighbours import inside
from ..projection import transform_points
from ..tolerance import DEFAULT_TOLERANCE, DepthTolerance
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


def check_visibility(
    table: Table,
    instances: Table | None,
    ids: np.ndarray,
    depth: np.ndarray,
    tolerance: DepthTolerance,
    reasons: Reasons,
) -> None:
    """Compare visibility with the images. 0 within the image is not reported: its object may be one that is not shown.

    Args:
        table: Keypoints.
        instances: Says which ids are those of the owners.
        ids: (H, W) uint32.
        depth: (H, W) float32 metres.
        tolerance: What counts as in front.
        reasons: Gets what is wrong.
    """
    if not table.has("xy", "depth_m", "visibility", "owner"):
        return
    id_of = {}
    if instances is not None and instances.has("id", "object", "instancer"):
        rows = zip(instances["object"], instances["instancer"], instances["id"].tolist(), strict=True)
        id_of = {name: number for name, instancer, number in rows if instancer == ""}
    owners = np.array([id_of.get(name, 0) for name in table["owner"]], dtype=np.uint32)
    v = table["visibility"]
    # What the tolerance that labels are made with allows is right, too.
    expected, usual = (
        keypoint_visibility(table["xy"], table["depth_m"], depth, ids=ids, owner_ids=owners, tolerance=allowed)
        for allowed in (tolerance, DEFAULT_TOLERANCE)
    )
    in_image = (v != OUTSIDE) & (expected != OUTSIDE)
    reasons.add_rows(
        "visibility",
        in_image & (v != expected) & (v != usual),
        lambda row: (
            f"{table.name(row)}: visibility is {v[row]} at {numbers(table['xy'][row])}, depth "
            f"{table['depth_m'][row]:.6g} m, expected {expected[row]} as the depth image has it"
        ),
    )
