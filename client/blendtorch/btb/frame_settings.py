"""What the scene is set to while a frame is rendered."""

from dataclasses import dataclass

import bpy

from ..errors import ConfigError, SceneError
from . import compat
from .camera import Camera
from .temporary_settings import TemporarySettings
from .workbench import WORKBENCH_AA

ENGINES = ("EEVEE", "CYCLES", "WORKBENCH")
_SMALLEST_SIDE = 4


@dataclass(frozen=True)
class Quality:
    """How to render: the number of samples, None for the scene's; whether nothing may be blended or noisy."""

    samples: int | None
    noise_free: bool


def engine_of(scene: bpy.types.Scene) -> str:
    """The scene's engine by our names, or by Blender's when it is another add-on's."""
    known = {compat.eevee_engine(): "EEVEE", "BLENDER_WORKBENCH": "WORKBENCH"}
    return known.get(scene.render.engine, scene.render.engine)


def check_engine(engine: str) -> None:
    """Checks that there is an engine.

    Raises:
        ConfigError: It is unknown, or is an add-on that is off.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine is {engine!r}, expected None or one of {', '.join(map(repr, ENGINES))}.")
    if engine == "CYCLES" and not compat.has_cycles():
        raise ConfigError(
            "engine is 'CYCLES', and that add-on is not enabled in this Blender. "
            "Call addon_utils.enable('cycles') (import addon_utils) before."
        )


def check_samples(engine: str, samples: int | None) -> None:
    """Checks that the engine can take so many samples.

    Raises:
        ConfigError: It cannot.
    """
    if samples is None:
        return
    if engine == "WORKBENCH" and samples not in WORKBENCH_AA:
        raise ConfigError(f"samples is {samples}, Workbench takes one of {', '.join(map(str, WORKBENCH_AA))}.")
    if engine not in ENGINES:
        raise ConfigError(f"samples is {samples}, and how engine {engine!r} is told of them is not known: pass None.")


def set_scene(change: TemporarySettings, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, engine: str) -> None:
    """Leaves of the scene's render what the engine makes of this view layer, whole and untouched."""
    render = scene.render
    names = {"EEVEE": compat.eevee_engine(), "CYCLES": "CYCLES", "WORKBENCH": "BLENDER_WORKBENCH"}
    change(render, "engine", names.get(engine, engine))
    for name in ("use_compositing", "use_sequencer", "use_border", "use_multiview", "use_stamp"):
        change(render, name, False)
    change(view_layer, "use", True)
    for other in scene.view_layers:
        if other != view_layer:
            change(other, "use", False)


def set_camera(change: TemporarySettings, scene: bpy.types.Scene, camera: Camera) -> None:
    """Makes the camera and its shape those of the scene's render.

    Raises:
        SceneError: The camera was deleted, or is not in the scene.
        ConfigError: Blender cannot render so small a picture.
    """
    height, width = camera.shape
    if min(height, width) < _SMALLEST_SIDE:
        raise ConfigError(f"the camera's shape is {(height, width)}, Blender renders {_SMALLEST_SIDE} pixels or more.")
    try:
        name, users = camera.bpy_camera.name, camera.bpy_camera.users_scene
    except ReferenceError:
        raise SceneError("the renderer's camera was deleted: make a new btb.Camera and renderer.") from None
    if scene not in users:
        raise SceneError(
            f"camera {name!r} is not in scene {scene.name!r}, which is rendered: link it into one of its collections."
        )
    # The camera of the last marker wins over the scene's when a frame is evaluated, and replaces it as soon as a marker is
    # changed. So markers have none meanwhile, and the scene's is set after theirs, both here and at the end.
    before = scene.camera
    markers = [marker for marker in scene.timeline_markers if marker.camera is not None]
    if markers or before != camera.bpy_camera:
        change.on_exit(lambda: setattr(scene, "camera", before))
    for marker in markers:
        change(marker, "camera", None)
    if scene.camera != camera.bpy_camera:
        scene.camera = camera.bpy_camera
    change(scene.render, "resolution_x", width)
    change(scene.render, "resolution_y", height)
    change(scene.render, "resolution_percentage", 100)


def set_quality(
    change: TemporarySettings,
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    engine: str,
    quality: Quality,
) -> None:
    """Sets the number of samples, and for labels one that lies at the pixel's centre, with nothing blurred."""
    samples = 1 if quality.noise_free else quality.samples
    if samples is not None:
        if engine == "EEVEE":
            change(scene.eevee, "taa_render_samples", samples)
        elif engine == "CYCLES":
            change(scene.cycles, "samples", samples)
            change(view_layer, "samples", 0)  # which would win
        elif engine == "WORKBENCH":
            change(scene.display, "render_aa", WORKBENCH_AA[samples])
    if not quality.noise_free:
        return
    render = scene.render
    change(render, "use_motion_blur", False)
    change(render, "dither_intensity", 0.0)
    change(render, "filter_size", 0.0)  # EEVEE's
    change(scene.camera.data.dof, "use_dof", False)
    if engine == "CYCLES":
        cycles = scene.cycles
        change(cycles, "use_adaptive_sampling", False)
        change(cycles, "use_denoising", False)
        change(cycles, "pixel_filter_type", "BOX")
        change(cycles, "filter_width", 0.01)  # the smallest it takes
        change(cycles, "time_limit", 0.0)
        if hasattr(cycles, "use_sample_subset"):
            change(cycles, "use_sample_subset", False)
