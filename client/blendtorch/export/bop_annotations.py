"""What BOP's JSON files say of an image: its camera, the poses of its objects, and what is seen of them.

BOP-scenewise, https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md. Lengths are millimetres, axes
are OpenCV's (+X right, +Y down, +Z into the scene), matrices are saved row by row.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ConfigError, LabelError
from ..labels import rigid_poses

MM = 1000.0
"""Millimetres a metre."""

_ROTATION_TOLERANCE = 1e-4
_SHEAR_TOLERANCE = 1e-3  # of the object's largest scale


def camera_entry(camera: Mapping[str, Any], depth_scale: float) -> dict[str, Any]:
    """An image's entry in scene_camera.json.

    BOP says "as in OpenCV", whose (0, 0) is the *centre* of the first pixel: `misc.depth_im_to_dist_im` of bop_toolkit_lib
    takes the ray of pixel [y, x] to be that of (x, y), and BlenderProc, which made BOP's synthetic pictures, writes
    (width - 1) / 2 (`get_intrinsics_as_K_matrix`). Ours is its outer corner, so half a pixel comes off cx and cy. (The
    renderers of bop_toolkit_lib give cx and cy to OpenGL as they are, and so draw half a pixel off.)

    Args:
        camera: labels["camera"].
        depth_scale: Millimetres that a step of the depth image is.

    Returns:
        cam_K (9 numbers, pixels), depth_scale, and cam_R_w2c (9) and cam_t_w2c (3, mm), which are left out where the
        camera's parents shear it.

    Raises:
        ConfigError: (a ValueError) The camera is orthographic, or the picture went through a lens: no K describes them.
    """
    if camera.get("intrinsics") is None:
        raise ConfigError("its camera is orthographic, which BOP cannot describe; record with a perspective camera")
    if "distortion" in camera:
        raise ConfigError(
            "its picture is distorted (camera.distortion), and BOP's cameras are pinholes; record it before "
            "sensor.BrownConrady, or undistort it"
        )
    matrix = np.array(camera["intrinsics"], dtype=np.float64)
    matrix[:2, 2] -= 0.5
    entry = {"cam_K": matrix.ravel().tolist(), "depth_scale": depth_scale}
    camera_from_world = np.asarray(camera["camera_from_world_opencv"], dtype=np.float64)
    rotation = camera_from_world[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() < _ROTATION_TOLERANCE:
        entry["cam_R_w2c"] = rotation.ravel().tolist()
        entry["cam_t_w2c"] = (MM * camera_from_world[:3, 3]).tolist()
    return entry


def poses_of(instances: Mapping[str, Any], camera: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Rigid poses of instances, and the scale that is not in them.

    Args:
        instances: labels["instances"], with the column "pose" or "world_from_object".
        camera: labels["camera"].

    Returns:
        poses: (K, 4, 4) float64, camera_from_object without scale, OpenCV camera axes, metres.
        scale: (K, 3) float64; ones where only "pose" is there.

    Raises:
        LabelError: (a ValueError) Neither column is there.
    """
    if "pose" in instances and ("scale" in instances or "world_from_object" not in instances):
        poses = np.asarray(instances["pose"], dtype=np.float64)
        return poses, np.asarray(instances.get("scale", np.ones((len(poses), 3))), dtype=np.float64)
    if "world_from_object" not in instances:
        raise LabelError("its instances have neither the column pose nor world_from_object; expected one of them")
    camera_from_world = np.asarray(camera["camera_from_world_opencv"], dtype=np.float64)
    return rigid_poses(camera_from_world @ np.asarray(instances["world_from_object"], dtype=np.float64))


def sheared(
    instances: Mapping[str, Any], camera: Mapping[str, Any], poses: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Which instances no rigid pose and scale describe: (K,) bool. All False without the column world_from_object."""
    if "world_from_object" not in instances:
        return np.zeros(len(poses), dtype=bool)
    whole = np.asarray(camera["camera_from_world_opencv"]) @ np.asarray(instances["world_from_object"])
    error = np.abs(whole[:, :3, :3] - poses[:, :3, :3] * scale[:, None, :]).max(axis=(1, 2), initial=0.0)
    return error > _SHEAR_TOLERANCE * np.abs(scale).max(axis=1, initial=0.0)


def gt_entry(obj_id: int, pose: np.ndarray) -> dict[str, Any]:
    """An instance's entry in scene_gt.json: cam_R_m2c (9 numbers), cam_t_m2c (3, mm), obj_id.

    Args:
        obj_id: Which model it is of.
        pose: (4, 4), as `poses_of` returns it.
    """
    return {
        "cam_R_m2c": pose[:3, :3].ravel().tolist(),
        "cam_t_m2c": (MM * pose[:3, 3]).tolist(),
        "obj_id": obj_id,
    }


def gt_info_entry(instances: Mapping[str, Any], row: int, valid_and_seen: int | None) -> dict[str, Any]:
    """An instance's entry in scene_gt_info.json.

    Meanings are those of scripts/calc_gt_info.py of bop_toolkit: silhouettes include what is beyond the frame, as ours do,
    and boxes are (x, y, width, height) from the centre of the first pixel to that of the last (`misc.calc_2d_bbox`), and so
    one pixel narrower and lower than ours, which go from edge to edge.

    Args:
        instances: labels["instances"], with the columns of `blendtorch.labels.schema.AMODAL`.
        row: Whose; one that pixels show, and whose visible fraction is above 0.
        valid_and_seen: How many of its pixels have a depth; None where there is no depth image. What others hide of it is
            not known pixel by pixel, and counts as valid: something is in front of it.

    Returns:
        bbox_obj, bbox_visib: 4 whole numbers each.
        px_count_all, px_count_valid, px_count_visib: Pixels. The first one is px_count_visib / visib_fract.
        visib_fract: 0 to 1.
    """
    seen = int(instances["pixels"][row])
    fraction = float(instances["visible_fraction"][row])
    whole = max(seen, round(seen / fraction))
    in_frame = round(whole * (1.0 - float(instances["truncation"][row])))
    return {
        "bbox_obj": _bbox(instances["box_amodal"][row]),
        "bbox_visib": _bbox(instances["box"][row]),
        "px_count_all": whole,
        "px_count_valid": 0 if valid_and_seen is None else valid_and_seen + max(0, in_frame - seen),
        "px_count_visib": seen,
        "visib_fract": fraction,
    }


def depth_steps(depth_m: np.ndarray, depth_scale: float) -> tuple[np.ndarray, int]:
    """A depth image as BOP has it.

    Args:
        depth_m: (H, W) floating point, metres along the optical axis; infinite, NaN or 0 where nothing is known.
        depth_scale: Millimetres a step.

    Returns:
        steps: (H, W) uint16, nearest multiple of `depth_scale`; 0 where nothing is known, or it is too far for 16 bits.
        too_far: How many pixels are too far.
    """
    steps = np.rint(np.asarray(depth_m, dtype=np.float64) * (MM / depth_scale))
    known = np.isfinite(steps) & (steps > 0)
    fits = known & (steps <= np.iinfo(np.uint16).max)
    return np.where(fits, steps, 0).astype(np.uint16), int(known.sum() - fits.sum())


def _bbox(box: np.ndarray) -> list[int]:
    x1, y1, x2, y2 = (round(float(side)) for side in box)
    return [x1, y1, max(0, x2 - x1 - 1), max(0, y2 - y1 - 1)]
