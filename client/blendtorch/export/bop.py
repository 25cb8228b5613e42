"""`export_bop`: a recording as a dataset for 6D object pose estimation, in the BOP format."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, LabelError
from .bop_models import Models, ObjIds
from .bop_samples import SampleConverter
from .bop_scenes import SceneWriter
from .classes import class_names
from .pictures import ImageFormat, checked_image_format
from .readable import Progress, readable_samples
from .splits import SPLITS, checked_fractions, split_of
from .summary import ExportSummary
from .target import new_folder

if TYPE_CHECKING:
    from ..recording import Recording

_NOTES = """\
# Dataset in the BOP format, exported by BlendTorch

- Format: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md (BOP-scenewise).
- cam_K: (0, 0) is the centre of the first pixel, as in OpenCV.
- depth: 16 bits, {depth_scale} mm a step (up to {reach:g} m); 0 where nothing is, and beyond.
- Poses are of each object's origin and axes in Blender. A model is the object's mesh with its scale applied, in mm:
  objects.json tells which. There are no meshes (models/obj_*.ply) here. models_info.json has the models' boxes; `diameter`
  is the box's diagonal, which is more than the largest distance of two vertices. scripts/calc_model_info.py of bop_toolkit
  computes that once the meshes are there.
- mask/, the whole silhouettes, is optional and not here: scripts/calc_gt_masks.py makes it once the meshes are there.
  mask_visib/ is exact to the pixel. px_count_all is px_count_visib / visib_fract.
- Only instances that at least {min_pixels} pixel(s) show are annotated.
- scene_samples.json of each scene tells which sample of the recording an image was.
"""


def export_bop(
    recording: "Recording",
    folder: str | os.PathLike,
    *,
    splits: Mapping[str, float] = SPLITS,
    obj_ids: ObjIds = "object",
    depth_scale: float = 1.0,
    min_pixels: int = 1,
    images_per_scene: int = 1000,
    image_format: ImageFormat = "png",
    quality: int = 95,
    image_field: str = "image",
    progress: Progress | None = None,
) -> ExportSummary:
    """Export a recording in the BOP format (BOP-scenewise), for pose estimators and bop_toolkit.

    Written are SPLIT/SCENE/rgb, depth, mask_visib, scene_camera.json, scene_gt.json, scene_gt_info.json, and beside the
    splits camera.json, models/models_info.json, objects.json (what an obj_id stands for) and dataset_info.md. Not written
    are meshes, and masks of whole silhouettes (mask/), which no sample has.
    https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md

    Samples need "labels" with a perspective camera; picture, "depth" and "ids" (for masks) are there or not. Without amodal
    columns in its labels a scene has no scene_gt_info.json.

    Args:
        recording: What to export.
        folder: The dataset, new or empty.
        splits: Name of each split to its share; bop_toolkit knows "train", "val", "test", and "train_pbr" with jpg.
        obj_ids: What tells models apart: the "object" (its name, and its scale), the "class" (obj_id is class_id), or a
            dict that maps names of objects to ids; others, such as the floor, are left out then.
        depth_scale: Millimetres a step of the depth images. 1 reaches 65.5 m and loses up to half a millimetre; 0.1, as
            usual for table tops, reaches 6.55 m. What is farther becomes 0 ("no depth") and is counted.
        min_pixels: Instances that fewer pixels show are left out.
        images_per_scene: A scene folder has at most so many.
        image_format: "png", without loss, or "jpg", as BOP's train_pbr has it. Alpha is dropped.
        quality: Of jpg, 1 to 100.
        image_field: Field of the picture.
        progress: Called with how many samples are done, and how many there are.

    Returns:
        What was written, and what was left out.

    Raises:
        ConfigError: (a ValueError) An option is out of range; the folder is not empty; a camera is orthographic or its
            picture distorted; an object has too many scales; no sample can be exported.
    """
    checked_fractions(splits)
    checked_image_format(image_format, quality)
    if not (math.isfinite(depth_scale) and depth_scale > 0):
        raise ConfigError(f"depth_scale: expected millimetres above 0, got {depth_scale!r}")
    if min_pixels < 1 or images_per_scene < 1:
        raise ConfigError(
            f"expected min_pixels and images_per_scene of at least 1, got {min_pixels!r} and {images_per_scene!r}"
        )
    summary = ExportSummary("BOP", Path(os.path.abspath(folder)))
    models = Models(obj_ids, class_names(recording.metadata))
    converter = SampleConverter(
        models,
        summary,
        depth_scale=float(depth_scale),
        min_pixels=min_pixels,
        image_format=image_format,
        quality=quality,
        image_field=image_field,
    )
    with new_folder(folder) as partial:
        with ExitStack() as stack:
            scenes = {name: stack.enter_context(SceneWriter(partial / name, images_per_scene)) for name in splits}
            for key, sample in readable_samples(recording, summary, progress):
                try:
                    image = converter.image(key, sample)
                except LabelError as error:
                    summary.leave_out("samples whose labels and images do not belong together")
                    summary.problem(f"{key}: {error}")
                except ConfigError as error:
                    raise ConfigError(f"sample {key}: {error}") from None
                else:
                    if image is not None:
                        scenes[split_of(key, splits)].add(image)
        if converter.first_camera is None:
            raise ConfigError(
                f"none of the {len(recording)} samples can be exported; BOP needs labels with a camera and poses, as "
                f"labels.annotate() makes them. {summary}"
            )
        _write_json(partial / "camera.json", converter.first_camera)
        _write_json(partial / "objects.json", models.objects())
        _write_json(partial / "models" / "models_info.json", models.models_info())
        notes = _NOTES.format(depth_scale=depth_scale, reach=converter.reach_m, min_pixels=min_pixels)
        (partial / "dataset_info.md").write_text(notes, encoding="utf-8")
    for name, split in scenes.items():
        summary.count(f"images in {name}", split.images)
        summary.count(f"scenes in {name}", split.scenes)
        if not split.images and splits[name] > 0:
            summary.problem(f"no sample fell into {name}: splits go by episodes, and need many of them.")
    converter.report(sum(split.without_info for split in scenes.values()))
    models.report(summary)
    return summary


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
