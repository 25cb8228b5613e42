"""`instance_labels`: the "instances" entry of a sample's labels, from plain arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from . import projection
from .arrays import as_floats, as_id_image, as_id_list
from .boxes import boxes_from_ids
from .boxes3d import box_corners
from .camera import project
from .poses import rigid_poses, velocities
from .schema import AMODAL, INSTANCES, TEXT


def instance_labels(
    ids: ArrayLike,
    instance_ids: ArrayLike,
    names: Sequence[str],
    instancers: Sequence[str],
    class_ids: ArrayLike,
    world_from_object: ArrayLike,
    bounds: ArrayLike,
    camera: dict[str, Any],
    *,
    world_from_object_before: ArrayLike | None = None,
    interval_s: float | None = None,
    amodal: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Any]:
    """Make the table of instances.

    Args:
        ids: (H, W) uint32, which instance each pixel shows, 0 for the background; of the camera's shape.
        instance_ids: (K,) 1 to 2^32 - 1, each once, in any order: the instances there are, in the image or not.
        names: K names of the objects whose geometry they have.
        instancers: K names of the objects that show them, "" for objects that show themselves.
        class_ids: (K,) uint32.
        world_from_object: (K, 4, 4), scale and shear included.
        bounds: (K, 2, 3) lowest and highest corner in object axes.
        camera: What `camera_labels` returns.
        world_from_object_before: (K, 4, 4) the same `interval_s` earlier, NaN for what was not there. Gives velocities.
        interval_s: Seconds; goes with `world_from_object_before`.
        amodal: Any of the columns "box_amodal" (K, 4), "visible_fraction" (K,) and "truncation" (K,).

    Returns:
        Dict of `schema.INSTANCES`: K rows, ordered by id, whatever the order of the arguments.

    Raises:
        ConfigError: (a ValueError) Other shapes or dtypes, an id that is 0 or is there twice, `interval_s` without
            `world_from_object_before` or the other way round, unknown columns in `amodal`.
    """
    image = as_id_image("ids", ids)
    if image.shape != tuple(camera["shape"]):
        raise ConfigError(f"ids: expected an image of the camera's shape {tuple(camera['shape'])}, got {image.shape}")
    unordered = as_id_list("instance_ids", instance_ids, lowest=1)
    count = len(unordered)
    order = np.argsort(unordered)
    matrices = as_floats("world_from_object", world_from_object, (count, 4, 4))[order]
    extent = as_floats("bounds", bounds, (count, 2, 3))[order].astype(np.float32)  # as the column has it
    boxes, pixels = boxes_from_ids(image, unordered[order])
    corners_world = box_corners(matrices, extent)
    corners_pixel, _ = project(corners_world, camera)
    pose, scale = rigid_poses(camera["camera_from_world_opencv"] @ matrices)
    columns = {
        "id": unordered[order],
        "object": _texts("names", names, order),
        "instancer": _texts("instancers", instancers, order),
        "class_id": _class_ids(class_ids, count)[order],
        "pixels": pixels,
        "box": boxes,
        "bounds": extent,
        "world_from_object": matrices,
        "box3d_world": corners_world,
        "box3d_camera": projection.transform_points(camera["camera_from_world_opencv"], corners_world),
        "box3d_pixel": corners_pixel,
        "pose": pose,
        "scale": scale,
    }
    if (world_from_object_before is None) != (interval_s is None):
        raise ConfigError("world_from_object_before and interval_s go together: expected both or none, got one")
    if world_from_object_before is not None and interval_s is not None:
        before = as_floats("world_from_object_before", world_from_object_before, (count, 4, 4))[order]
        columns["velocity_world"], columns["angular_velocity_world"] = velocities(matrices, before, interval_s)
    for name, value in (amodal or {}).items():
        if name not in AMODAL:
            raise ConfigError(f"amodal: expected columns among {', '.join(AMODAL)}, got {name!r}")
        columns[name] = as_floats(f"amodal[{name!r}]", value, (count, *INSTANCES[name].tail))[order]
    return {name: _as_column(columns[name], column.dtype) for name, column in INSTANCES.items() if name in columns}


def _as_column(value: Any, dtype: str) -> Any:
    return value if dtype == TEXT else np.ascontiguousarray(value, dtype=dtype)


def _texts(name: str, values: Sequence[str], order: np.ndarray) -> list[str]:
    if isinstance(values, str) or len(values) != len(order):
        raise ConfigError(f"{name}: expected {len(order)} texts, one for each instance id, got {len(values)}")
    return [str(values[row]) for row in order]


def _class_ids(values: ArrayLike, count: int) -> np.ndarray:
    array = np.asarray(values)
    if array.size == 0 and count == 0:
        return np.zeros(0, dtype=np.uint32)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise ConfigError(f"class_ids: expected ({count},) uint32, got {array.dtype} of shape {array.shape}")
    if (array < 0).any() or (array > np.iinfo(np.uint32).max).any():
        raise ConfigError(f"class_ids: expected 0 to {np.iinfo(np.uint32).max}, got {array.min()} to {array.max()}")
    return array
