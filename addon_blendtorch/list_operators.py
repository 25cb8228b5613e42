"""Operators of the lists in the panel: randomizers, cameras and classes."""

import re

import bpy
from bpy.props import EnumProperty

from .properties.convert_randomizer import entry_from_json, entry_to_json, set_defaults
from .properties.kinds import KINDS, OTHER, TYPE_ITEMS
from .randomizer_defaults import aim

_UNDOABLE = {"REGISTER", "UNDO"}
_DIRECTIONS = (("UP", "Up", "One place up"), ("DOWN", "Down", "One place down"))


class _ListOperator:
    """Operators that need a chosen entry of a list."""

    bl_options = _UNDOABLE
    what: str

    @staticmethod
    def entries(context: bpy.types.Context) -> tuple[bpy.types.bpy_prop_collection, bpy.types.PropertyGroup, str]:
        """The list, and the group and property that hold the index of the chosen entry."""
        raise NotImplementedError

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        entries, owner, index = cls.entries(context)
        if not 0 <= getattr(owner, index) < len(entries):
            cls.poll_message_set(f"Choose a {cls.what} in the list first")
            return False
        return True

    def remove(self, context: bpy.types.Context) -> set[str]:
        entries, owner, name = self.entries(context)
        index = getattr(owner, name)
        entries.remove(index)
        setattr(owner, name, max(0, min(index, len(entries) - 1)))
        return {"FINISHED"}

    def move(self, context: bpy.types.Context, direction: str) -> set[str]:
        entries, owner, name = self.entries(context)
        index = getattr(owner, name)
        to = index + (-1 if direction == "UP" else 1)
        if not 0 <= to < len(entries):
            return {"CANCELLED"}
        entries.move(index, to)
        setattr(owner, name, to)
        return {"FINISHED"}


class _Randomizers(_ListOperator):
    what = "randomizer"

    @staticmethod
    def entries(context):
        settings = context.scene.blendtorch
        return settings.randomizers, settings, "randomizer_index"


class _Classes(_ListOperator):
    what = "class"

    @staticmethod
    def entries(context):
        output = context.scene.blendtorch.output
        return output.classes, output, "classes_index"


class _Cameras(_ListOperator):
    what = "camera"

    @staticmethod
    def entries(context):
        output = context.scene.blendtorch.output
        return output.cameras, output, "camera_index"


class BLENDTORCH_OT_randomizer_add(bpy.types.Operator):
    bl_idname = "blendtorch.randomizer_add"
    bl_label = "Add Randomizer"
    bl_description = (
        "Add something that varies from sample to sample, aimed at the active object where that is possible"
    )
    bl_options = _UNDOABLE

    type: EnumProperty(
        name="Type", description="What is randomized", items=[item for item in TYPE_ITEMS if item[0] != OTHER]
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip of a kind."""
        return KINDS[properties.type].tooltip

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.blendtorch
        entry = settings.randomizers.add()
        entry.type = self.type
        set_defaults(entry)
        aim(entry, context)
        settings.randomizer_index = len(settings.randomizers) - 1
        return {"FINISHED"}


class BLENDTORCH_OT_randomizer_remove(_Randomizers, bpy.types.Operator):
    bl_idname = "blendtorch.randomizer_remove"
    bl_label = "Remove Randomizer"
    bl_description = "Remove the chosen randomizer"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.remove(context)


class BLENDTORCH_OT_randomizer_move(_Randomizers, bpy.types.Operator):
    bl_idname = "blendtorch.randomizer_move"
    bl_label = "Move Randomizer"
    bl_description = (
        "Move the chosen randomizer: they act from the top to the bottom, and later ones see what earlier did"
    )

    direction: EnumProperty(name="Direction", description="Where to move it", items=_DIRECTIONS)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.move(context, self.direction)


class BLENDTORCH_OT_randomizer_duplicate(_Randomizers, bpy.types.Operator):
    bl_idname = "blendtorch.randomizer_duplicate"
    bl_label = "Duplicate Randomizer"
    bl_description = "Add a copy of the chosen randomizer below it"

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.blendtorch
        index = settings.randomizer_index
        data = entry_to_json(settings.randomizers[index])
        entry_from_json(settings.randomizers.add(), data)
        settings.randomizers.move(len(settings.randomizers) - 1, index + 1)
        settings.randomizer_index = index + 1
        return {"FINISHED"}


class BLENDTORCH_OT_camera_add(bpy.types.Operator):
    bl_idname = "blendtorch.camera_add"
    bl_label = "Add Cameras"
    bl_description = (
        "Add the selected cameras, or the scene's when none is selected: each makes a sample of its own. "
        "Without any the scene's active camera renders"
    )
    bl_options = _UNDOABLE

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not cls._found(context):
            cls.poll_message_set("No camera is selected that is not in the list, and the scene's is in it or missing")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        output = context.scene.blendtorch.output
        for camera in self._found(context):
            output.cameras.add().object = camera
        output.camera_index = len(output.cameras) - 1
        return {"FINISHED"}

    @staticmethod
    def _found(context: bpy.types.Context) -> list[bpy.types.Object]:
        there = {entry.name for entry in context.scene.blendtorch.output.cameras}
        selected = [one for one in _selected(context) if one.type == "CAMERA" and one.name not in there]
        active = context.scene.camera
        if not selected and active is not None and active.name not in there:
            return [active]
        return sorted(selected, key=lambda camera: camera.name)


class BLENDTORCH_OT_camera_remove(_Cameras, bpy.types.Operator):
    bl_idname = "blendtorch.camera_remove"
    bl_label = "Remove Camera"
    bl_description = "Remove the chosen camera from the list; the camera itself stays in the scene"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.remove(context)


class BLENDTORCH_OT_class_add(bpy.types.Operator):
    bl_idname = "blendtorch.class_add"
    bl_label = "Add Class"
    bl_description = "Say of which class objects are in the labels"
    bl_options = _UNDOABLE

    source: EnumProperty(
        name="From",
        description="What the class is of",
        items=(
            (
                "SELECTED",
                "Selected Objects",
                "A class for each selected object, named after it; Chair and Chair.001 are of one class",
                "RESTRICT_SELECT_OFF",
                0,
            ),
            (
                "COLLECTION",
                "Active Collection",
                "A class for all objects of the active collection, named after it",
                "OUTLINER_COLLECTION",
                1,
            ),
            ("EMPTY", "Empty", "An entry to be filled in", "ADD", 2),
        ),
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip of a source."""
        items = cls.bl_rna.properties["source"].enum_items
        return items[properties.source].description

    def execute(self, context: bpy.types.Context) -> set[str]:
        output = context.scene.blendtorch.output
        there = {(entry.type, entry.target_name) for entry in output.classes}
        if self.source == "EMPTY":
            _add_class(output, "", "OBJECT", None)
        elif self.source == "COLLECTION":
            collection = context.collection
            if collection is None or collection == context.scene.collection:
                self.report(
                    {"ERROR"}, "The active collection is the whole scene. Click on a collection in the Outliner."
                )
                return {"CANCELLED"}
            if ("COLLECTION", collection.name) in there:
                self.report({"WARNING"}, f"The collection {collection.name} is in the list already.")
                return {"CANCELLED"}
            _add_class(output, collection.name, "COLLECTION", collection)
        else:
            found = [one for one in _selected(context) if one.type not in ("CAMERA", "LIGHT", "EMPTY", "SPEAKER")]
            found = [one for one in found if ("OBJECT", one.name) not in there]
            if not found:
                self.report(
                    {"ERROR"}, "No object is selected that can be seen and is not in the list. Select some first."
                )
                return {"CANCELLED"}
            for one in sorted(found, key=lambda thing: thing.name):
                _add_class(output, re.sub(r"\.\d+$", "", one.name), "OBJECT", one)
        output.classes_index = len(output.classes) - 1
        return {"FINISHED"}


class BLENDTORCH_OT_class_remove(_Classes, bpy.types.Operator):
    bl_idname = "blendtorch.class_remove"
    bl_label = "Remove Class"
    bl_description = "Remove the chosen entry from the list"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.remove(context)


class BLENDTORCH_OT_class_move(_Classes, bpy.types.Operator):
    bl_idname = "blendtorch.class_move"
    bl_label = "Move Class"
    bl_description = "Move the chosen entry: of several that are about an object the first counts"

    direction: EnumProperty(name="Direction", description="Where to move it", items=_DIRECTIONS)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.move(context, self.direction)


def _selected(context: bpy.types.Context) -> list[bpy.types.Object]:
    return list(context.view_layer.objects.selected) if context.view_layer else []


def _add_class(output: bpy.types.PropertyGroup, name: str, kind: str, target: bpy.types.ID | None) -> None:
    """Adds an entry; one of a name that is there gets its number, others the next one."""
    number = next((entry.class_id for entry in output.classes if name and entry.name == name), None)
    if number is None:
        number = max((entry.class_id for entry in output.classes), default=0) + 1
    entry = output.classes.add()
    entry.name, entry.class_id, entry.type = name, number, kind
    if target is not None:
        setattr(entry, kind.lower(), target)


CLASSES = (
    BLENDTORCH_OT_randomizer_add,
    BLENDTORCH_OT_randomizer_remove,
    BLENDTORCH_OT_randomizer_move,
    BLENDTORCH_OT_randomizer_duplicate,
    BLENDTORCH_OT_camera_add,
    BLENDTORCH_OT_camera_remove,
    BLENDTORCH_OT_class_add,
    BLENDTORCH_OT_class_remove,
    BLENDTORCH_OT_class_move,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
