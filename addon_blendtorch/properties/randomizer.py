"""The property group of one entry of the randomizer list: it can hold each kind that the panel knows."""

import math
from functools import partial

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .convert_randomizer import set_defaults
from .distribution import (
    AngleDistribution,
    ColorDistribution,
    LengthDistribution,
    PlainDistribution,
    PowerDistribution,
)
from .kinds import ALL_TARGET_ITEMS, ALL_TARGETS, NUMBERS, TYPE_ITEMS, target_items, target_pointer
from .named import kept_name, named_pointer, shown_name
from .paths import path_property


def _target(type: type, pointer: str, label: str, description: str, **more: object) -> object:
    return named_pointer(type, pointer, "target_kept", name=label, description=description, **more)


def _type_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Gives an entry of another kind that kind's defaults, and something to be aimed at that it takes."""
    allowed = [item[0] for item in target_items(self, context)]
    if self.target_type not in allowed:
        self.target_type = allowed[0]
    set_defaults(self)


def _target_type_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    if self.target_other is not None and self.target_other.id_type != self.target_type:
        self.target_other = None
    target = getattr(self, target_pointer(self.target_type))
    self.target_kept = target.name if target is not None else ""


def _get_choice(self: bpy.types.PropertyGroup) -> int:
    items = target_items(self, None)
    return NUMBERS[self.target_type] if self.target_type in [item[0] for item in items] else items[0][4]


def _set_choice(self: bpy.types.PropertyGroup, number: int) -> None:
    self.target_type = ALL_TARGETS[number]


def _is_mesh(self: bpy.types.PropertyGroup, value: bpy.types.Object) -> bool:
    return value.type == "MESH"


def _is_of_type(self: bpy.types.PropertyGroup, value: bpy.types.ID) -> bool:
    return value.id_type == self.target_type


def _vector(label: str, description: str, subtype: str, default: float = 0.0) -> object:
    return FloatVectorProperty(name=label, description=description, subtype=subtype, default=(default,) * 3)


class RandomizerProperties(bpy.types.PropertyGroup):
    """One entry of the list. Which properties count depends on `type`: `fields.FIELDS` tells."""

    type: EnumProperty(name="Type", description="What is randomized", items=TYPE_ITEMS, update=_type_changed)
    raw: StringProperty(options={"HIDDEN"})  # JSON: as loaded; all that there is of an entry of type OTHER
    error: StringProperty(options={"SKIP_SAVE", "HIDDEN"})  # what went wrong with it last; shown, and never saved

    # What all kinds have.
    label: StringProperty(name="Label", description="Your own name for this entry; empty: what it does")
    mute: BoolProperty(name="Mute", description="Leave this entry out")
    per: EnumProperty(
        name="Per",
        description="How often new values are drawn",
        items=(
            ("sample", "Sample", "New values for each sample"),
            ("episode", "Episode", "New values before the first frame of each episode, kept to its last frame"),
        ),
    )
    use_seed: BoolProperty(
        name="Own Seed",
        description="Draw from a generator of its own, so that its values do not depend on the entries above it",
    )
    seed: IntProperty(name="Seed", description="Number that picks the sequence of this entry's values", min=0)
    on_error: EnumProperty(
        name="On Error",
        description="What happens when this entry fails",
        items=(
            ("stop", "Stop", "Stop, and show what went wrong"),
            ("skip", "Skip", "Show what went wrong, and go on without this entry"),
        ),
    )

    # What it is aimed at.
    target_type: EnumProperty(
        name="Target Type",
        description="What kind of thing is randomized",
        items=ALL_TARGET_ITEMS,
        update=_target_type_changed,
    )
    # The same, to be drawn: it offers only what the kind of this entry takes.
    target_choice: EnumProperty(
        name="Target Type",
        description="What kind of thing is randomized",
        items=target_items,
        get=_get_choice,
        set=_set_choice,
    )
    target_object: _target(bpy.types.Object, "target_object", "Object", "The object that is randomized")
    target_collection: _target(
        bpy.types.Collection,
        "target_collection",
        "Collection",
        "Each of its objects is randomized, those of collections inside it too",
    )
    target_material: _target(bpy.types.Material, "target_material", "Material", "The material that is randomized")
    target_light: _target(bpy.types.Light, "target_light", "Light", "The light that is randomized")
    target_camera: _target(
        bpy.types.Camera, "target_camera", "Camera", "The camera that is randomized; empty: the one that renders"
    )
    target_world: _target(bpy.types.World, "target_world", "World", "The world that is randomized; empty: the scene's")
    target_scene: _target(bpy.types.Scene, "target_scene", "Scene", "The scene that is randomized; empty: this one")
    target_other: _target(
        bpy.types.ID, "target_other", "Data-Block", "The data-block that is randomized", poll=_is_of_type
    )
    target_name: shown_name(
        lambda self: target_pointer(self.target_type),
        "target_kept",
        name="Target",
        description="The name of what is randomized",
    )
    target_kept: kept_name()

    # Any property.
    data_path: StringProperty(
        name="Data Path",
        description="The property, from the target on, such as location or cycles.samples. "
        "Right-click on a field > Copy Data Path gives it",
    )
    index: IntProperty(
        name="Index", description="Component of a vector, from 0 on; -1: all of them", min=-1, default=-1
    )
    distribution: PointerProperty(type=PlainDistribution)

    # Places.
    box_low: _vector(
        "From", "The corner of the box with the least coordinates, in the world's space", "TRANSLATION", -1
    )
    box_high: _vector(
        "To", "The corner of the box with the greatest coordinates, in the world's space", "TRANSLATION", 1
    )
    center: _vector("Center", "Where the middle of the sphere is, in the world's space", "TRANSLATION")
    radius: FloatProperty(name="Radius", description="Radius of the sphere", subtype="DISTANCE", min=0.0, default=1.0)
    surface_only: BoolProperty(name="On Its Surface", description="On the surface of the sphere alone")
    surface: named_pointer(
        bpy.types.Object,
        "surface",
        "surface_kept",
        name="Surface",
        description="The mesh that it is put on, with its modifiers",
        poll=_is_mesh,
    )
    surface_name: shown_name(
        "surface", "surface_kept", name="Surface", description="The name of the mesh object that it is put on"
    )
    surface_kept: kept_name()
    offset: FloatProperty(
        name="Offset", description="How far from the surface, along its normal", subtype="DISTANCE", default=0.0
    )
    align: BoolProperty(name="Align", description="Turn it so that its Z axis is along the normal of the surface")

    # Turning.
    any_rotation: BoolProperty(
        name="Any Way", description="Any rotation there is, each as likely as the other", default=True
    )
    rotation_low: _vector("From", "The least angles around X, Y and Z", "EULER", -math.pi)
    rotation_high: _vector("To", "The greatest angles around X, Y and Z", "EULER", math.pi)
    at_type: EnumProperty(
        name="Look At",
        description="What it looks at",
        items=(("OBJECT", "Object", "The origin of an object"), ("POINT", "Point", "A point of the world's space")),
    )
    at_object: named_pointer(
        bpy.types.Object, "at_object", "at_kept", name="Object", description="The object whose origin it looks at"
    )
    at_name: shown_name("at_object", "at_kept", name="Object", description="The name of the object that it looks at")
    at_kept: kept_name()
    at_point: _vector("Point", "The point that it looks at, in the world's space", "TRANSLATION")
    roll: PointerProperty(type=AngleDistribution)
    jitter: PointerProperty(type=LengthDistribution)

    # Scale, materials, lights, worlds.
    uniform: BoolProperty(name="Uniform", description="The same scale along all axes", default=True)
    color: PointerProperty(type=ColorDistribution)
    space: EnumProperty(
        name="Color Space",
        description="What the three numbers of a colour are",
        items=(
            ("RGB", "RGB", "Red, green and blue, linear"),
            ("HSV", "HSV", "Hue, saturation and value, each from 0 to 1"),
        ),
    )
    folder: path_property(
        "DIR_PATH",
        name="Folder",
        description="Folder of images, one of which is picked; // at its beginning is the folder of the .blend",
    )
    energy: PointerProperty(type=PowerDistribution)
    strength: PointerProperty(type=PlainDistribution)
    rotation: PointerProperty(type=AngleDistribution)
    probability: FloatProperty(
        name="Probability",
        description="How often it is shown: 0 never, 1 always",
        subtype="FACTOR",
        min=0.0,
        max=1.0,
        default=0.5,
    )

    # Hooks.
    text: named_pointer(
        bpy.types.Text,
        "text",
        "text_kept",
        name="Text",
        description="Text block with the functions pre_frame(ctx) and post_frame(ctx), or one of them",
    )
    text_name: shown_name(
        "text",
        "text_kept",
        partial(path_property, "FILE_PATH"),
        name="File",
        description="A Python file with these functions, when it is no text block; // is the folder of the .blend",
    )
    text_kept: kept_name()


CLASSES = (RandomizerProperties,)
