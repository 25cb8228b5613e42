"""The cameras of a setup."""

import bpy

from ...errors import SceneError
from .settings import OutputSettings


def camera_names(output: OutputSettings) -> tuple[str, ...]:
    """The names of the cameras that make samples; "" is the scene's active one."""
    return output.cameras or ("",)


def camera_of(scene: bpy.types.Scene, name: str) -> bpy.types.Object:
    """The camera object of a name, or the scene's active one for "".

    Raises:
        SceneError: It is not there, is no camera, or not in the scene.
    """
    if not name:
        if scene.camera is None:
            raise SceneError(
                f"scene {scene.name!r} has no active camera: add one (Shift A > Camera), or choose one as the scene's."
            )
        return scene.camera
    obj = scene.objects.get(name)
    if obj is None or obj.type != "CAMERA":
        there = ", ".join(sorted(one.name for one in scene.objects if one.type == "CAMERA")) or "none"
        seen = "is not in the scene" if obj is None else f"is of type {obj.type}"
        raise SceneError(
            f"camera {name!r} {seen}: was it renamed or removed? The cameras of scene {scene.name!r} are: {there}."
        )
    return obj
