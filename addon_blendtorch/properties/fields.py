"""How a field of a randomizer is held in the properties of an entry: one class for each way, each to and from JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import bpy

from blendtorch.btb.randomize.place import COLLECTIONS

from .kinds import target_pointer
from .numbers import INT_MAX, short


class NotShownError(ValueError):
    """A value that these properties cannot hold."""


class Field(Protocol):
    """Reads and writes a field as JSON. Writing raises NotShownError, TypeError or ValueError for what cannot be held."""

    def read(self, entry: bpy.types.PropertyGroup) -> Any:
        """The value, JSON."""

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        """Sets it."""


@dataclass(frozen=True)
class Plain:
    """One property: a number, a text, on or off, an enum."""

    name: str

    def read(self, entry: bpy.types.PropertyGroup) -> Any:
        value = getattr(entry, self.name)
        return short(value) if isinstance(value, float) else value

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        setattr(entry, self.name, value)


@dataclass(frozen=True)
class Vector:
    """A vector of numbers."""

    name: str

    def read(self, entry: bpy.types.PropertyGroup) -> Any:
        return [short(number) for number in getattr(entry, self.name)]

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        setattr(entry, self.name, value)


@dataclass(frozen=True)
class Optional:
    """What is None while the property `switch` has the value `off`."""

    field: Field
    switch: str
    off: bool
    most: int | None = None  # greater numbers are shown as this

    def read(self, entry: bpy.types.PropertyGroup) -> Any:
        return None if getattr(entry, self.switch) == self.off else self.field.read(entry)

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        setattr(entry, self.switch, self.off if value is None else not self.off)
        if value is not None:
            self.field.write(entry, value if self.most is None else min(value, self.most))


@dataclass(frozen=True)
class Named:
    """A data-block, by name: a pointer, and the text `name`, which is there also while there is none in the file."""

    pointer: str
    name: str
    collection: str

    def read(self, entry: bpy.types.PropertyGroup) -> str:
        return getattr(entry, self.name)

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        if not isinstance(value, str):
            raise NotShownError(f"{value!r} is no name")
        blocks = getattr(bpy.data, self.collection, None)
        setattr(entry, self.pointer, blocks.get(value) if blocks is not None and value else None)
        setattr(entry, self.name, value)


def _named_target(target_type: str) -> Named:
    return Named(target_pointer(target_type), "target_name", COLLECTIONS[target_type])


class Target:
    """What the entry is aimed at."""

    def read(self, entry: bpy.types.PropertyGroup) -> Any:
        return {"type": entry.target_type, "name": _named_target(entry.target_type).read(entry)}

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        entry.target_type = value["type"]
        _named_target(value["type"]).write(entry, value.get("name", ""))


class LookedAt:
    """An object, or a point."""

    _object = Named("at_object", "at_name", "objects")
    _point = Vector("at_point")

    def read(self, entry: bpy.types.PropertyGroup) -> Any:
        if entry.at_type == "POINT":
            return self._point.read(entry)
        return {"type": "OBJECT", "name": self._object.read(entry)}

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        if isinstance(value, list):
            entry.at_type = "POINT"
            self._point.write(entry, value)
        elif value["type"] == "OBJECT":
            entry.at_type = "OBJECT"
            self._object.write(entry, value["name"])
        else:
            raise NotShownError("it looks at no object")


class _Components:
    """As many components of a vector as the distribution has, or a plain number for one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, group: bpy.types.PropertyGroup) -> Any:
        numbers = [short(number) for number in getattr(group, self.name)[: group.size]]
        return numbers if group.size > 1 else numbers[0]

    def write(self, group: bpy.types.PropertyGroup, value: Any) -> None:
        numbers = value if isinstance(value, list) else [value] * group.size
        if any(isinstance(number, bool) for number in numbers) or len(numbers) > len(getattr(group, self.name)):
            raise NotShownError(f"{value!r} are not up to four numbers")
        setattr(group, self.name, (*numbers, *getattr(group, self.name)[len(numbers) :]))


class _Listed:
    """A list written as text, with commas between. What cannot be read stays text, which no distribution takes."""

    def __init__(self, name: str, empty: Any) -> None:
        self.name, self.empty = name, empty

    def read(self, group: bpy.types.PropertyGroup) -> Any:
        text = getattr(group, self.name).strip()
        if not text:
            return self.empty
        try:
            return json.loads(f"[{text}]")
        except ValueError:
            return text

    def write(self, group: bpy.types.PropertyGroup, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False)[1:-1] if isinstance(value, list) else value
        setattr(group, self.name, "" if value == self.empty else text)


# By the distributions' names in JSON.
_PARTS: dict[str, dict[str, Field]] = {
    "Uniform": {"low": _Components("low"), "high": _Components("high")},
    "LogUniform": {"low": _Components("low"), "high": _Components("high")},
    "Normal": {
        "mean": _Components("mean"),
        "std": _Components("std"),
        "low": Optional(_Components("low"), "use_low", off=False),
        "high": Optional(_Components("high"), "use_high", off=False),
    },
    "Choice": {"values": _Listed("values", []), "weights": _Listed("weights", None)},
    "Constant": {"value": _Components("value")},
}


@dataclass(frozen=True)
class Distribution:
    """A distribution, in a group of its own."""

    name: str

    def read(self, entry: bpy.types.PropertyGroup) -> Any:
        group = getattr(entry, self.name)
        return {"type": group.type, **{name: part.read(group) for name, part in _PARTS[group.type].items()}}

    def write(self, entry: bpy.types.PropertyGroup, value: Any) -> None:
        group = getattr(entry, self.name)
        group.type = value["type"]
        parts = _PARTS[value["type"]]
        lengths = [len(value[name]) for name in parts if isinstance(value.get(name), Sequence)]
        if value["type"] != "Choice":
            group.size = max(lengths, default=1)
        for name, part in parts.items():
            if name in value:
                part.write(group, value[name])


_COMMON: dict[str, Field] = {
    "label": Plain("label"),
    "mute": Plain("mute"),
    "per": Plain("per"),
    "seed": Optional(Plain("seed"), "use_seed", off=False, most=INT_MAX),
    "on_error": Plain("on_error"),
}
_TARGET: dict[str, Field] = {**_COMMON, "target": Target()}
_SHARE: dict[str, Field] = {**_TARGET, "distribution": Distribution("distribution")}
_COLOR: dict[str, Field] = {**_TARGET, "distribution": Distribution("color"), "space": Plain("space")}

FIELDS: dict[str, dict[str, Field]] = {
    "LocationInBox": {**_TARGET, "low": Vector("box_low"), "high": Vector("box_high")},
    "LocationInSphere": {
        **_TARGET,
        "center": Vector("center"),
        "radius": Plain("radius"),
        "surface_only": Plain("surface_only"),
    },
    "LocationOnSurface": {
        **_TARGET,
        "surface": Named("surface", "surface_name", "objects"),
        "offset": Plain("offset"),
        "align": Plain("align"),
    },
    "Rotation": {
        **_TARGET,
        "low": Optional(Vector("rotation_low"), "any_rotation", off=True),
        "high": Optional(Vector("rotation_high"), "any_rotation", off=True),
    },
    "Scale": {**_SHARE, "uniform": Plain("uniform")},
    "LookAt": {**_TARGET, "at": LookedAt(), "roll": Distribution("roll"), "jitter": Distribution("jitter")},
    "MaterialColor": _COLOR,
    "MaterialRoughness": _SHARE,
    "MaterialMetallic": _SHARE,
    "MaterialTexture": {**_TARGET, "folder": Plain("folder")},
    "LightEnergy": {**_TARGET, "distribution": Distribution("energy")},
    "LightColor": _COLOR,
    "WorldImage": {
        **_TARGET,
        "folder": Plain("folder"),
        "strength": Distribution("strength"),
        "rotation": Distribution("rotation"),
    },
    "WorldStrength": {**_TARGET, "distribution": Distribution("strength")},
    "Visibility": {**_TARGET, "probability": Plain("probability")},
    "Property": {**_SHARE, "data_path": Plain("data_path"), "index": Plain("index")},
    "Hook": {**_COMMON, "text": Named("text", "text_name", "texts")},
}
"""By type of randomizer and name of field."""

COMMON = frozenset(_COMMON)
