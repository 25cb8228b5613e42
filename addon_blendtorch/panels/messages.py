"""What went wrong, and what is worth knowing. Below all other panels: messages come and go, and no button is to move."""

import bpy

from ..engine import engine
from ..wrapped_text import draw_text
from .base import MAIN, SidebarPanel, as_sentence, draw_error


class BLENDTORCH_PT_messages(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_messages"
    bl_parent_id = MAIN
    bl_label = "Messages"
    bl_options = {"HIDE_HEADER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(engine.notice or context.scene.blendtorch.problems or _last_error(context))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if error := _last_error(context):
            draw_error(layout, context, error)
            if engine.errors.traceback:
                layout.operator("blendtorch.show_traceback", icon="TEXT")
        if engine.notice:
            draw_text(layout, context, as_sentence(engine.notice), icon="INFO")
        _draw_problems(layout, context, context.scene.blendtorch.problems)


def _last_error(context: bpy.types.Context) -> str:
    """The latest error; "" where there is none, or its settings were changed since."""
    return engine.errors.last if engine.errors.last in engine.errors.of(context.scene).values() else ""


def _draw_problems(layout: bpy.types.UILayout, context: bpy.types.Context, problems: str) -> None:
    if not problems:
        return
    box = layout.box()
    draw_text(box, context, "On the settings of this scene:", icon="ERROR", indent_px=16)
    for problem in problems.splitlines():
        draw_text(box, context, as_sentence(problem), icon="DOT", indent_px=16)
    box.operator("blendtorch.forget_problems", icon="X")


CLASSES = (BLENDTORCH_PT_messages,)
