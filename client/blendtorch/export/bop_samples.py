"""`SampleConverter`: what a BOP dataset has of each sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ConfigError, LabelError
from ..labels.arrays import as_depth_image, as_id_image
from ..labels.schema import AMODAL
from ..recording.images import encode
from .bop_annotations import camera_entry, depth_steps, gt_entry, gt_info_entry, poses_of, sheared
from .bop_models import Models
from .bop_scenes import SceneImage
from .pictures import ImageFormat, image_file, image_of
from .summary import ExportSummary

_MOST_STEPS = 65535


class SampleConverter:
    """Turns samples into images of a BOP dataset, and counts what it leaves out.

    Args:
        models: Give out obj_ids.
        summary: Counts.
        depth_scale, min_pixels, image_format, quality, image_field: As in `export_bop`.

    Attributes:
        first_camera: Content of camera.json, which `inout.load_cam_params` reads: the camera of the first image, for who
            simulates it.
        reach_m: Depth that 16 bits reach, metres.
    """

    def __init__(
        self,
        models: Models,
        summary: ExportSummary,
        *,
        depth_scale: float,
        min_pixels: int,
        image_format: ImageFormat,
        quality: int,
        image_field: str,
    ) -> None:
        self.first_camera: dict[str, Any] | None = None
        self.reach_m = _MOST_STEPS * depth_scale / 1000
        self._models = models
        self._summary = summary
        self._depth_scale = depth_scale
        self._min_pixels = min_pixels
        self._image_format: ImageFormat = image_format
        self._quality = quality
        self._image_field = image_field
        self._farthest_m = 0.0
        self._without = dict.fromkeys(("picture", "depth", "masks"), 0)
        self._sheared = 0

    def image(self, key: str, sample: Mapping[str, Any]) -> SceneImage | None:
        """Return what the dataset has of a sample; None where the sample has no labels.

        Raises:
            LabelError: (a ValueError) Its images and labels do not belong together. Nothing of it was counted.
            ConfigError: (a ValueError) BOP has no such camera, or no models of that many scales.
        """
        labels = sample.get("labels")
        if not isinstance(labels, Mapping) or "camera" not in labels:
            self._summary.leave_out("samples without labels")
            return None
        camera = labels["camera"]
        entry = camera_entry(camera, self._depth_scale)
        rgb, depth, ids = self._pictures(sample, tuple(camera["shape"]))
        instances = labels.get("instances") or {"id": [], "pose": np.zeros((0, 4, 4))}
        poses, scale = poses_of(instances, camera)
        rows, obj_ids = self._rows(instances, poses, scale)
        steps = None if depth is None else self._steps(depth)
        masks = None if ids is None else [ids == int(instances["id"][row]) for row in rows]
        for what, array in (("picture", rgb), ("depth", depth), ("masks", ids)):
            self._without[what] += array is None
        self._sheared += int(sheared(instances, camera, poses, scale)[rows].sum())
        self._summary.count("instances", len(rows))
        if self.first_camera is None:
            k, (height, width) = entry["cam_K"], camera["shape"]
            self.first_camera = {"fx": k[0], "fy": k[4], "cx": k[2], "cy": k[5], "depth_scale": self._depth_scale}
            self.first_camera |= {"height": int(height), "width": int(width)}
        return SceneImage(
            key,
            entry,
            [gt_entry(obj_id, poses[row]) for row, obj_id in zip(rows, obj_ids, strict=True)],
            self._gt_info(instances, rows, masks, steps),
            None if rgb is None else image_file(rgb[..., :3], self._image_format, self._quality),
            f".{self._image_format}",
            None if steps is None else encode(steps, "png", 0),
            None if masks is None else [encode(mask.astype(np.uint8) * 255, "png", 0) for mask in masks],
        )

    def report(self, scenes_without_info: int) -> None:
        """Note what the user should know of the images."""
        summary = self._summary
        if self._farthest_m > self.reach_m:
            summary.problem(
                f"depth reaches {self._farthest_m:.4g} m, and depth_scale={self._depth_scale:g} {self.reach_m:.4g} m: what "
                "is beyond has no depth. A larger depth_scale reaches farther"
            )
        elif 0.0 < self._farthest_m <= self.reach_m / 10:
            summary.problem(
                f"depth reaches {self._farthest_m:.4g} m: depth_scale={self._depth_scale / 10:g} would hold it ten times "
                "as finely"
            )
        for what, number in self._without.items():
            if number:
                summary.problem(f"{number} images have no {what}, for their samples have none")
        if scenes_without_info:
            summary.problem(
                f"{scenes_without_info} scenes have no scene_gt_info.json: their labels lack {', '.join(AMODAL)} "
                "(annotate with amodal=True)"
            )
        if self._sheared:
            summary.problem(f"{self._sheared} instances are sheared: a rigid pose is but the nearest one to theirs")
        summary.problem(
            "no meshes and no whole silhouettes are there, diameters are those of boxes: see dataset_info.md"
        )

    def _pictures(
        self, sample: Mapping[str, Any], shape: tuple[int, ...]
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """Return picture, depth and ids, None for each that is not there."""
        rgb = image_of(sample, self._image_field) if self._image_field in sample else None
        try:
            depth = as_depth_image("depth", sample["depth"]) if "depth" in sample else None
            ids = as_id_image("ids", sample["ids"]) if "ids" in sample else None
        except ConfigError as error:
            raise LabelError(str(error)) from None
        for name, array in ((self._image_field, rgb), ("depth", depth), ("ids", ids)):
            if array is not None and array.shape[:2] != shape:
                raise LabelError(f"{name}: expected the camera's shape {shape}, got {array.shape}")
        return rgb, depth, ids

    def _steps(self, depth: np.ndarray) -> np.ndarray:
        steps, too_far = depth_steps(depth, self._depth_scale)
        self._summary.leave_out(f"pixels of depth beyond {self.reach_m:g} m", too_far)
        self._farthest_m = max(self._farthest_m, float(np.max(depth, initial=0.0, where=np.isfinite(depth))))
        return steps

    def _rows(self, instances: Mapping[str, Any], poses: np.ndarray, scale: np.ndarray) -> tuple[list[int], list[int]]:
        """Return the rows of the instances that get in, and the obj_id of each."""
        rows, obj_ids = [], []
        bounds = instances.get("bounds")
        for row in range(len(poses)):
            pixels = instances["pixels"][row]
            if not pixels:
                self._summary.leave_out("instances without visible pixels")
            elif pixels < self._min_pixels:
                self._summary.leave_out(f"instances of fewer than {self._min_pixels} pixels")
            elif not np.isfinite(poses[row]).all():
                self._summary.leave_out("instances without a pose")
            elif "visible_fraction" in instances and not instances["visible_fraction"][row] > 0:
                self._summary.leave_out("instances whose visible_fraction is not above 0, though pixels show them")
            else:
                name, class_id = instances["object"][row], int(instances["class_id"][row])
                obj_id = self._models.obj_id(name, class_id, scale[row], None if bounds is None else bounds[row])
                if obj_id is None:
                    self._summary.leave_out(self._models.why_left_out())
                else:
                    rows.append(row)
                    obj_ids.append(obj_id)
        return rows, obj_ids

    def _gt_info(
        self, instances: Mapping[str, Any], rows: list[int], masks: list[np.ndarray] | None, steps: np.ndarray | None
    ) -> list[dict[str, Any]] | None:
        if rows and not all(column in instances for column in AMODAL):
            return None
        entries = []
        for i, row in enumerate(rows):
            valid = None
            if steps is not None:
                # Without an image of ids nobody knows which pixels; a depth image from Blender is valid on all surfaces.
                valid = int(instances["pixels"][row]) if masks is None else int(np.count_nonzero(steps[masks[i]]))
            entries.append(gt_info_entry(instances, row, valid))
        return entries
