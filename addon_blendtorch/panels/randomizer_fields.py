"""The fields of one entry of the randomizer list: those that its type has, and no others."""

from collections.abc import Callable

import bpy

from blendtorch.btb.randomize.place import COLLECTIONS

from ..properties.kinds import KINDS, OTHER, target_pointer
from ..properties.named import is_deleted
from ..wrapped_text import draw_text
from .base import split_column

_Group = bpy.types.PropertyGroup
_Layout = bpy.types.UILayout
# For these types no target stands for the one in use.
_MAY_BE_EMPTY = ("CAMERA", "WORLD", "SCENE")

_AXES = "XYZW"
_LETTERS = {"RGB": "RGBA", "HSV": "HSV"}  # of the components of colours


def draw_fields(layout: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    """Draws the target of an entry, what its type asks for, and what all types have."""
    if entry.type == OTHER:
        text = "This entry was made by a newer version or by a script. It is kept as it is, and cannot be edited here."
        draw_text(layout, context, text, icon="QUESTION")
        return
    column = split_column(layout)
    _draw_target(column, context, entry)
    _DRAW[entry.type](column, context, entry)


def draw_common(layout: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    """Draws what all types have: the label, how often, the seed, and what an error does."""
    column = split_column(layout)
    column.prop(entry, "label")
    column.prop(entry, "per")
    if entry.per == "episode" and not context.scene.blendtorch.output.animate:
        draw_text(column, context, "Each still scene is an episode of one frame.", icon="INFO")
    row = column.row(heading="Own Seed")
    row.prop(entry, "use_seed", text="")
    number = row.row()
    number.enabled = entry.use_seed
    number.prop(entry, "seed", text="")
    column.prop(entry, "on_error")


def missing_target(entry: _Group) -> str:
    """What is wrong with the target of an entry, in words; "" if nothing is."""
    if entry.type == OTHER or not KINDS[entry.type].targets:
        return ""
    otherwise = "" if entry.target_type in _MAY_BE_EMPTY else "Choose what it is about."
    return _missing(getattr(entry, target_pointer(entry.target_type)), entry.target_name, otherwise)


def missing_part(entry: _Group) -> str:
    """What is wrong with the surface that it is put on, or with the object that it looks at; as `missing_target`."""
    if entry.type == "LocationOnSurface":
        return _missing(entry.surface, entry.surface_name, "Choose the mesh that it is put on.")
    if entry.type == "LookAt" and entry.at_type == "OBJECT":
        return _missing(entry.at_object, entry.at_name, "Choose the object that it looks at.")
    return ""


def _missing(target: bpy.types.ID | None, name: str, otherwise: str) -> str:
    """What is wrong with what a pointer points to, in words; `otherwise` where nothing was chosen."""
    if target is not None:
        return f"{name} was deleted." if is_deleted(target) else ""
    return f"{name} is not in this file." if name else otherwise


def _draw_target(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    targets = KINDS[entry.type].targets
    if not targets:
        return
    block = column.column(align=True)
    if len(targets) > 1:
        block.prop(entry, "target_choice", text="Target")
    problem = missing_target(entry)
    row = block.row()
    row.alert = bool(problem)
    text = " " if len(targets) > 1 else "Target"
    pointer, blocks = target_pointer(entry.target_type), COLLECTIONS[entry.target_type]
    if pointer == "target_other" and hasattr(bpy.data, blocks):  # a pointer to any type, which offers nothing by itself
        row.prop_search(entry, pointer, bpy.data, blocks, text=text)
    else:
        row.prop(entry, pointer, text=text)
    if problem:
        draw_text(column, context, problem, icon="ERROR", alert=True)
    elif entry.target_type == "WORLD" and not entry.target_name and context.scene.world is None:
        draw_text(column, context, "The scene has no world: add one in Properties > World.", icon="ERROR", alert=True)


def draw_distribution(
    column: _Layout, group: _Group, title: str = "Distribution", space: str = "", can_resize: bool = False
) -> None:
    """Draws a distribution: its type, and the numbers that this type has.

    Args:
        column: Where.
        group: The distribution.
        title: What it is of.
        space: "RGB" or "HSV" for colours.
        can_resize: Whether the user says how many components there are.
    """
    column.prop(group, "type", text=title)
    if can_resize and group.type != "Choice":
        column.prop(group, "size")
    if group.type in ("Uniform", "LogUniform"):
        _draw_numbers(column, group, "low", "Low", space)
        _draw_numbers(column, group, "high", "High", space)
    elif group.type == "Normal":
        _draw_numbers(column, group, "mean", "Mean", space)
        _draw_numbers(column, group, "std", "Deviation", space, as_numbers=True)
        for name, text in (("low", "Lower Limit"), ("high", "Upper Limit")):
            column.prop(group, f"use_{name}", text=text)
            if getattr(group, f"use_{name}"):
                _draw_numbers(column, group, name, "", space)
    elif group.type == "Choice":
        column.prop(group, "values")
        column.prop(group, "weights")
    else:
        _draw_numbers(column, group, "value", "Value", space)


def _draw_numbers(
    column: _Layout, group: _Group, name: str, text: str, space: str = "", as_numbers: bool = False
) -> None:
    if space == "RGB" and group.size == 3 and not as_numbers:
        column.prop(group, f"{name}_color", text=text)
        return
    numbers = column.column(align=True)
    for index in range(group.size):
        letter = "" if group.size == 1 else _LETTERS.get(space, _AXES)[index]
        shown = f"{text} {letter}".strip() if index == 0 else letter
        numbers.prop(group, name, index=index, text=shown or " ")


def _draw_box(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    column.prop(entry, "box_low")
    column.prop(entry, "box_high")
    if any(low > high for low, high in zip(entry.box_low, entry.box_high, strict=True)):
        draw_text(column, context, "From is greater than To.", icon="ERROR", alert=True)


def _draw_sphere(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    column.prop(entry, "center")
    column.prop(entry, "radius")
    column.prop(entry, "surface_only")


def _draw_part(column: _Layout, context: bpy.types.Context, entry: _Group, pointer: str, text: str) -> None:
    problem = missing_part(entry)
    row = column.row()
    row.alert = bool(problem)
    row.prop(entry, pointer, text=text)
    if problem:
        draw_text(column, context, problem, icon="ERROR", alert=True)


def _draw_surface(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    _draw_part(column, context, entry, "surface", "Surface")
    column.prop(entry, "offset")
    column.prop(entry, "align")


def _draw_rotation(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    column.prop(entry, "any_rotation")
    if not entry.any_rotation:
        column.prop(entry, "rotation_low")
        column.prop(entry, "rotation_high")


def _draw_scale(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    column.prop(entry, "uniform")
    draw_distribution(column, entry.distribution, can_resize=not entry.uniform)


def _draw_look_at(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    column.prop(entry, "at_type")
    if entry.at_type == "POINT":
        column.prop(entry, "at_point")
    else:
        _draw_part(column, context, entry, "at_object", " ")
    draw_distribution(column, entry.roll, "Roll")
    draw_distribution(column, entry.jitter, "Jitter")


def _draw_plain(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    draw_distribution(column, entry.distribution)


def _draw_color(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    column.prop(entry, "space")
    draw_distribution(column, entry.color, space=entry.space)


def _draw_folder(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    row = column.row()
    row.alert = not entry.folder
    row.prop(entry, "folder")


def _draw_energy(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    draw_distribution(column, entry.energy)


def _draw_world_image(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    _draw_folder(column, context, entry)
    draw_distribution(column, entry.strength, "Strength")
    draw_distribution(column, entry.rotation, "Rotation")


def _draw_strength(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    draw_distribution(column, entry.strength)


def _draw_visibility(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    column.prop(entry, "probability", slider=True)


def _draw_property(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    row = column.row()
    row.alert = not entry.data_path
    row.prop(entry, "data_path")
    column.prop(entry, "index")
    draw_distribution(column, entry.distribution, can_resize=entry.index < 0)


def _draw_hook(column: _Layout, context: bpy.types.Context, entry: _Group) -> None:
    row = column.row()
    row.alert = entry.text is None and not entry.text_name
    row.prop(entry, "text")
    if entry.text is None:
        column.prop(entry, "text_name")
        if not entry.text_name:
            text = "Choose a text block with the function pre_frame(ctx) or post_frame(ctx), or a .py file."
            draw_text(column, context, text, icon="ERROR", alert=True)


_DRAW: dict[str, Callable[[_Layout, bpy.types.Context, _Group], None]] = {
    "LocationInBox": _draw_box,
    "LocationInSphere": _draw_sphere,
    "LocationOnSurface": _draw_surface,
    "Rotation": _draw_rotation,
    "Scale": _draw_scale,
    "LookAt": _draw_look_at,
    "MaterialColor": _draw_color,
    "MaterialRoughness": _draw_plain,
    "MaterialMetallic": _draw_plain,
    "MaterialTexture": _draw_folder,
    "LightEnergy": _draw_energy,
    "LightColor": _draw_color,
    "WorldImage": _draw_world_image,
    "WorldStrength": _draw_strength,
    "Visibility": _draw_visibility,
    "Property": _draw_property,
    "Hook": _draw_hook,
}
