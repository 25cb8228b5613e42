"""Operators that start and stop a recording."""

from typing import ClassVar

import bpy

from blendtorch.errors import BlendTorchError

from .engine import engine
from .engine_errors import NO_TIMERS, in_words


class BLENDTORCH_OT_record_start(bpy.types.Operator):
    bl_idname = "blendtorch.record_start"
    bl_label = "Record"
    bl_description = (
        "Make samples of this scene and write them into the folder, beside the stream or without it. A recording that is "
        "there and of the same settings is gone on with. Esc stops it"
    )
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if engine.state.recording:
            cls.poll_message_set("A recording runs already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            engine.start_recording(context.scene)
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        if bpy.app.background:
            self.report({"WARNING"}, NO_TIMERS)
        return {"FINISHED"}


class BLENDTORCH_OT_record_stop(bpy.types.Operator):
    bl_idname = "blendtorch.record_stop"
    bl_label = "Stop Recording"
    bl_description = "End the recording. What is written is kept, and can be gone on with"
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not engine.state.recording:
            cls.poll_message_set("No recording runs")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            engine.stop_recording()
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (BLENDTORCH_OT_record_start, BLENDTORCH_OT_record_stop)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
