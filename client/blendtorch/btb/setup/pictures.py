"""Pictures and labels as a setup wants them, drawn so that the user's viewport looks afterwards as it did."""

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

from ...errors import SceneError
from ..camera import Camera
from ..compat import is_background
from ..frame_renderer import FrameRenderer
from ..gpu_context import ensure_gpu_context
from ..label_renderer import LabelRenderer
from ..offscreen import OffScreenRenderer
from ..randomize import Changes
from ..temporary_settings import TemporarySettings
from ..viewport import require_viewport
from ..workbench import WORKBENCH_AA
from .settings import OutputSettings

Reserve = Callable[[str, tuple[int, ...], Any], np.ndarray]

FINAL = ("EEVEE", "CYCLES")
"""Renderers that make final renders; the others draw the viewport."""

# In pictures with materials, alpha below it is a hole in labels, too.
_ALPHA_THRESHOLD = 0.5


def class_ids(output: OutputSettings) -> "dict[bpy.types.Object | bpy.types.Collection, int] | str":
    """The classes of a setup as `LabelRenderer` takes them; without any, those of the custom property `class_id`.

    Raises:
        SceneError: An object or collection is not there.
    """
    if not output.classes:
        return "class_id"
    found: dict[bpy.types.Object | bpy.types.Collection, int] = {}
    for number, entry in enumerate(output.classes, start=1):
        blocks = bpy.data.objects if entry.type == "OBJECT" else bpy.data.collections
        block = blocks.get(entry.target)
        if block is None:
            raise SceneError(
                f"class {number} ({entry.name or entry.class_id}) is that of {entry.type.lower()} {entry.target!r}, which "
                "is not in the file: was it renamed or removed? Choose another, or remove the class."
            )
        found.setdefault(block, entry.class_id)
    return found


class Pictures:
    """Draws the pictures of a setup. In background the viewport stays set up for them until `put_back`, which saves time.

    Args:
        output: What is wanted.
        reserve: Where to draw to: called with name, shape and dtype of a field, as a channel's `reserve`.
    """

    def __init__(self, output: OutputSettings, reserve: Reserve | None) -> None:
        self._output = output
        self._reserve = reserve
        self._kept = TemporarySettings() if is_background() else None
        self._viewport: OffScreenRenderer | None = None
        self._frames: FrameRenderer | None = None

    def prepare(self) -> None:
        """To be called before the scene is changed for a sample.

        Before 5.2 a render makes the GPU context, and a render has animated values be what their keyframes say.
        """
        if self._output.renderer not in FINAL or self._output.labels or self._output.annotate:
            ensure_gpu_context()

    def draw(self, camera: Camera, changes: Changes) -> np.ndarray:
        """The picture of the scene as it is now, H x W x 3 or 4 uint8; in memory of `reserve`, or the caller's own.

        Args:
            camera: The camera.
            changes: What shall be so even if it has keyframes, which final renders evaluate.
        """
        if self._output.renderer not in FINAL:
            return self._draw_viewport(camera)
        if self._frames is None:
            output = self._output
            engine: Any = output.renderer
            self._frames = FrameRenderer(camera, engine=engine, samples=output.samples, mode=output.image_mode)
        self._frames.camera = camera
        with changes.over_animation():
            image = self._frames.render()["image"]
        out = self._place(image.shape)
        if out is None:
            return image
        out[...] = image
        return out

    def put_back(self) -> None:
        """Puts the viewport back."""
        if self._kept is not None:
            kept, self._kept = self._kept, TemporarySettings()
            kept.__exit__(None, None, None)

    def close(self) -> None:
        """Puts the viewport back, and frees the memory on the GPU."""
        try:
            self.put_back()
        finally:
            if self._viewport is not None:
                self._viewport.close()
            self._viewport = self._frames = None

    def _draw_viewport(self, camera: Camera) -> np.ndarray:
        output = self._output
        if self._viewport is None:
            samples = output.samples
            if output.renderer == "SOLID":
                samples = next((count for count in WORKBENCH_AA if count >= samples), max(WORKBENCH_AA))
            self._viewport = OffScreenRenderer(camera, output.image_mode, samples=samples)
            shading: Any = output.renderer
            self._viewport.set_render_style(shading)
        renderer = self._viewport
        renderer.camera = camera
        out = self._place(renderer.shape)
        if self._kept is not None:
            self._set_up_viewport(self._kept, renderer)
            return renderer.render(out)
        with TemporarySettings() as change:
            self._set_up_viewport(change, renderer)
            return renderer.render(out)

    def _set_up_viewport(self, change: TemporarySettings, renderer: OffScreenRenderer) -> None:
        """What `OffScreenRenderer` sets and leaves so."""
        space, _ = require_viewport()
        change(space.shading, "type", self._output.renderer)
        change(space.overlay, "show_overlays", False)
        change(space, "show_gizmo", False)
        if self._output.renderer != "SOLID":
            change(bpy.context.scene.eevee, "taa_samples", renderer.samples)

    def _place(self, shape: tuple[int, ...]) -> np.ndarray | None:
        return None if self._reserve is None else self._reserve("image", shape, np.uint8)


class Labels:
    """Draws the labels of a setup from one camera.

    Args:
        output: What is wanted.
        camera: The camera; each `draw` is given its own.

    Raises:
        SceneError: What a class is about is not there.
    """

    def __init__(self, output: OutputSettings, camera: Camera) -> None:
        self._output = output
        outputs: Any = output.labels or ("ids",)
        self._renderer = LabelRenderer(
            camera,
            outputs,
            classes=class_ids(output),
            alpha_threshold=None if output.renderer == "SOLID" else _ALPHA_THRESHOLD,
            hidden_in_renders=output.renderer not in FINAL,
        )
        self._index: int | None = None

    def draw(self, camera: Camera, index: int, is_first: bool) -> dict[str, Any]:
        """The labels of the scene as it is now: an array for each output, and `labels`, as far as they are wanted.

        Args:
            camera: The camera.
            index: What this is a sample of: those of other indices are not the picture before.
            is_first: Whether it is the first one of that index.
        """
        if is_first or index != self._index:
            self._renderer.reset()
        self._index = index
        self._renderer.camera = camera
        arrays = self._renderer.render()
        fields: dict[str, Any] = {**arrays} if self._output.labels else {}
        if self._output.annotate:
            fields["labels"] = self._renderer.annotate(amodal=self._output.amodal)
        return fields
