"""The 3D viewport whose settings off-screen drawing follows."""

import bpy

from ..errors import SceneError


def find_viewport() -> tuple[bpy.types.SpaceView3D, bpy.types.Region] | None:
    """The 3D viewport to draw with: one on screen if there is one, else any of the file's; None if there is none.

    To be looked for each time: the user may close the area, and a stale reference would crash Blender.
    """
    on_screen = [window.screen for window in bpy.context.window_manager.windows]
    for screen in [*on_screen, *bpy.data.screens]:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                region = next(region for region in area.regions if region.type == "WINDOW")
                return area.spaces.active, region
    return None


def require_viewport() -> tuple[bpy.types.SpaceView3D, bpy.types.Region]:
    """As `find_viewport`.

    Raises:
        SceneError: The file has no 3D viewport.
    """
    found = find_viewport()
    if found is None:
        raise SceneError(
            "the file has no 3D viewport, which off-screen drawing uses for its settings. "
            "Open it in Blender, switch an area to '3D Viewport' (Shift F5), and save."
        )
    return found
