"""The schema of a sample's labels: the names, shapes and dtypes that `docs/labels.md` documents, in one place.

`labels` is one dict a sample: {"camera": {...}, "instances": {...}, "keypoints": {...}}, the last one optional. The
instances are a table: K rows, one for each instance, ordered by id; so are keypoints, of J rows.
"""

from typing import NamedTuple

import numpy as np

TEXT = "str"
"""The dtype of columns that are lists of str."""


class Column(NamedTuple):
    """What a column of a table holds, or an entry of the camera."""

    tail: tuple[int, ...]
    """Shape of one row."""
    dtype: str
    """Name of a numpy dtype, or `TEXT`."""
    required: bool = True
    """Whether each table has it."""
    unknown: bool = False
    """Whether NaN is allowed, for what is not known or not defined."""

    def empty(self) -> np.ndarray | list[str]:
        """Return the column of a table without rows."""
        return [] if self.dtype == TEXT else np.zeros((0, *self.tail), dtype=self.dtype)


CAMERA = {
    "intrinsics": Column((3, 3), "float64"),
    "camera_from_world": Column((4, 4), "float64"),
    "camera_from_world_opencv": Column((4, 4), "float64"),
    "clip_from_camera": Column((4, 4), "float64"),
}
"""The arrays of the camera. Besides these it has "shape": (H, W). The intrinsics of an orthographic camera are None."""

INSTANCES = {
    "id": Column((), "uint32"),
    "object": Column((), TEXT),
    "instancer": Column((), TEXT),
    "class_id": Column((), "uint32"),
    "pixels": Column((), "int64"),
    "box": Column((4,), "float32"),
    "box_amodal": Column((4,), "float32", required=False),
    "visible_fraction": Column((), "float32", required=False),
    "truncation": Column((), "float32", required=False),
    "bounds": Column((2, 3), "float32", required=False),
    "world_from_object": Column((4, 4), "float64", required=False),
    "box3d_world": Column((8, 3), "float64", required=False),
    "box3d_camera": Column((8, 3), "float64", required=False),
    "box3d_pixel": Column((8, 2), "float64", required=False, unknown=True),
    "pose": Column((4, 4), "float64", required=False),
    "scale": Column((3,), "float64", required=False),
    "velocity_world": Column((3,), "float64", required=False, unknown=True),
    "angular_velocity_world": Column((3,), "float64", required=False, unknown=True),
}
"""The columns of the instances."""

AMODAL = ("box_amodal", "visible_fraction", "truncation")
"""The columns that need the whole silhouette of each instance, which the image of ids does not show."""

KEYPOINTS = {
    "name": Column((), TEXT),
    "object": Column((), TEXT),
    "owner": Column((), TEXT, required=False),
    "xyz_world": Column((3,), "float64"),
    "xy": Column((2,), "float64", unknown=True),
    "depth_m": Column((), "float64"),
    "visibility": Column((), "uint8"),
}
"""The columns of the keypoints."""
