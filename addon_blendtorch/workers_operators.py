"""Operators that launch and stop the headless workers, and show their logs."""

import bpy
from bpy.props import IntProperty

from blendtorch.errors import BlendTorchError

from . import workers
from .engine_errors import in_words
from .on_disk import problem_as_saved
from .text_view import read_log, show_text


class BLENDTORCH_OT_workers_launch(bpy.types.Operator):
    bl_idname = "blendtorch.workers_launch"
    bl_label = "Launch Workers"
    bl_description = (
        "Start Blenders without a window that load this file and make samples of it, too. Clients get them from the same "
        "stream, which is started if it does not run. They end with this Blender, however it ends; Esc stops them"
    )
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if workers.is_running():
            cls.poll_message_set("Workers run already: stop them first")
            return False
        if context.scene.blendtorch.workers.source == "SAVED":
            problem = problem_as_saved(context.scene)
            if problem:
                cls.poll_message_set(problem.removesuffix("."))
                return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        source = context.scene.blendtorch.workers.source
        try:
            workers.launch(context.scene, as_saved=source == "SAVED")
        except (BlendTorchError, OSError) as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class BLENDTORCH_OT_workers_stop(bpy.types.Operator):
    bl_idname = "blendtorch.workers_stop"
    bl_label = "Stop Workers"
    bl_description = "End all workers. The stream goes on with what this window makes"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not workers.is_running():
            cls.poll_message_set("No workers run")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        workers.stop()
        return {"FINISHED"}


class BLENDTORCH_OT_workers_log(bpy.types.Operator):
    bl_idname = "blendtorch.workers_log"
    bl_label = "Show Worker's Log"
    bl_description = "Show what a worker has printed so far, in a Text Editor"
    bl_options = {"REGISTER"}

    number: IntProperty(name="Worker", description="Which worker, from 0", min=0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not workers.states():
            cls.poll_message_set("No workers were launched")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        states = workers.states()
        if self.number >= len(states):
            self.report({"ERROR"}, f"There is no worker {self.number}, only 0 to {len(states) - 1}.")
            return {"CANCELLED"}
        file = states[self.number].log_file
        if not file.exists():
            self.report({"WARNING"}, f"Worker {self.number} has no log: it has not started yet, or its log is gone.")
            return {"CANCELLED"}
        text = show_text(f"BlendTorch worker {self.number}", read_log(file))
        self.report({"INFO"}, f"The log is in the text block {text.name}")
        return {"FINISHED"}


CLASSES = (BLENDTORCH_OT_workers_launch, BLENDTORCH_OT_workers_stop, BLENDTORCH_OT_workers_log)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
