"""What went wrong, and what is worth knowing. Below all other panels: messages come and go, and no button is to move."""

import bpy

from ..engine import engine
from .base import MAIN, SidebarPanel, as_sentence, draw_error
from .wrapped_text import draw_text


class BLENDTORCH_PT_messages(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_messages"
    bl_parent_id = MAIN
    bl_label = "Messages"
    bl_options = {"HIDE_HEADER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        engine.forget_outdated_errors(context.scene)
        return bool(engine.last_error or engine.notice or context.scene.blendtorch.problems)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if engine.last_error:
            draw_error(layout, context, engine.last_error)
            if engine.traceback:
                layout.operator("blendtorch.show_traceback", icon="TEXT")
        elif engine.notice:
            draw_text(layout, context, as_sentence(engine.notice), icon="INFO")
        _draw_problems(layout, context, context.scene.blendtorch.problems)


def _draw_problems(layout: bpy.types.UILayout, context: bpy.types.Context, problems: str) -> None:
    if not problems:
        return
    box = layout.box()
    draw_text(box, context, "On the settings of this scene:", icon="ERROR", indent_px=16)
    for problem in problems.splitlines():
        draw_text(box, context, as_sentence(problem), icon="DOT", indent_px=16)
    box.operator("blendtorch.forget_problems", icon="X")


CLASSES = (BLENDTORCH_PT_messages,)
