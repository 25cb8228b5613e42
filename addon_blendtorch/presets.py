"""Presets of all settings of a scene, by Blender's own preset system: a menu in the header of the panel.

A preset is a file that sets one property, `scene.blendtorch.settings_json`, which is the whole setup.
"""

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

SUBDIR = "blendtorch"


class BLENDTORCH_PT_presets(PresetPanel, bpy.types.Panel):
    """The menu; `BLENDTORCH_PT_presets.draw_panel_header(layout)` draws its button."""

    bl_label = "BlendTorch Presets"
    preset_subdir = SUBDIR
    preset_operator = "script.execute_preset"
    preset_add_operator = "blendtorch.preset_add"


class BLENDTORCH_OT_preset_add(AddPresetBase, bpy.types.Operator):
    bl_idname = "blendtorch.preset_add"
    bl_label = "Add BlendTorch Preset"
    bl_description = "Save all settings of the BlendTorch panel as a preset, or remove one"
    preset_menu = "BLENDTORCH_PT_presets"
    preset_subdir = SUBDIR
    preset_defines = ("settings = bpy.context.scene.blendtorch",)
    preset_values = ("settings.settings_json",)


CLASSES = (BLENDTORCH_PT_presets, BLENDTORCH_OT_preset_add)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
