"""`FrameRenderer`: final renders of EEVEE and Cycles as arrays, pictures and labels from one render, without a file."""

from collections.abc import Sequence
from typing import Literal

import bpy
import numpy as np

from ..errors import ConfigError, SceneError
from .camera import Camera, as_camera
from .cryptomatte import number_ids
from .frame_files import save_image, save_passes, set_image_settings
from .frame_outputs import AOV, Passes, check_given_by, check_outputs, check_scene, passes_for
from .frame_settings import Quality, check_engine, check_samples, engine_of, set_camera, set_quality, set_scene
from .temporary_settings import TemporarySettings

Engine = Literal["EEVEE", "CYCLES", "WORKBENCH"]
ImageMode = Literal["rgb", "rgba"]

_CHANNELS = {"rgb": 3, "rgba": 4}


class FrameRenderer:
    """Renders the current frame as F12 does, and returns the picture and its passes as arrays.

    Where quality matters more than time; `OffScreenRenderer` and `LabelRenderer` are many times faster. All outputs come
    from one render. No file is written (on Linux; elsewhere one temporary file that is removed), and every setting that
    is changed for the render is put back, also after an error: the scene, its markers, view layers and camera are
    afterwards what they were.

    Rendered is the context's view layer, alone, without compositor, sequencer, render border, stereo views and
    burnt-in texts. What is hidden in renders is not there, whatever the viewport shows. As any render it calls the user's
    render handlers, and `frame_change` handlers for this frame (for flow also for the one before and the one after), and
    evaluates the frame anew: a keyed property that a script has set since is what its keyframes say.

    Args:
        camera: Where to look from, and the size; by default the scene's active camera. It need not be the active one.
        outputs: What `render` returns. Surfaces are those nearest at a pixel's centre if `noise_free`.

            * "image": H x W x 3 or 4 uint8 (see `mode`), display-referred sRGB through the scene's view transform (or that
              of the output's colour management, if set to override the scene's).
            * "image_linear": H x W x 4 float32 RGBA, scene-linear, colours multiplied by alpha.
            * "depth": H x W float32, metres along the optical axis, background inf.
            * "position": H x W x 3 float32, metres, world: the point at a pixel's centre that has its depth. Background
              NaN.
            * "normals_world", "normals_camera": H x W x 3 float32 unit vectors in world axes or in Blender's camera axes
              (+X right, +Y up, +Z towards the viewer), as shaded, so with bump maps; background 0.
            * "flow_backward", "flow_forward": H x W x 2 float32 pixels (dx, dy), y down: what a pixel shows is at that plus
              flow in the picture of the frame before, or in that of the frame after. Background NaN. Only what is
              animated (keyframes, drivers, physics, `frame_change` handlers) is seen to move, not what a script sets before
              each frame; for that, see `LabelRenderer`.
            * "object_ids", "material_ids": H x W uint32, what covers most of the pixel, 0 for background (and for surfaces
              without a material); `objects` and `materials` tell the names. Instances of an object have its id. Objects
              of the same name, as linked ones can be, share one.
            * "aov:NAME": the shader AOV of that name: H x W float32 if its type is VALUE, H x W x 4 if COLOR.

            Workbench gives "image", "image_linear", "depth" and "position"; so may the engines of other add-ons.
        engine: "EEVEE", "CYCLES" or "WORKBENCH". None: the scene's.
        samples: Of the engine, each pixel's; Workbench takes 1, 5, 8, 11, 16 or 32. None: the scene's.
        noise_free: Renders one sample at the pixel's centre, without pixel filter, depth of field, motion blur, denoising,
            adaptive sampling and dithering: no label is a blend of two surfaces. False leaves what the scene says; normals
            and AOVs at edges are averages then, and with Cycles depth and flow are those of one place in the pixel.
            Materials that are partly transparent show, pixel by pixel, by chance one surface or that behind. Pictures of
            Cycles are grainy then: render them by another renderer with more samples.
        mode: Channels of "image": "rgb", over black where the film is transparent, or "rgba", with colours that are not
            multiplied by alpha.

    Relative errors (noise-free, seen on 4.2, 4.5, 5.2): Cycles computes in float32. EEVEE's depth comes from a depth buffer
    (2e-5 with a clip range of 0.1 to 100 metres, 1e-3 with 0.001 to 1000), its flow and AOVs are half floats (2e-3), its
    normals have 16 bits (2e-4). Before 5.2 EEVEE tells background by the depth of the clip end, and a surface in the
    depth buffer's last step before it counts as background.

    Raises:
        ConfigError: An argument is not one of those above; the engine does not give an output.
        SceneError: The scene has no camera.
    """

    def __init__(
        self,
        camera: Camera | None = None,
        outputs: Sequence[str] = ("image",),
        *,
        engine: Engine | None = None,
        samples: int | None = None,
        noise_free: bool = False,
        mode: ImageMode = "rgb",
    ) -> None:
        self._outputs = check_outputs(outputs)
        if samples is not None and samples < 1:
            raise ConfigError(f"samples is {samples}, expected at least 1.")
        if noise_free and samples not in (None, 1):
            raise ConfigError(f"samples is {samples}, but noise_free=True renders one: pass only one of the two.")
        if mode not in _CHANNELS:
            raise ConfigError(f"mode is {mode!r}, expected one of {', '.join(map(repr, _CHANNELS))}.")
        if engine is not None:
            check_engine(engine)
            check_given_by(engine, self._outputs)
            check_samples(engine, samples)
        self.camera = as_camera(camera)
        self._engine = engine
        self._quality = Quality(samples, noise_free)
        self._channels = _CHANNELS[mode]
        self._names: dict[str, dict[int, str]] = {}
        self._renders = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """What `render` returns."""
        return self._outputs

    @property
    def objects(self) -> dict[int, str]:
        """Names by the ids of the last "object_ids": all objects of the file, from 1 on in order of name, seen or not.

        Raises:
            SceneError: None were rendered yet.
        """
        return self._names_of("object_ids")

    @property
    def materials(self) -> dict[int, str]:
        """Names by the ids of the last "material_ids": all materials of the file, from 1 on in order of name, seen or not.

        Raises:
            SceneError: None were rendered yet.
        """
        return self._names_of("material_ids")

    def render(self) -> dict[str, np.ndarray]:
        """Renders the current frame of the context's scene.

        Returns:
            For each output an array of that name; rows begin at the top. They are new and the caller's own.

        Raises:
            ConfigError: The scene's engine does not give an output, an AOV is not there, motion blur is on where flow is
                wanted, or the camera's picture is smaller than 4 pixels.
            SceneError: The camera was deleted, or is not in the context's scene; Blender cancelled the render; it was
                called by a handler of a render of its own.
            RuntimeError: Blender's own error.
        """
        if self._renders:
            raise SceneError(
                "render() was called while it renders, by a handler that Blender calls for each render and each frame of "
                "it: render after the frame instead (post_frame of an AnimationController)."
            )
        self._renders = True
        try:
            return self._render()
        finally:
            self._renders = False

    def _render(self) -> dict[str, np.ndarray]:
        scene, view_layer = bpy.context.scene, bpy.context.view_layer
        engine = engine_of(scene) if self._engine is None else self._engine
        check_given_by(engine, self._outputs)
        check_samples(engine, self._quality.samples)
        check_scene(scene, view_layer, self._outputs, blurs=not self._quality.noise_free)
        with TemporarySettings() as change:
            set_image_settings(change, scene)
            set_scene(change, scene, view_layer, engine)
            set_camera(change, scene, self.camera)
            set_quality(change, scene, view_layer, engine, self._quality)
            for name in passes_for(self._outputs, engine):
                # Those that are on stay on: the compositor may hang on them.
                change(view_layer, f"use_pass_{name}", True)
            if self._quality.noise_free or self._quality.samples == 1:
                change(view_layer, "pass_cryptomatte_depth", 2)  # the least: one sample sees one thing
            if bpy.ops.render.render() != {"FINISHED"}:
                raise SceneError("Blender cancelled the render: is another one running, or was Esc pressed?")
            return self._collect(scene, view_layer, engine)

    def _collect(self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, engine: str) -> dict[str, np.ndarray]:
        arrays = {}
        if "image" in self._outputs:
            arrays["image"] = save_image(scene, self._channels)
        if self._outputs != ("image",):
            passes = Passes(save_passes(scene), view_layer, engine, self.camera)
            arrays |= {output: self._read(output, passes) for output in self._outputs if output != "image"}
        return {output: arrays[output] for output in self._outputs}

    def _read(self, output: str, passes: Passes) -> np.ndarray:
        if output.startswith(AOV):
            return passes.aov(output.removeprefix(AOV))
        if output.startswith("flow_"):
            return passes.flow(output.removeprefix("flow_"))
        if output == "object_ids":
            ids, self._names[output], unknown = number_ids(passes.matte("Object"), _names(bpy.data.objects))
            if unknown:
                raise SceneError(
                    f"the render shows objects of Cryptomatte ids {', '.join(map(hex, unknown))}, which are those of no "
                    "name in bpy.data.objects: does a handler rename or remove objects?"
                )
            return ids
        if output == "material_ids":
            # Engines call what has no material by names of their own ("Default Surface").
            ids, self._names[output], _ = number_ids(passes.matte("Material"), _names(bpy.data.materials))
            return ids
        return getattr(passes, output)()

    def _names_of(self, output: str) -> dict[int, str]:
        if output not in self._names:
            raise SceneError(f"no {output!r} were rendered yet: name it in outputs, and call render().")
        return dict(self._names[output])


def _names(collection: bpy.types.bpy_prop_collection) -> list[str]:
    return [block.name for block in collection]
