"""The settings of a scene to `btb.setup.SceneSetup` and back."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import bpy

from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.btb.setup import ClassEntry, SceneSetup, UnknownRandomizer
from blendtorch.errors import BlendTorchError, ConfigError

from . import named
from .convert_randomizer import entry_from_json, entry_to_json
from .fields import Named
from .kinds import KINDS, OTHER
from .numbers import INT_MAX, keep_exact

_CAMERA = Named("object", "name", "objects")
_CLASS_TARGETS = {
    "OBJECT": Named("object", "target_name", "objects"),
    "COLLECTION": Named("collection", "target_name", "collections"),
}


class EntryError(ConfigError):
    """An entry of the randomizer list is unfinished or wrong.

    Attributes:
        number: Its place in the list, from 0 on.
    """

    def __init__(self, message: str, number: int = -1) -> None:
        super().__init__(message)
        self.number = number


def to_setup(scene: bpy.types.Scene) -> SceneSetup:
    """What is set up for a scene.

    Entries that this version cannot read, and unfinished ones that are muted, are `UnknownRandomizer`.

    Raises:
        ConfigError: A setting is out of range; `EntryError`: an entry of the randomizer list is unfinished or wrong.
    """
    settings = scene.blendtorch
    data = _sections_to_json(settings)
    values: dict[str, Any] = {"seed": data.pop("seed")}
    for name, kind in btb_setup.SECTIONS.items():
        section = data[name]
        try:
            if "classes" in section:
                section["classes"] = tuple(ClassEntry(**entry) for entry in section["classes"])
            values[name] = kind(**section)
        except ConfigError as error:
            raise ConfigError(f"{name.capitalize()}: {error}") from None
    values["randomizers"] = tuple(_randomizer(entry, number) for number, entry in enumerate(settings.randomizers))
    return SceneSetup(**values, unknown=json.loads(settings.unknown))


def to_setup_unfinished(scene: bpy.types.Scene) -> SceneSetup:
    """What is set up for a scene, to be saved: entries that are unfinished or wrong are `UnknownRandomizer`, too."""
    settings = scene.blendtorch
    data = _sections_to_json(settings)
    data["version"] = btb_setup.VERSION
    data["randomizers"] = [entry_to_json(entry) for entry in settings.randomizers]
    setup, _ = btb_setup.from_json(data)
    return replace(setup, unknown=json.loads(settings.unknown))


def from_setup(scene: bpy.types.Scene, setup: SceneSetup) -> None:
    """Sets the panel to a setup. Names of what is not in the file are kept, for when it is."""
    settings = scene.blendtorch
    data = btb_setup.to_json(setup)
    settings.loaded = json.dumps({name: value for name, value in data.items() if name != "randomizers"})
    settings.unknown = json.dumps(setup.unknown)
    settings.seed = min(setup.seed, INT_MAX)
    for name, kind in btb_setup.SECTIONS.items():
        group = getattr(settings, name)
        for item in fields(kind):
            _set(group, item.name, data[name][item.name])
    settings.randomizers.clear()
    for value in data["randomizers"]:
        settings.randomizers.add()
        entry_from_json(settings.randomizers[-1], value)
    _choose_within(settings, "randomizer_index", settings.randomizers)
    _choose_within(settings.output, "camera_index", settings.output.cameras)
    _choose_within(settings.output, "classes_index", settings.output.classes)


def let_go_of_deleted(scene: bpy.types.Scene) -> None:
    """Has the settings of a scene name what was deleted, in place of keeping it in the file."""
    settings = scene.blendtorch
    for entry in settings.randomizers:
        for pointer, shown in (("target_object", "target_name"), ("surface", "surface_name"), ("at_object", "at_name")):
            named.let_go_of_deleted(entry, pointer, shown)
    for item in settings.output.cameras:
        named.let_go_of_deleted(item, "object", "name")
    for item in settings.output.classes:
        named.let_go_of_deleted(item, "object", "target_name")


def _randomizer(entry: bpy.types.PropertyGroup, number: int) -> randomize.Randomizer | UnknownRandomizer:
    data = entry_to_json(entry)
    try:
        return randomize.from_json(data)
    except (BlendTorchError, TypeError, ValueError) as error:
        if entry.mute or entry.type == OTHER:
            return UnknownRandomizer(data, str(error))
        name = entry.label or KINDS[entry.type].label
        message = f"Randomizer {number + 1} ({name}): {error}. Finish it, mute it, or remove it."
        raise EntryError(message, number) from None


def _sections_to_json(settings: bpy.types.PropertyGroup) -> dict[str, Any]:
    """The seed and all sections; values of lists and enums as JSON has them."""
    data: dict[str, Any] = {"seed": settings.seed}
    for name, kind in btb_setup.SECTIONS.items():
        group = getattr(settings, name)
        data[name] = {item.name: _get(group, item.name) for item in fields(kind)}
    return keep_exact(data, json.loads(settings.loaded))


def _get(group: bpy.types.PropertyGroup, name: str) -> Any:
    value = getattr(group, name)
    if name == "cameras":
        # Rows in which none was chosen yet are left out.
        return list(dict.fromkeys(name for item in value if (name := _CAMERA.read(item))))
    if name == "classes":
        return [_class_to_json(item) for item in value]
    if isinstance(value, set):
        return [item.identifier for item in group.bl_rna.properties[name].enum_items if item.identifier in value]
    return value


def _set(group: bpy.types.PropertyGroup, name: str, value: Any) -> None:
    if name == "cameras":
        group.cameras.clear()
        for camera in value:
            _CAMERA.write(group.cameras.add(), camera)
    elif name == "classes":
        group.classes.clear()
        for entry in value:
            _class_from_json(group.classes.add(), entry)
    elif group.bl_rna.properties[name].type == "ENUM" and group.bl_rna.properties[name].is_enum_flag:
        setattr(group, name, set(value))
    else:
        setattr(group, name, value)


def _class_to_json(item: bpy.types.PropertyGroup) -> dict[str, Any]:
    target = _CLASS_TARGETS[item.type].read(item)
    return {"name": item.name, "class_id": item.class_id, "type": item.type, "target": target}


def _class_from_json(item: bpy.types.PropertyGroup, entry: Mapping[str, Any]) -> None:
    item.name, item.class_id, item.type = entry["name"], min(entry["class_id"], INT_MAX), entry["type"]
    _CLASS_TARGETS[entry["type"]].write(item, entry["target"])


def _choose_within(group: bpy.types.PropertyGroup, name: str, items: Any) -> None:
    setattr(group, name, max(0, min(getattr(group, name), len(items) - 1)))
