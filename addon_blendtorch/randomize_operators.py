"""Operators that show the scene as a sample has it, and put it back.

Both are steps of undo, so that Ctrl-Z after *Randomize once* takes back that and not the edit before it.
"""

from typing import ClassVar

import bpy

from blendtorch.errors import BlendTorchError

from .engine import engine
from .engine_errors import in_words


class BLENDTORCH_OT_randomize_once(bpy.types.Operator):
    bl_idname = "blendtorch.randomize_once"
    bl_label = "Randomize Once"
    bl_description = (
        "Show the scene as the next sample has it: all randomizers once. Reset puts it back, and so does "
        "anything that makes samples or saves the file"
    )
    bl_options: ClassVar[set[str]] = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if engine.state.environment:
            cls.poll_message_set("An environment runs: stop it first (Esc)")
            return False
        if engine.state.running:
            cls.poll_message_set("Samples are being made: stop that first (Esc)")
            return False
        if not any(not entry.mute for entry in context.scene.blendtorch.randomizers):
            cls.poll_message_set("The list has no randomizer that is not muted: add one")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            index = engine.randomize_once(context.scene)
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"BlendTorch: sample {index}")
        return {"FINISHED"}


class BLENDTORCH_OT_randomize_reset(bpy.types.Operator):
    bl_idname = "blendtorch.randomize_reset"
    bl_label = "Reset"
    bl_description = "Put back what Randomize Once has changed, exactly as it was"
    bl_options: ClassVar[set[str]] = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not engine.state.shown:
            cls.poll_message_set("Nothing is randomized that could be put back")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            engine.reset()
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (BLENDTORCH_OT_randomize_once, BLENDTORCH_OT_randomize_reset)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
