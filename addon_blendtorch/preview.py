"""Preview 3 x 3: the first nine samples with their boxes, in an Image Editor."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import bpy
import numpy as np

from blendtorch.btb import setup as btb_setup
from blendtorch.btb.setup import SceneSetup
from blendtorch.errors import BlendTorchError

from .editors import areas_of, open_area
from .engine import engine
from .engine_errors import in_words
from .preview_picture import grid, png, with_boxes
from .preview_text import text_mask
from .properties import to_setup
from .redraw import redraw, redraw_image_editors
from .scenes import scene_context

IMAGE_NAME = "BlendTorch Preview"
COUNT = 9
# Pictures wider than this have boxes whose lines are wider, too.
_FINE_BELOW_PX = 400


class PreviewJob:
    """Makes the pictures of the preview, one a step.

    Of an index that is an episode it shows the first frame, and of several cameras the first one.

    Args:
        setup: What is set up for the scene.
        scene_uid: The scene's `session_uid`.

    Attributes:
        name: What its errors are about.
        scene_uid: The same.
        is_busy: Always true: it is done as fast as may be.
    """

    name = "preview"
    is_busy = True

    def __init__(self, setup: SceneSetup, scene_uid: int) -> None:
        # Boxes are shown also where samples have none.
        self._setup = replace(setup, output=replace(setup.output, annotate=True))
        self.scene_uid = scene_uid
        self._count = min(COUNT, setup.output.episodes or COUNT)
        self._pictures: list[np.ndarray] = []
        with scene_context(scene_uid) as scene:
            self._maker = btb_setup.SampleMaker(
                self._setup, scene, on_problem=lambda _, error: engine.errors.mark(scene_uid, error)
            )

    def step(self) -> bool:
        """Makes one picture and shows all there are; returns whether that was the last one."""
        with scene_context(self.scene_uid):
            samples = self._maker.samples(len(self._pictures))
            try:
                sample = next(samples)
            finally:
                samples.close()
        width_px = 1 + sample["image"].shape[1] // _FINE_BELOW_PX
        labels = sample.get("labels")
        names = [text_mask(name) for name in self._names(labels)] if labels else None
        self._pictures.append(with_boxes(sample["image"], labels, width_px, names))
        _show_picture(grid(self._pictures))
        return len(self._pictures) == self._count

    def _names(self, labels: Mapping[str, Any]) -> list[str]:
        """For each instance its class's name, where it has one, else the object's."""
        classes = {entry.class_id: entry.name for entry in self._setup.output.classes}
        instances = labels["instances"]
        return [
            classes.get(int(class_id)) or name
            for class_id, name in zip(instances["class_id"], instances["object"], strict=True)
        ]

    def close(self) -> None:
        """Puts the scene back as it was."""
        with scene_context(self.scene_uid, missing_ok=True):
            self._maker.close()


class BLENDTORCH_OT_preview(bpy.types.Operator):
    bl_idname = "blendtorch.preview"
    bl_label = "Preview 3 x 3"
    bl_description = (
        "Show the first nine samples, with the box of each object, in an Image Editor. The scene stays as it is. "
        "Esc stops it"
    )
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if engine.state.preview:
            cls.poll_message_set("The preview is being made already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene
        try:
            engine.start_job("preview", scene, lambda: PreviewJob(to_setup(scene), scene.session_uid))
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        if bpy.app.background:  # no timer runs, and nobody waits for the window
            while engine.state.preview:
                engine.step()
            if "preview" in engine.errors.by_name:
                self.report({"ERROR"}, engine.errors.by_name["preview"])
                return {"CANCELLED"}
        else:
            show_image(preview_image())
        return {"FINISHED"}


def preview_image() -> bpy.types.Image:
    """The image that shows the preview; made where it is not there."""
    image = bpy.data.images.get(IMAGE_NAME)
    if image is None:
        image = bpy.data.images.new(IMAGE_NAME, 3 * 128, 3 * 128)
    return image


def show_image(image: bpy.types.Image) -> None:
    """Shows an image in an Image Editor: one that is open, else one in a window of its own."""
    if any(area.spaces.active.image == image for area in areas_of("IMAGE_EDITOR")):
        return
    area = open_area("IMAGE_EDITOR")
    if area is not None:
        area.spaces.active.image = image


def _show_picture(picture: np.ndarray) -> None:
    """Shows H x W x 3 uint8 in the preview's image.

    By way of a file: an image whose pixels were set counts as not saved, of which Blender would ask at its end.
    """
    file = Path(bpy.app.tempdir) / "blendtorch_preview.png"
    file.write_bytes(png(picture))
    image = preview_image()
    image.source = "FILE"
    image.filepath = str(file)
    image.reload()
    redraw_image_editors()
    redraw()


CLASSES = (BLENDTORCH_OT_preview,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
