"""What is varied: a data block of Blender by its type and name. No bpy here; `find` looks them up."""

from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from .fields import check_fields, fields_to_json

TARGET_TYPES = ("OBJECT", "COLLECTION", "MATERIAL", "LIGHT", "CAMERA", "WORLD", "SCENE")
"""Those that have a meaning of their own; any other `bpy.types.ID.id_type` ("MESH", "NODETREE") is for `Property`."""

UNNAMED = ("CAMERA", "WORLD", "SCENE")
"""Types for which the name "" means the one in use."""

OBJECTS = ("OBJECT", "COLLECTION", "CAMERA", "LIGHT")
"""Types that stand for objects, which have a place and can be hidden."""

MATERIALS = ("MATERIAL", "OBJECT", "COLLECTION")
"""Types that stand for materials: those of an object's slots, too."""


@dataclass(frozen=True)
class Target:
    """One data block, or all objects of a collection.

    Attributes:
        type: "OBJECT"; "COLLECTION": each object in it and in the collections inside it, in the order of their names, each
            with a draw of its own; "MATERIAL"; "LIGHT" and "CAMERA": the light or camera data of that name, or the object's
            where no object of the scene has such data; "WORLD"; "SCENE"; or another `bpy.types.ID.id_type`.
        name: As Blender shows it. "" for the camera that renders, the scene's world, the scene.
    """

    type: str
    name: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.type or self.type != self.type.upper():
            raise ConfigError(
                f"a target's type is {self.type!r}; expected {', '.join(TARGET_TYPES)}, or another ID type"
            )
        if not self.name and self.type not in UNNAMED:
            raise ConfigError(f"a target of type {self.type} needs a name; only {', '.join(UNNAMED)} can go without")

    def __str__(self) -> str:
        kind = self.type.lower().replace("_", " ")
        return f'{kind} "{self.name}"' if self.name else f"the {kind} in use"

    def to_json(self) -> dict[str, Any]:
        """`{"type": "OBJECT", "name": "Cube"}`."""
        return fields_to_json(self)
