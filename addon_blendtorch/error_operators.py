"""Operators for the errors that the panel shows."""

import bpy

from . import workers
from .engine import engine
from .text_view import show_text


class BLENDTORCH_OT_show_traceback(bpy.types.Operator):
    bl_idname = "blendtorch.show_traceback"
    bl_label = "Show Traceback"
    bl_description = "Show in a Text Editor where in the code the last error came from, for whoever wrote it"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not (engine.errors.traceback or engine.errors.last or workers.error()):
            cls.poll_message_set("Nothing has gone wrong")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        content = engine.errors.traceback or engine.errors.last or workers.error()
        text = show_text("BlendTorch traceback", content)
        self.report({"INFO"}, f"The traceback is in the text block {text.name}")
        return {"FINISHED"}


class BLENDTORCH_OT_forget_problems(bpy.types.Operator):
    bl_idname = "blendtorch.forget_problems"
    bl_label = "Dismiss"
    bl_description = "Take this message away. What was not understood stays in the file as it is"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.blendtorch.problems = ""
        return {"FINISHED"}


CLASSES = (BLENDTORCH_OT_show_traceback, BLENDTORCH_OT_forget_problems)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
