"""The menu *View > BlendTorch* of the 3D viewport.

Blender's search (F3) goes through the menus of the editor under the pointer: what is in none of them is found only by those
who have switched on *Developer Extras*.
"""

import bpy

GROUPS = (
    ("blendtorch.preview", "blendtorch.randomize_once", "blendtorch.randomize_reset"),
    ("blendtorch.stream_start", "blendtorch.stream_stop", "blendtorch.copy_client_snippet"),
    ("blendtorch.record_start", "blendtorch.record_stop"),
    ("blendtorch.workers_launch", "blendtorch.workers_stop"),
    ("blendtorch.environment_start", "blendtorch.environment_stop"),
    ("blendtorch.stop", "blendtorch.show_traceback", "blendtorch.check_installation"),
)
"""The operators of the menu, in its order, with lines between the groups: those that need nothing to be chosen first."""


class VIEW3D_MT_blendtorch(bpy.types.Menu):
    bl_idname = "VIEW3D_MT_blendtorch"
    bl_label = "BlendTorch"

    def draw(self, context: bpy.types.Context) -> None:
        for number, group in enumerate(GROUPS):
            if number:
                self.layout.separator()
            for name in group:
                self.layout.operator(name)


def _draw(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(VIEW3D_MT_blendtorch.bl_idname)


def register() -> None:
    """Adds the menu to *View*."""
    bpy.utils.register_class(VIEW3D_MT_blendtorch)
    bpy.types.VIEW3D_MT_view.append(_draw)


def unregister() -> None:
    """Removes it."""
    bpy.types.VIEW3D_MT_view.remove(_draw)
    bpy.utils.unregister_class(VIEW3D_MT_blendtorch)
