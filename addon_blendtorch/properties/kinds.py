"""What the kinds of randomizers are called in the panel, and what each may be aimed at."""

from dataclasses import dataclass
from typing import Any

from blendtorch.btb.randomize.place import COLLECTIONS

OTHER = "OTHER"  # the kind of entries that the panel cannot express: kept as they are, as JSON


@dataclass(frozen=True)
class Kind:
    """How a type of `btb.randomize.TYPES` appears in the panel.

    Attributes:
        label: Its name in lists.
        icon: One of Blender's.
        tooltip: What it does.
        targets: Types of data-blocks that it may be aimed at; the first is what a new entry has. Empty: it has no target.
    """

    label: str
    icon: str
    tooltip: str
    targets: tuple[str, ...] = ()


_PLACED = ("OBJECT", "COLLECTION", "CAMERA", "LIGHT")
_SURFACED = ("MATERIAL", "OBJECT", "COLLECTION")
_LIT = ("LIGHT", "OBJECT", "COLLECTION")

# The pointer that holds a target of a type; the other types share `target_other`.
TARGET_POINTERS = {
    "OBJECT": "target_object",
    "COLLECTION": "target_collection",
    "MATERIAL": "target_material",
    "LIGHT": "target_light",
    "CAMERA": "target_camera",
    "WORLD": "target_world",
    "SCENE": "target_scene",
}
_OF_WINDOWS = ("LIBRARY", "SCREEN", "WINDOWMANAGER", "WORKSPACE")
# For "any property": what is usual first, then all other types of data-blocks.
ALL_TARGETS = (*TARGET_POINTERS, *(name for name in COLLECTIONS if name not in (*TARGET_POINTERS, *_OF_WINDOWS)))

KINDS = {
    "LocationInBox": Kind(
        "Location in Box", "MESH_CUBE", "Puts it anywhere within a box along the axes of the world", _PLACED
    ),
    "LocationInSphere": Kind(
        "Location in Sphere", "MESH_UVSPHERE", "Puts it anywhere within a sphere, or on its surface", _PLACED
    ),
    "LocationOnSurface": Kind(
        "Location on Surface", "SNAP_FACE", "Puts it anywhere on the surface of a mesh, evenly by area", _PLACED
    ),
    "Rotation": Kind("Rotation", "ORIENTATION_GIMBAL", "Turns it any way, or within limits around each axis", _PLACED),
    "Scale": Kind("Scale", "FULLSCREEN_ENTER", "Sets its scale, one for all axes or one for each", _PLACED),
    "LookAt": Kind(
        "Look At",
        "CON_TRACKTO",
        "Turns a camera, a light or an object so that its -Z axis points at an object or at a point",
        ("CAMERA", "OBJECT", "LIGHT", "COLLECTION"),
    ),
    "MaterialColor": Kind("Material Color", "COLOR", "Sets the base colour of materials", _SURFACED),
    "MaterialRoughness": Kind("Material Roughness", "MATERIAL", "Sets how rough materials are", _SURFACED),
    "MaterialMetallic": Kind("Material Metallic", "SHADING_RENDERED", "Sets how metallic materials are", _SURFACED),
    "MaterialTexture": Kind(
        "Material Texture", "TEXTURE", "Gives materials one of the images of a folder as their base colour", _SURFACED
    ),
    "LightEnergy": Kind("Light Energy", "LIGHT", "Sets the power of lights", _LIT),
    "LightColor": Kind("Light Color", "LIGHT_SUN", "Sets the colour of lights", _LIT),
    "WorldImage": Kind(
        "World Image", "WORLD", "Surrounds the scene with one of the images (HDRI) of a folder", ("WORLD",)
    ),
    "WorldStrength": Kind("World Strength", "WORLD_DATA", "Sets how strongly the world lights the scene", ("WORLD",)),
    "Visibility": Kind(
        "Visibility",
        "HIDE_OFF",
        "Shows it in some samples and hides it in the others",
        _PLACED,
    ),
    "Property": Kind("Any Property", "RNA", "Sets any property of any data-block, by its data path", ALL_TARGETS),
    "Hook": Kind("Hook", "TEXT", "Calls pre_frame(ctx) and post_frame(ctx) of a text block or a file"),
}

TYPE_ITEMS = (
    *((name, kind.label, kind.tooltip, kind.icon, number) for number, (name, kind) in enumerate(KINDS.items())),
    (OTHER, "Other", "Not one of those that this panel can edit: it is kept, and applied, as it is", "QUESTION", 1000),
)

_ICONS = {
    "OBJECT": "OBJECT_DATA",
    "COLLECTION": "OUTLINER_COLLECTION",
    "MATERIAL": "MATERIAL",
    "LIGHT": "LIGHT",
    "CAMERA": "CAMERA_DATA",
    "WORLD": "WORLD",
    "SCENE": "SCENE_DATA",
}
_TOOLTIPS = {
    "OBJECT": "One object",
    "COLLECTION": "Each object of a collection, those of collections inside it too, with values of its own",
    "MATERIAL": "One material",
    "LIGHT": "The data of a light",
    "CAMERA": "The data of a camera; none chosen: the camera that renders",
    "WORLD": "A world; none chosen: the scene's",
    "SCENE": "A scene; none chosen: this one",
}
# Numbers stay the same whatever the kind offers, so that a choice survives a change of kind.
_TARGET_ITEMS = {
    name: (
        name,
        name.replace("_", " ").title(),
        _TOOLTIPS.get(name, "A data-block of this type, by its name"),
        _ICONS.get(name, "FILE_BLANK"),
        number,
    )
    for number, name in enumerate(ALL_TARGETS)
}
# Blender does not keep the texts of items that a function returned: they live here.
ALL_TARGET_ITEMS = list(_TARGET_ITEMS.values())
_ITEMS_OF_KIND = {name: [_TARGET_ITEMS[target] for target in kind.targets] for name, kind in KINDS.items()}
NUMBERS = {name: item[4] for name, item in _TARGET_ITEMS.items()}


def target_items(group: Any, context: Any) -> list[tuple]:
    """The targets that the kind of this entry may have, as items of an enum; those of "any property" if it has none."""
    return _ITEMS_OF_KIND.get(group.type) or ALL_TARGET_ITEMS


def target_pointer(target_type: str) -> str:
    """The name of the property that points to a target of this type."""
    return TARGET_POINTERS.get(target_type, "target_other")
