"""What differs between Blender's versions and builds: one function for one difference, and nowhere else."""

import bpy


def blender_version() -> str:
    """The version for people, such as "4.5.15 LTS"."""
    return bpy.app.version_string


def is_background() -> bool:
    """Whether Blender runs without a window, so that there is no event loop: timers and modal operators never run."""
    return bpy.app.background


def temporary_folder() -> str:
    """Blender's folder for temporary files of this process, which it removes only at an orderly end."""
    return bpy.app.tempdir
