"""Editors of Blender, in whichever window they are open."""

from collections.abc import Iterator

import bpy


def areas_of(ui_type: str) -> Iterator[bpy.types.Area]:
    """All areas that are such an editor (`bpy.types.Area.ui_type`)."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.ui_type == ui_type:
                yield area


def open_area(ui_type: str) -> bpy.types.Area | None:
    """One that is open, else one in a window of its own; None where no window can be opened."""
    if area := next(areas_of(ui_type), None):
        return area
    manager = bpy.context.window_manager
    before = set(manager.windows)
    if "FINISHED" not in bpy.ops.wm.window_new():
        return None
    new = next((window for window in manager.windows if window not in before), None)
    if new is None:
        return None
    area = new.screen.areas[0]
    area.ui_type = ui_type
    return area
