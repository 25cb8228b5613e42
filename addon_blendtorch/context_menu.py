"""Right-click on any field > *Randomize with BlendTorch*."""

import json
import re

import bpy
from bpy.props import IntProperty, StringProperty

from blendtorch.btb import randomize
from blendtorch.errors import BlendTorchError, SceneError

from .properties.convert_randomizer import entry_from_json
from .rna_property import VARIED_TYPES, Field, find_field, find_path


class BLENDTORCH_OT_randomize_property(bpy.types.Operator):
    bl_idname = "blendtorch.randomize_property"
    bl_label = "Randomize with BlendTorch"
    bl_description = (
        "Have this field vary from sample to sample: adds a randomizer of it to the list in the sidebar's tab BlendTorch, "
        "over a range that fits it"
    )
    bl_options = {"REGISTER", "UNDO"}

    # What it is about when it is called by a script; from the menu it is the field that was clicked on.
    target_type: StringProperty(name="Target Type", description="Type of the data-block, such as OBJECT")
    target_name: StringProperty(name="Target", description="Name of the data-block")
    data_path: StringProperty(name="Data Path", description="From the data-block to the property, such as location")
    index: IntProperty(
        name="Index", description="Component of a vector, from 0 on; -1: all of them", min=-1, default=-1
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene is None or context.scene.library is not None:
            cls.poll_message_set("The scene is linked from another file, and cannot be set up here")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            field = self._named() if self.data_path else _clicked(context)
            distribution = field.distribution()
        except BlendTorchError as error:
            self.report({"ERROR"}, f"This field cannot be randomized: {error}")
            return {"CANCELLED"}
        added = randomize.Property(
            target=field.target, data_path=field.data_path, distribution=distribution, index=field.index
        )
        settings = context.scene.blendtorch
        entry_from_json(settings.randomizers.add(), json.loads(json.dumps(randomize.to_json(added))))
        settings.randomizer_index = len(settings.randomizers) - 1
        self.report({"INFO"}, f"{field.label} varies now: see the sidebar of the 3D viewport, tab BlendTorch")
        return {"FINISHED"}

    def _named(self) -> Field:
        for block in bpy.data.user_map():
            if block.id_type == self.target_type and block.name == self.target_name:
                return find_path(block, self.data_path, self.index)
        raise SceneError(f"there is no data-block {self.target_name!r} of type {self.target_type!r}.")


def _clicked(context: bpy.types.Context) -> Field:
    """The field that was clicked on.

    Raises:
        SceneError: It is none that can be set.
    """
    owner, rna = getattr(context, "button_pointer", None), getattr(context, "button_prop", None)
    if owner is None or rna is None:
        raise SceneError("it shows no property of the file.")
    return find_field(owner, rna.identifier, _clicked_index(context))


def _clicked_index(context: bpy.types.Context) -> int:
    """Which component was clicked on; -1 where all are. The context does not tell, but *Copy Full Data Path* does."""
    manager = context.window_manager
    before = manager.clipboard
    try:
        bpy.ops.ui.copy_data_path_button(full_path=True)
        found = re.search(r"\[(\d+)\]$", manager.clipboard)
    except RuntimeError:  # it has no path, and is no component then
        return -1
    finally:
        manager.clipboard = before
    return int(found[1]) if found else -1


def _draw(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    rna, owner = getattr(context, "button_prop", None), getattr(context, "button_pointer", None)
    # Fields of operators, of the preferences and of the panel itself belong to no data that varies.
    if rna is None or owner is None or owner.id_data is None or isinstance(owner.id_data, _NOT_DATA):
        return
    if rna.type in VARIED_TYPES and not type(owner).__module__.startswith(__package__):
        self.layout.separator()
        self.layout.operator(BLENDTORCH_OT_randomize_property.bl_idname, icon="MOD_NOISE")


_NOT_DATA = (bpy.types.WindowManager, bpy.types.Screen, bpy.types.WorkSpace)
CLASSES = (BLENDTORCH_OT_randomize_property,)


def register() -> None:
    """Adds the operator, and the entry to the menu of all fields."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.UI_MT_button_context_menu.append(_draw)


def unregister() -> None:
    """Removes them."""
    bpy.types.UI_MT_button_context_menu.remove(_draw)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
