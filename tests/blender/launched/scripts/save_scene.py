"""Saves a scene with a red background in Solid shading, seen through its camera, to the file given."""

import bpy

from blendtorch import btb

_, (path,) = btb.parse_blendtorch_args()
for screen in bpy.data.screens:
    for area in screen.areas:
        if area.type == "VIEW_3D":
            area.spaces.active.shading.background_type = "VIEWPORT"
            area.spaces.active.shading.background_color = (1, 0, 0)
bpy.ops.wm.save_as_mainfile(filepath=path)
