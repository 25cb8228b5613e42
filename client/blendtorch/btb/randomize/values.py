"""Reading and setting values of Blender's structs so that they can be put back to the bit."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import bpy

from .place import Place

_ALONE = frozenset(
    (
        *("location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale"),
        *("color", "diffuse_color", "roughness", "metallic", "energy", "lens"),
        *("hide_viewport", "hide_render", "default_value"),
    )
)
"""Properties that change no other property of their struct, known to save the time of looking."""

# Asking for the first is deprecated in Blender 5; the others come of location, rotation and scale.
_NOT_ASKED = frozenset({"use_nodes", "dimensions", "matrix_basis", "matrix_local", "matrix_world"})


def copied(value: Any) -> Any:
    """A value that stays when the property changes: Blender's vectors are views, its data blocks may move."""
    if isinstance(value, str | bytes | int | float | None):
        return value
    if isinstance(value, set):
        return frozenset(value)
    if isinstance(value, bpy.types.bpy_struct):
        return Place.of(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return tuple(copied(item) for item in value) if hasattr(value, "__len__") else value


def same(value: Any, other: Any) -> bool:
    """Whether two values that `copied` gave are the same to the bit: 0.0 is not -0.0, and not-a-number is itself."""
    if isinstance(value, float | tuple):
        return repr(value) == repr(other)
    return bool(value == other)


def assign(owner: Any, attribute: str, value: Any) -> None:
    """Sets an attribute to a value as it is, or as `copied` gave it."""
    if isinstance(value, Place):
        value = value.find()
    setattr(owner, attribute, set(value) if isinstance(value, frozenset) else value)
    # Structs that are made at run time, such as inputs of Geometry Nodes in 5.2, tell nobody of the change.
    if hasattr(owner, "bl_rna") and not hasattr(bpy.types, owner.bl_rna.identifier):
        tag(owner)


def neighbours(owner: Any, attribute: str) -> dict[str, Any]:
    """All simple values of a struct that a change of one may change, too; nothing for attributes known to be alone."""
    if attribute in _ALONE or not hasattr(owner, "bl_rna"):
        return {}
    found = {}
    for name in _simple(owner):
        try:
            found[name] = copied(getattr(owner, name))
        except (AttributeError, RuntimeError, ValueError):
            continue
    return found


def _simple(owner: Any) -> tuple[str, ...]:
    rna = owner.bl_rna
    known = _SIMPLE.get(rna.identifier)
    if known is None:
        kinds = {"FLOAT", "INT", "BOOLEAN", "ENUM"}
        names = [prop.identifier for prop in rna.properties if prop.type in kinds and not prop.is_readonly]
        known = _SIMPLE[rna.identifier] = tuple(name for name in names if name not in _NOT_ASKED)
    return known


_SIMPLE: dict[str, tuple[str, ...]] = {}


def custom_key(attribute: str) -> str | None:
    """The name of the custom property that an attribute such as `["speed"]` means; None for others."""
    if attribute[:2] in ('["', "['") and attribute[-2:] == attribute[1] + "]":
        return bpy.utils.unescape_identifier(attribute[2:-2])
    return None


def set_custom(owner: Any, key: str, value: Any) -> None:
    """Sets a custom property, and keeps the type that it has, and so what its user interface is set to."""
    before = owner.get(key)
    if type(before) is float and type(value) in (int, bool):
        value = float(value)
    if hasattr(before, "typecode") and hasattr(value, "__len__") and len(before) == len(value):
        for i, item in enumerate(value):
            before[i] = item
    else:
        owner[key] = value.find() if isinstance(value, Place) else value
    tag(owner)


@dataclass(frozen=True)
class CustomValue:
    """A custom property as it is, with its type, which goes when a value of another type is set.

    Attributes:
        value: As `copied` gives it; arrays of float32 as such, for Blender makes other numbers of a tuple.
        ui: What its user interface is set to (limits, description), which goes with the type; None where it has none.
    """

    value: Any
    ui: dict[str, Any] | None

    @classmethod
    def of(cls, owner: Any, key: str) -> CustomValue:
        value = owner[key]
        is_float32 = getattr(value, "typecode", None) == "f"
        return cls(array("f", value) if is_float32 else copied(value), _ui(owner, key))

    def is_same(self, value: Any) -> bool:
        """Whether it is this value to the bit, and of this type."""
        return type(value) is type(self.value) and same(self.value, copied(value))

    def put_back(self, owner: Any, key: str) -> None:
        """Sets it to what it was; nothing where the owner, or the data block that it was, is gone."""
        value = self.value.find() if isinstance(self.value, Place) else self.value
        if owner is None or value is None:
            return
        if isinstance(value, array):
            owner[key] = value.tolist()  # for an array of another length keeps that
        owner[key] = value
        if self.ui is not None and _ui(owner, key) != self.ui:
            owner.id_properties_ui(key).update(**self.ui)
        tag(owner)


def _ui(owner: Any, key: str) -> dict[str, Any] | None:
    try:
        return dict(owner.id_properties_ui(key).as_dict())
    except (AttributeError, TypeError):  # groups and data blocks have none
        return None


def tag(owner: Any) -> None:
    """Tells Blender that a data block was changed, which it does not see of custom properties."""
    block = owner.id_data if getattr(owner, "id_data", None) is not None else owner
    if isinstance(block, bpy.types.ID):
        block.update_tag()
