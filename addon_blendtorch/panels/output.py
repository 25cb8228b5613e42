"""What a sample consists of."""

import bpy

from ..properties.named import is_deleted
from ..wrapped_text import draw_text
from .base import MAIN, SidebarPanel, split_column

_FINAL = ("EEVEE", "CYCLES")


class BLENDTORCH_UL_cameras(bpy.types.UIList):
    """The cameras that render."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0):
        row = layout.row()
        row.alert = _is_gone(item.object)
        text = f"{item.name}: not in this file" if row.alert else item.name
        row.label(text=text, icon="CAMERA_DATA", translate=False)


class BLENDTORCH_UL_classes(bpy.types.UIList):
    """Which objects and collections are of which class."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0):
        target = getattr(item, item.type.lower())
        split = layout.split(factor=0.5)
        split.prop(item, "name", text="", emboss=False)
        row = split.row()
        row.alert = _is_gone(target)
        kind = "OBJECT_DATA" if item.type == "OBJECT" else "OUTLINER_COLLECTION"
        row.label(text=item.target_name or "(choose)", icon=kind, translate=False)
        number = row.row()
        number.alignment = "RIGHT"
        number.label(text=str(item.class_id), translate=False)


def _is_gone(target: bpy.types.ID | None) -> bool:
    return target is None or is_deleted(target)


class BLENDTORCH_MT_class_add(bpy.types.Menu):
    bl_idname = "BLENDTORCH_MT_class_add"
    bl_label = "Add Class"
    bl_description = "Say of which class objects are in the labels"

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.operator_enum("blendtorch.class_add", "source")


class BLENDTORCH_PT_output(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_output"
    bl_parent_id = MAIN
    bl_label = "Output"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, output = self.layout, context.scene.blendtorch.output
        column = split_column(layout)
        size = column.column(align=True)
        size.prop(output, "width", text="Resolution X")
        size.prop(output, "height", text="Y")
        column.prop(output, "renderer")
        column.prop(output, "samples")
        column.prop(output, "image_mode")
        if output.renderer in _FINAL:
            draw_text(
                layout, context, "A final render takes many times as long as the viewport's shadings.", icon="INFO"
            )
        _draw_cameras(layout, context, output)
        _draw_labels(layout, output)
        _draw_classes(layout, output)
        _draw_frames(layout, context, output)


def _draw_cameras(layout: bpy.types.UILayout, context: bpy.types.Context, output: bpy.types.PropertyGroup) -> None:
    header, body = layout.panel("blendtorch_cameras", default_closed=True)
    count = len(output.cameras)
    header.label(text=f"Cameras: {count}" if count else "Camera: the Active One")
    if body is None:
        return
    row = body.row()
    row.template_list(
        "BLENDTORCH_UL_cameras", "", output, "cameras", output, "camera_index", rows=2, maxrows=5, type="DEFAULT"
    )
    buttons = row.column(align=True)
    buttons.operator("blendtorch.camera_add", text="", icon="ADD")
    buttons.operator("blendtorch.camera_remove", text="", icon="REMOVE")
    if count:
        if 0 <= output.camera_index < count:
            split_column(body).prop(output.cameras[output.camera_index], "object")
        return
    camera = context.scene.camera
    text = (
        f"{camera.name} renders."
        if camera
        else "The scene has no camera: add one (Add > Camera), and press Ctrl+Numpad 0."
    )
    draw_text(body, context, text, icon="INFO" if camera else "ERROR", alert=camera is None)


def _draw_labels(layout: bpy.types.UILayout, output: bpy.types.PropertyGroup) -> None:
    header, body = layout.panel("blendtorch_labels", default_closed=True)
    header.label(text="Labels")
    if body is None:
        return
    column = split_column(body)
    column.prop(output, "annotate")
    row = column.row()
    row.enabled = output.annotate
    row.prop(output, "amodal")
    column = body.column(align=True)
    column.use_property_split = False
    column.label(text="Arrays beside the image:")
    column.prop(output, "labels")


def _draw_classes(layout: bpy.types.UILayout, output: bpy.types.PropertyGroup) -> None:
    header, body = layout.panel("blendtorch_classes", default_closed=True)
    header.label(text=f"Classes: {len(output.classes)}" if output.classes else "Classes: None")
    if body is None:
        return
    row = body.row()
    row.template_list(
        "BLENDTORCH_UL_classes", "", output, "classes", output, "classes_index", rows=4, maxrows=10, type="DEFAULT"
    )
    buttons = row.column(align=True)
    buttons.menu("BLENDTORCH_MT_class_add", text="", icon="ADD")
    buttons.operator("blendtorch.class_remove", text="", icon="REMOVE")
    buttons.separator()
    buttons.operator("blendtorch.class_move", text="", icon="TRIA_UP").direction = "UP"
    buttons.operator("blendtorch.class_move", text="", icon="TRIA_DOWN").direction = "DOWN"
    if 0 <= output.classes_index < len(output.classes):
        entry = output.classes[output.classes_index]
        column = split_column(body)
        column.prop(entry, "name")
        column.prop(entry, "class_id")
        column.prop(entry, "type")
        column.prop(entry, entry.type.lower())


def _draw_frames(layout: bpy.types.UILayout, context: bpy.types.Context, output: bpy.types.PropertyGroup) -> None:
    header, body = layout.panel("blendtorch_frames", default_closed=True)
    header.label(text="Frames and Episodes" if output.animate else "Frames: Still Scenes")
    if body is None:
        return
    column = split_column(body)
    column.prop(output, "animate")
    frames = column.column(align=True)
    frames.enabled = output.animate
    frames.prop(output, "frame_start")
    frames.prop(output, "frame_end", text="Last")
    column.prop(output, "episodes", text="Episodes" if output.animate else "Scenes")
    if output.frame_end < output.frame_start:
        draw_text(body, context, "The last frame comes before the first.", icon="ERROR", alert=True)
    elif not output.animate:
        draw_text(
            body, context, f"Each sample is the scene at the current frame, {context.scene.frame_current}.", icon="INFO"
        )


CLASSES = (BLENDTORCH_UL_cameras, BLENDTORCH_UL_classes, BLENDTORCH_MT_class_add, BLENDTORCH_PT_output)
