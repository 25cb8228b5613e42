"""What differs between Blender's versions and builds: one function for one difference, and nowhere else."""

import re

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


def eevee_engine() -> str:
    """What `scene.render.engine` calls EEVEE: "BLENDER_EEVEE_NEXT" in 4.2 to 4.5, "BLENDER_EEVEE" in 5.x."""
    named = bpy.types.RenderSettings.bl_rna.properties["engine"].enum_items.keys()
    return "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in named else "BLENDER_EEVEE"


def has_cycles() -> bool:
    """Whether the add-on Cycles is enabled, as it is by default; without it there is no such engine."""
    return hasattr(bpy.types.Scene, "cycles")


def eevee_background_depth_is_clip_end() -> bool:
    """Whether EEVEE's depth pass tells background by a value near the camera's clip end; otherwise it is 1e10.

    Seen: the clip end in 4.2, 4.5 and 5.0, 1e10 in 5.2; 5.1 was not looked at, and is treated so that both are right.
    """
    return bpy.app.version < (5, 2, 0)


def multilayer_exr_settings(image_settings: bpy.types.ImageFormatSettings) -> dict[str, object]:
    """Names and values, in order of assignment, for an uncompressed float32 EXR of all passes in a single part."""
    settings: dict[str, object] = {"media_type": "MULTI_LAYER_IMAGE"} if hasattr(image_settings, "media_type") else {}
    settings |= {"file_format": "OPEN_EXR_MULTILAYER", "color_depth": "32", "exr_codec": "NONE"}
    # From 5.0 each pass is a part of its own, unless they are interleaved.
    return settings | ({"use_exr_interleave": True} if hasattr(image_settings, "use_exr_interleave") else {})


def targa_settings(image_settings: bpy.types.ImageFormatSettings, color_mode: str) -> dict[str, object]:
    """Names and values, in order of assignment, for an uncompressed TARGA of "RGB" or "RGBA"."""
    settings: dict[str, object] = {"media_type": "IMAGE"} if hasattr(image_settings, "media_type") else {}
    return settings | {"file_format": "TARGA_RAW", "color_mode": color_mode}


def uses_nodes(material: bpy.types.Material) -> bool:
    """Whether a material is made by its nodes. From Blender 5 on all are, and asking is deprecated."""
    return bpy.app.version >= (5, 0, 0) or material.use_nodes


def grease_pencil_collections() -> dict[str, str]:
    """The attribute of `bpy.data` for each `ID.id_type` of Grease Pencil that this Blender has.

    In 4.2 all are "GREASEPENCIL" in `grease_pencils`. 4.5 has new ones beside them, "GREASEPENCIL_V3" in
    `grease_pencils_v3`. In 5.2 these are in `grease_pencils`, and "GREASEPENCIL" are the `annotations`.
    """
    named = bpy.types.BlendData.bl_rna.properties
    if "annotations" in named:
        return {"GREASEPENCIL": "annotations", "GREASEPENCIL_V3": "grease_pencils"}
    found = {"GREASEPENCIL": "grease_pencils"}
    return found | ({"GREASEPENCIL_V3": "grease_pencils_v3"} if "grease_pencils_v3" in named else {})


def animation_curves(data: bpy.types.AnimData) -> "list[bpy.types.bpy_prop_collection[bpy.types.FCurve]]":
    """All curves that animate a data block: of its action, of the actions of its NLA strips, and its drivers.

    From 4.4 on an action has slots, each with curves of its own; before that it has curves.
    """
    users = [data, *(strip for track in data.nla_tracks for strip in track.strips)]
    found = [data.drivers]
    for action, user in ((user.action, user) for user in users if user.action is not None):
        if not hasattr(user, "action_slot"):
            found.append(action.fcurves)
        elif user.action_slot is not None:
            bags = (strip.channelbag(user.action_slot) for layer in action.layers for strip in layer.strips)
            found += [bag.fcurves for bag in bags if bag is not None]
    return found


def geometry_input_path(path: str) -> str:
    """A data path to an input of a Geometry Nodes modifier as this Blender wants it.

    In 4.2 and 4.5 they are custom properties, `modifiers["GN"]["Socket_2"]`, in 5.2
    `modifiers["GN"].properties.inputs.Socket_2.value`. What lies between was not looked at: the modifier is asked.
    """
    if "modifiers[" not in path or "Socket_" not in path:
        return path
    if "properties" in bpy.types.NodesModifier.bl_rna.properties:
        return re.sub(r'^(modifiers\[.+\])\["(Socket_\d+)"\]', r"\1.properties.inputs.\2.value", path)
    return re.sub(r"^(modifiers\[.+\])\.properties\.inputs\.(Socket_\d+)\.value", r'\1["\2"]', path)


def evaluated_depsgraph() -> bpy.types.Depsgraph:
    """The context's depsgraph, evaluated: `bpy.context.evaluated_depsgraph_get()`, safe in an overridden context.

    That function reads the overrides of `temp_override` without the interpreter's lock in 4.2 and 4.5 (not in 5.2), and
    memory is corrupted when another Python thread runs.
    """
    view_layer = bpy.context.view_layer
    view_layer.update()
    return view_layer.depsgraph
