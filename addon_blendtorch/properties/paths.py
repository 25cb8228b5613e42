"""Properties that are paths, with `//` for the folder of the .blend."""

import bpy
from bpy.props import StringProperty

# From Blender 4.5 on a property has to say that it takes "//"; before, none can, and all do.
_TAKES_RELATIVE = "is_path_supports_blend_relative" in bpy.types.Property.bl_rna.properties


def path_property(subtype: str, **more: object) -> object:
    """A StringProperty of subtype "DIR_PATH" or "FILE_PATH"."""
    options = {"PATH_SUPPORTS_BLEND_RELATIVE"} if _TAKES_RELATIVE else set()
    return StringProperty(subtype=subtype, options=options, **more)
