"""Operators that start and stop the environment."""

from typing import ClassVar

import bpy

from blendtorch.errors import BlendTorchError

from . import environment
from .engine import engine
from .engine_errors import NO_TIMERS, in_words


class BLENDTORCH_OT_environment_start(bpy.types.Operator):
    bl_idname = "blendtorch.environment_start"
    bl_label = "Start Environment"
    bl_description = (
        "Execute the text, and serve the environment that it defines to a Gymnasium client on this machine. It changes "
        "this scene as its code says. Esc stops it, and so does undo"
    )
    # What the environment makes of the scene when it is started is one step, which Ctrl-Z takes back.
    bl_options: ClassVar[set[str]] = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if engine.state.environment:
            cls.poll_message_set("An environment runs already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            address = environment.start(context.scene)
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        if bpy.app.background:
            self.report({"WARNING"}, NO_TIMERS)
        self.report({"INFO"}, f"BlendTorch serves the environment at {address}")
        return {"FINISHED"}


class BLENDTORCH_OT_environment_stop(bpy.types.Operator):
    bl_idname = "blendtorch.environment_stop"
    bl_label = "Stop Environment"
    bl_description = "End the environment: its client is told. The scene stays as the environment has left it"
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not engine.state.environment:
            cls.poll_message_set("No environment runs")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        environment.stop()
        return {"FINISHED"}


CLASSES = (BLENDTORCH_OT_environment_start, BLENDTORCH_OT_environment_stop)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
