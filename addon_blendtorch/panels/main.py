"""The main panel: the seed, and a look at what the samples are like."""

import bpy

from ..presets import BLENDTORCH_PT_presets
from .base import MAIN, SidebarPanel, split_column


class BLENDTORCH_PT_main(SidebarPanel, bpy.types.Panel):
    bl_idname = MAIN
    bl_label = "BlendTorch"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        BLENDTORCH_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.blendtorch
        column = split_column(layout)
        column.prop(settings, "seed")
        column = layout.column(align=True)
        column.operator("blendtorch.preview", text="Preview 3 x 3", icon="IMAGE_DATA")
        row = column.row(align=True)
        row.operator("blendtorch.randomize_once", icon="FILE_REFRESH")
        row.operator("blendtorch.randomize_reset", icon="LOOP_BACK")
        # Always there, greyed out when nothing runs: no button is to come where another one was.
        layout.operator("blendtorch.stop", text="Stop Everything (Esc)", icon="CANCEL")


CLASSES = (BLENDTORCH_PT_main,)
