"""What all panels have in common, and what several draw."""

import bpy

from ..engine import engine
from ..wrapped_text import draw_text

MAIN = "BLENDTORCH_PT_main"


class SidebarPanel:
    """Where the panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "BlendTorch"


def split_column(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A column of fields with their names on the left, as in Blender's own panels."""
    layout.use_property_split = True
    layout.use_property_decorate = False  # nothing here can be animated
    return layout.column()


def start_stop_button(layout: bpy.types.UILayout, runs: bool, start: str, stop: str, names: tuple[str, str]) -> None:
    """One large button that starts something, or stops it while it runs."""
    row = layout.row()
    row.scale_y = 1.4
    if runs:
        row.alert = True
        row.operator(stop, text=names[1], icon="CANCEL")
    else:
        row.operator(start, text=names[0], icon="PLAY")


def draw_figures(layout: bpy.types.UILayout, figures: list[tuple[str, str]]) -> None:
    """A small table: what on the left, how much on the right."""
    column = layout.column(align=True)
    for name, figure in figures:
        split = column.split(factor=0.4)
        left = split.row()
        left.alignment = "RIGHT"
        left.label(text=name)
        split.label(text=figure, translate=False)


def draw_error(layout: bpy.types.UILayout, context: bpy.types.Context, error: str) -> None:
    """An error in words, in a box of its own."""
    if error:
        draw_text(layout.box(), context, as_sentence(error), icon="ERROR", alert=True, indent_px=16)


def as_sentence(message: str) -> str:
    """A message with a capital at its beginning."""
    return message[:1].upper() + message[1:]


def draw_engine_error(layout: bpy.types.UILayout, context: bpy.types.Context, name: str) -> None:
    """What has gone wrong with the stream, the recording, ..., unless it is the one below all panels."""
    error = engine.errors.by_name.get(name, "")
    if error and error != engine.errors.last and name in engine.errors.of(context.scene):
        draw_error(layout, context, error)


def in_bytes(count: float) -> str:
    """A size on disk, for people: "12.3 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def in_time(seconds: float) -> str:
    """A duration, for people: "1 h 05 min", "3 min 20 s", "12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
