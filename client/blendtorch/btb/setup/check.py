"""Whether what is set up can be made, in words and without rendering."""

from collections.abc import Callable
from functools import partial

import bpy

from ...errors import BlendTorchError, ConfigError
from .. import randomize
from ..camera import Camera
from ..frame_settings import check_engine, engine_of
from ..viewport import require_viewport
from .cameras import camera_names, camera_of
from .pictures import FINAL, class_ids
from .settings import OutputSettings, SceneSetup, UnknownRandomizer


def check(setup: SceneSetup, scene: bpy.types.Scene) -> list[str]:
    """Looks for what would keep samples from being made. Nothing is changed; texts of hooks are run, see `randomize.check`.

    Randomizers that are muted, or set to be skipped where they fail, do not keep them from it.

    Returns:
        What is wrong and what to do, a sentence or two each; an empty list if nothing.
    """
    return [str(error) for error in find_errors(setup, scene)]


def find_errors(setup: SceneSetup, scene: bpy.types.Scene) -> list[BlendTorchError]:
    """As `check`, with the errors themselves: those of randomizers are `RandomizeError`, and have their `number`."""
    output = setup.output
    names = camera_names(output)
    errors = [error for name in names for error in _error(partial(_check_camera, scene, name))]
    camera = None if errors else camera_of(scene, names[0])
    errors += _error(lambda: class_ids(output))
    errors += _error(lambda: _check_renderer(output, scene))
    errors += _error(lambda: _check_flow(output))
    skipped = {
        number
        for number, one in enumerate(setup.randomizers)
        if isinstance(one, UnknownRandomizer) or one.on_error == "skip"
    }
    found = randomize.check(setup.randomizers, camera=camera, scene=scene)  # type: ignore[arg-type]
    return errors + [error for error in found if error.number not in skipped]


def _check_camera(scene: bpy.types.Scene, name: str) -> None:
    Camera(camera_of(scene, name))


def _check_renderer(output: OutputSettings, scene: bpy.types.Scene) -> None:
    if output.renderer in FINAL:
        check_engine(output.renderer)
        return
    require_viewport()
    engine = engine_of(scene)
    if output.renderer == "RENDERED" and engine not in {"EEVEE", "WORKBENCH"}:
        raise ConfigError(
            f"renderer is 'RENDERED', which draws with the scene's engine, and that is {engine}: choose 'CYCLES' or "
            "'EEVEE' as renderer, or set the scene's engine to EEVEE."
        )


def _check_flow(output: OutputSettings) -> None:
    if output.animate is False and "flow" in output.labels:
        raise ConfigError("the label 'flow' relates a frame to the one before: play frames (animate), or leave it out.")


def _error(look: Callable[[], object]) -> list[BlendTorchError]:
    try:
        look()
    except BlendTorchError as error:
        return [error]
    return []
