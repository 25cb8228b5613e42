"""The main panel: the seed, a look at what the samples are like, and what went wrong."""

import bpy

from ..engine import engine
from ..presets import BLENDTORCH_PT_presets
from .base import MAIN, SidebarPanel, draw_error, split_column
from .wrapped_text import draw_text


class BLENDTORCH_PT_main(SidebarPanel, bpy.types.Panel):
    bl_idname = MAIN
    bl_label = "BlendTorch"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        BLENDTORCH_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.blendtorch
        _draw_problems(layout, context, settings.problems)
        column = split_column(layout)
        column.prop(settings, "seed")
        column = layout.column(align=True)
        column.operator("blendtorch.preview", text="Preview 3 x 3", icon="IMAGE_DATA")
        row = column.row(align=True)
        row.operator("blendtorch.randomize_once", icon="FILE_REFRESH")
        row.operator("blendtorch.randomize_reset", icon="LOOP_BACK")
        if engine.state.running:
            layout.operator("blendtorch.stop", text="Stop Everything (Esc)", icon="CANCEL")
        if engine.last_error:
            draw_error(layout, context, engine.last_error)
            if engine.traceback:
                layout.operator("blendtorch.show_traceback", icon="TEXT")
        elif engine.notice:
            draw_text(layout, context, engine.notice, icon="INFO")


def _draw_problems(layout: bpy.types.UILayout, context: bpy.types.Context, problems: str) -> None:
    if not problems:
        return
    box = layout.box()
    draw_text(box, context, "On the settings of this scene:", icon="ERROR", indent_px=16)
    for problem in problems.splitlines():
        draw_text(box, context, problem, icon="DOT", indent_px=16)
    box.operator("blendtorch.forget_problems", icon="X")


CLASSES = (BLENDTORCH_PT_main,)
