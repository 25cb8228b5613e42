"""Whether 3D boxes, their pictures, poses and the boxes in the image are of the same objects."""

from typing import Any

import numpy as np

from .. import projection
from ..boxes3d import box_corners
from ..tolerance import DepthTolerance
from .camera import is_rigid
from .images import numbers
from .reasons import Reasons
from .tables import Table

_METRES, _RELATIVE = 1e-4, 1e-5
"""How far corners may be apart that are computed in two ways: what float32 makes of coordinates of a scene."""
_SHEARED = 1e-4
"""Cosine of the angle between the edges of a box above which its matrix is sheared, and pose and scale are not all."""


def check_geometry(
    table: Table,
    camera: dict[str, Any],
    projection_px: float,
    box_px: float,
    depth: DepthTolerance,
    reasons: Reasons,
) -> np.ndarray | None:
    """Compare what says where instances are in space.

    Args:
        table: Instances.
        camera: Of the labels.
        projection_px: How far projections may be apart, pixels.
        box_px: How far boxes may reach out of those of the projected corners, pixels.
        depth: How far depths may be apart.
        reasons: Gets what is wrong.

    Returns:
        (K, 8) depth of the corners of the 3D boxes, metres; None where the table has none.
    """
    if table.has("bounds"):
        bounds = table["bounds"]
        reasons.add_rows(
            "bounds",
            (bounds[:, 0] > bounds[:, 1]).any(axis=1),
            lambda row: f"{table.name(row)}: bounds are {numbers(bounds[row])}, expected the lowest corner first",
        )
    if table.has("pose"):
        rotation = "a rotation of determinant 1 and a translation"
        _report_matrices("pose", ~is_rigid(table["pose"]), rotation, table, reasons)
    if table.has("world_from_object"):
        affine = (table["world_from_object"][:, 3] == (0.0, 0.0, 0.0, 1.0)).all(axis=1)
        _report_matrices("world_from_object", ~affine, "last row 0, 0, 0, 1", table, reasons)
    corners = _corners(table, camera["camera_from_world_opencv"], reasons)
    if corners is None:
        return None
    clip = camera["clip_from_camera"]
    xy, depth_m = project_camera(corners, clip, camera["shape"])
    if table.has("box3d_pixel"):
        worst = worst_distance(table["box3d_pixel"], xy, depth_m, np.linalg.norm(corners, axis=-1))
        reasons.add_rows(
            "box3d_pixel",
            worst > projection_px,
            lambda row: (
                f"{table.name(row)}: box3d_pixel is {worst[row]:.3g} px from the projection of the 3D box "
                f"(infinity: NaN where a corner is in front, or the other way round), expected at most {projection_px:g}"
            ),
        )
    if table.has("pose", "scale", "bounds"):
        from_pose = _pose_corners(table)
        xy_of_pose, depth_of_pose = project_camera(from_pose, clip, camera["shape"])
        nearest_m = np.minimum(depth_m, depth_of_pose)
        worst_px = worst_distance(xy_of_pose, xy, nearest_m, np.linalg.norm(corners, axis=-1))
        apart = depth.apart(depth_of_pose, depth_m).any(axis=1)
        wrong = ((worst_px > projection_px) | apart) & ~_is_sheared(corners)
        worst_m = np.abs(from_pose - corners).max(axis=(1, 2))
        reasons.add_rows(
            "pose",
            wrong,
            lambda row: (
                f"{table.name(row)}: the box by pose, scale and bounds is {worst_px[row]:.3g} px and "
                f"{worst_m[row]:.3g} m from the 3D box, expected at most {projection_px:g} px and the tolerance of depth"
            ),
        )
    _check_hull(table, xy, depth_m, box_px, reasons)
    return depth_m


def project_camera(
    xyz_camera: np.ndarray, clip_from_camera: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Project points, (..., 3) in OpenCV camera axes, to pixels, (..., 2), NaN behind the camera, and depth, (...)."""
    ndc, depth_m = projection.world_to_ndc(xyz_camera, projection.OPENCV_FROM_BLENDER, clip_from_camera)
    return projection.ndc_to_pixel(ndc, shape), depth_m


def worst_distance(xy: np.ndarray, expected: np.ndarray, depth_m: np.ndarray, distance_m: np.ndarray) -> np.ndarray:
    """Return the largest distance between corners in the image.

    Args:
        xy: (K, P, 2) pixels.
        expected: (K, P, 2) pixels.
        depth_m: (K, P) of the expected ones; those within rounding of the camera's plane are passed over.
        distance_m: (K, P) of the expected ones from the camera.

    Returns:
        (K,) pixels, less what rounding may do; infinite where one of the two is NaN.
    """
    x, y = expected[..., 0], expected[..., 1]
    # A millionth of the coordinates, and that times how much farther away than deep a point is: the error of its depth.
    rounding = 1e-6 * np.maximum(np.abs(x), np.abs(y)) * (1 + distance_m / np.maximum(np.abs(depth_m), _METRES))
    distance = np.maximum(np.abs(xy[..., 0] - x), np.abs(xy[..., 1] - y)) - rounding
    unknown, should_be = np.isnan(xy[..., 0] + xy[..., 1]), np.isnan(x + y)
    distance[unknown != should_be] = np.inf
    distance[(unknown & should_be) | (np.abs(depth_m) < _METRES)] = 0.0
    return distance.max(axis=1, initial=0.0)


def beyond(inner: np.ndarray, outer: np.ndarray, slack_px: float) -> np.ndarray:
    """Tell which of (K, 4) boxes reach out of others by more than a slack; (K,) bool."""
    low = inner[:, :2] < outer[:, :2] - slack_px
    high = inner[:, 2:] > outer[:, 2:] + slack_px
    return (low | high).any(axis=1)


def is_empty(boxes: np.ndarray) -> np.ndarray:
    """Tell which of (K, 4) boxes are all zeros, those of nothing; (K,) bool."""
    return (boxes == 0.0).all(axis=1)


def _check_hull(table: Table, xy: np.ndarray, depth_m: np.ndarray, slack_px: float, reasons: Reasons) -> None:
    """Report boxes that reach beyond the projected corners, (K, 8, 2), of their 3D box, where all are in front."""
    in_front = (depth_m > 0.0).all(axis=1)
    hull = np.concatenate([xy.min(axis=1), xy.max(axis=1)], axis=1)
    for name in ("box", "box_amodal"):
        if table.has(name):
            wrong = in_front & ~is_empty(table[name]) & beyond(table[name], hull, slack_px)
            source = f"that of the projected 3D box and {slack_px:g} px"
            _report_boxes(name, wrong, hull, source, table, reasons)


def _corners(table: Table, camera_from_world: np.ndarray, reasons: Reasons) -> np.ndarray | None:
    """Return the corners in OpenCV camera axes, by the first way there is, after comparing it with the others."""
    world = table["box3d_world"] if table.has("box3d_world") else None
    if table.has("world_from_object", "bounds"):
        placed = box_corners(table["world_from_object"], table["bounds"])
        if world is not None:
            _compare_corners("box3d_world", world, placed, "world_from_object and bounds", table, reasons)
        world = placed
    if world is None:
        return table["box3d_camera"] if table.has("box3d_camera") else None
    corners = projection.transform_points(camera_from_world, world)
    if table.has("box3d_camera"):
        _compare_corners("box3d_camera", table["box3d_camera"], corners, "the corners in the world", table, reasons)
    return corners


def _report_matrices(name: str, bad: np.ndarray, expected: str, table: Table, reasons: Reasons) -> None:
    reasons.add_rows(
        name, bad, lambda row: f"{table.name(row)}: {name} is {numbers(table[name][row])}, expected {expected}"
    )


def _report_boxes(name: str, bad: np.ndarray, within: np.ndarray, source: str, table: Table, reasons: Reasons) -> None:
    reasons.add_rows(
        name,
        bad,
        lambda row: (
            f"{table.name(row)}: {name} is {numbers(table[name][row])}, expected within "
            f"{numbers(within[row])}, {source}"
        ),
    )


def _compare_corners(
    name: str, seen: np.ndarray, expected: np.ndarray, source: str, table: Table, reasons: Reasons
) -> None:
    apart = np.abs(seen - expected).max(axis=(1, 2))
    allowed = _METRES + _RELATIVE * np.abs(expected).max(axis=(1, 2))
    reasons.add_rows(
        name,
        apart > allowed,
        lambda row: (
            f"{table.name(row)}: {name} is {apart[row]:.3g} m from what follows from {source}, expected at "
            f"most {allowed[row]:.1g}"
        ),
    )


def _pose_corners(table: Table) -> np.ndarray:
    """Return the corners of boxes by pose, scale and bounds, (K, 8, 3) OpenCV camera axes."""
    matrices = table["pose"].copy()
    matrices[:, :3, :3] *= table["scale"][:, None, :]
    return box_corners(matrices, table["bounds"])


def _is_sheared(corners: np.ndarray) -> np.ndarray:
    """Tell which of (K, 8, 3) boxes have edges that are not at right angles; (K,) bool."""
    edges = corners[:, (4, 3, 1)] - corners[:, :1]
    lengths = np.linalg.norm(edges, axis=2, keepdims=True)
    edges = edges / np.where(lengths > 0.0, lengths, 1.0)
    cosines = edges @ edges.transpose(0, 2, 1)
    return np.abs(cosines[:, (0, 0, 1), (1, 2, 2)]).max(axis=1) > _SHEARED
