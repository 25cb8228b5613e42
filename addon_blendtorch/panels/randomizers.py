"""What varies: the list, and the fields of the chosen entry."""

import bpy

from ..properties.kinds import KINDS, OTHER
from ..wrapped_text import draw_text
from .base import MAIN, SidebarPanel, draw_error
from .randomizer_fields import draw_common, draw_fields, missing_part, missing_target

_GROUPS = (
    ("LocationInBox", "LocationInSphere", "LocationOnSurface", "Rotation", "Scale", "LookAt", "Visibility"),
    ("MaterialColor", "MaterialRoughness", "MaterialMetallic", "MaterialTexture"),
    ("LightEnergy", "LightColor", "WorldImage", "WorldStrength"),
    ("Property", "Hook"),
)


class BLENDTORCH_UL_randomizers(bpy.types.UIList):
    """The randomizers, in the order in which they act."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0):
        row = layout.row(align=True)
        text = row.row(align=True)
        text.active = not item.mute
        text.alert = bool(item.error or missing_target(item) or missing_part(item)) and not item.mute
        text.label(text=summary(item), icon=icon_of(item), translate=False)
        if item.error:
            row.label(text="", icon="ERROR")
        row.prop(item, "mute", text="", icon="CHECKBOX_DEHLT" if item.mute else "CHECKBOX_HLT", emboss=False)


class BLENDTORCH_MT_randomizer_add(bpy.types.Menu):
    bl_idname = "BLENDTORCH_MT_randomizer_add"
    bl_label = "Add Randomizer"
    bl_description = (
        "Add something that varies from sample to sample, aimed at the active object where that is possible"
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for number, group in enumerate(_GROUPS):
            if number:
                layout.separator()
            for name in group:
                kind = KINDS[name]
                layout.operator("blendtorch.randomizer_add", text=kind.label, icon=kind.icon).type = name


class BLENDTORCH_PT_randomizers(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_randomizers"
    bl_parent_id = MAIN
    bl_label = "Randomizers"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.blendtorch
        row = layout.row()
        row.template_list(
            "BLENDTORCH_UL_randomizers", "", settings, "randomizers", settings, "randomizer_index", rows=5, maxrows=12
        )
        buttons = row.column(align=True)
        buttons.menu("BLENDTORCH_MT_randomizer_add", text="", icon="ADD")
        buttons.operator("blendtorch.randomizer_remove", text="", icon="REMOVE")
        buttons.separator()
        buttons.operator("blendtorch.randomizer_duplicate", text="", icon="DUPLICATE")
        buttons.separator()
        buttons.operator("blendtorch.randomizer_move", text="", icon="TRIA_UP").direction = "UP"
        buttons.operator("blendtorch.randomizer_move", text="", icon="TRIA_DOWN").direction = "DOWN"
        if not settings.randomizers:
            text = "Nothing varies yet. Press +, or right-click on any field in Blender > Randomize with BlendTorch."
            draw_text(layout, context, text, icon="INFO")
        elif 0 <= settings.randomizer_index < len(settings.randomizers):
            _draw_entry(layout, context, settings.randomizers[settings.randomizer_index])


def _draw_entry(layout: bpy.types.UILayout, context: bpy.types.Context, entry: bpy.types.PropertyGroup) -> None:
    draw_error(layout, context, entry.error)
    column = layout.column()
    column.active = not entry.mute
    if entry.type != OTHER:
        column.prop(entry, "type", text="")
    draw_fields(column, context, entry)
    header, body = column.panel("blendtorch_randomizer_more", default_closed=True)
    header.label(text="More")
    if body is not None:
        draw_common(body, context, entry)


def summary(entry: bpy.types.PropertyGroup) -> str:
    """What an entry is called in the list: its own label, or what it does and to what."""
    if entry.label:
        return entry.label
    if entry.type == OTHER:
        return "Other"
    label = KINDS[entry.type].label
    target = entry.target_name if KINDS[entry.type].targets else entry.text_name
    if entry.type == "Property" and entry.data_path:
        part = f"[{entry.index}]" if entry.index >= 0 else ""
        label = entry.data_path.rpartition(".")[2] + part
    return f"{target}: {label}" if target else label


def icon_of(entry: bpy.types.PropertyGroup) -> str:
    """The icon of an entry's type."""
    return "QUESTION" if entry.type == OTHER else KINDS[entry.type].icon


CLASSES = (BLENDTORCH_UL_randomizers, BLENDTORCH_MT_randomizer_add, BLENDTORCH_PT_randomizers)
