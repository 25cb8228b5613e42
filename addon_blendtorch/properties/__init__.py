"""The settings of a scene as Blender's properties (`scene.blendtorch`), and their conversion to `btb.setup.SceneSetup`.

Those of its environment, which are none of samples, are `scene.blendtorch_environment`.
"""

import bpy

from . import distribution, environment, output, randomizer, scene, settings
from .convert import EntryError, from_setup, let_go_of_deleted, to_setup, to_setup_unfinished

__all__ = ["EntryError", "from_setup", "let_go_of_deleted", "register", "to_setup", "to_setup_unfinished", "unregister"]

CLASSES = (
    *distribution.CLASSES,
    *randomizer.CLASSES,
    *output.CLASSES,
    *settings.CLASSES,
    *scene.CLASSES,
    *environment.CLASSES,
)


def register() -> None:
    """Adds `scene.blendtorch`, `scene.blendtorch_environment` and `wm.blendtorch`."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.blendtorch = bpy.props.PointerProperty(type=scene.SceneProperties)
    bpy.types.Scene.blendtorch_environment = bpy.props.PointerProperty(type=environment.EnvironmentProperties)
    bpy.types.WindowManager.blendtorch = bpy.props.PointerProperty(type=scene.RuntimeProperties)


def unregister() -> None:
    """Removes them again."""
    del bpy.types.WindowManager.blendtorch
    del bpy.types.Scene.blendtorch_environment
    del bpy.types.Scene.blendtorch
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
