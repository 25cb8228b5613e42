"""Has the panels drawn again, and nothing else: drawing a viewport takes many times as long."""

import bpy


def redraw() -> None:
    """Has the sidebars of all 3D viewports drawn again, those that are open."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type != "VIEW_3D":
                continue
            for region in area.regions:
                if region.type == "UI" and region.width > 1:
                    region.tag_redraw()


def redraw_image_editors() -> None:
    """Has the pictures of all image editors drawn again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR":
                area.tag_redraw()
