"""Esc stops everything, in every window, while something runs.

It is an entry of the add-on's keymap and no modal operator: as long as a modal operator runs, Blender saves no copies by
itself (Auto Save), and it hears only the window that it was started in. What has Esc for itself (a text field, moving an
object, a menu) still gets it first.
"""

from typing import ClassVar

import bpy

from .engine import engine


class BLENDTORCH_OT_stop(bpy.types.Operator):
    bl_idname = "blendtorch.stop"
    bl_label = "Stop Everything"
    bl_description = (
        "Stop streaming, recording, the preview and the workers, and put the scene back as it was; stop an environment. "
        "Key: Esc"
    )
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not engine.state.running:
            cls.poll_message_set("Nothing runs that could be stopped")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        engine.stop_all("Stopped.")
        self.report({"INFO"}, "BlendTorch: stopped")
        return {"FINISHED"}


CLASSES = (BLENDTORCH_OT_stop,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
