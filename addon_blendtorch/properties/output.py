"""Property groups for what a sample consists of."""

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, IntProperty, StringProperty

from .named import kept_name, named_pointer, shown_name


def _class_type_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    target = getattr(self, self.type.lower())
    self.target_kept = target.name if target is not None else ""


def _frame_start_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    if self.frame_end < self.frame_start:
        self.frame_end = self.frame_start


def _frame_end_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    if self.frame_start > self.frame_end:
        self.frame_start = self.frame_end


def _is_camera(self: bpy.types.PropertyGroup, value: bpy.types.Object) -> bool:
    return value.type == "CAMERA"


class CameraProperties(bpy.types.PropertyGroup):
    """A camera that renders. `name` is the object's."""

    name: shown_name("object", "kept", name="Camera", description="The name of a camera that renders")
    kept: kept_name()
    object: named_pointer(
        bpy.types.Object, "object", "kept", name="Camera", description="A camera that renders", poll=_is_camera
    )


class ClassProperties(bpy.types.PropertyGroup):
    """The class that the labels of an object, or of all objects of a collection, have. `name` is the class's."""

    name: StringProperty(name="Class", description="Name of the class; labels and exports have it")
    class_id: IntProperty(
        name="Class ID", description="Number of the class in the labels; 0 is for what has no class", min=0, default=1
    )
    type: EnumProperty(
        name="Type",
        description="What is of this class",
        items=(
            ("OBJECT", "Object", "One object", "OBJECT_DATA", 0),
            ("COLLECTION", "Collection", "All objects of a collection", "OUTLINER_COLLECTION", 1),
        ),
        update=_class_type_changed,
    )
    object: named_pointer(
        bpy.types.Object, "object", "target_kept", name="Object", description="The object that is of this class"
    )
    collection: named_pointer(
        bpy.types.Collection,
        "collection",
        "target_kept",
        name="Collection",
        description="The collection whose objects are of this class",
    )
    target_name: shown_name(
        lambda self: self.type.lower(),
        "target_kept",
        name="Target",
        description="The name of the object or collection of this class",
    )
    target_kept: kept_name()


class OutputProperties(bpy.types.PropertyGroup):
    """What a sample consists of, and which samples there are."""

    cameras: CollectionProperty(type=CameraProperties)
    width: IntProperty(
        name="Width", description="Width of the images", subtype="PIXEL", min=4, max=16384, soft_max=4096, default=320
    )
    height: IntProperty(
        name="Height", description="Height of the images", subtype="PIXEL", min=4, max=16384, soft_max=4096, default=240
    )
    renderer: EnumProperty(
        name="Renderer",
        description="What draws the images",
        items=(
            ("SOLID", "Solid", "The viewport's Solid shading: the fastest", "SHADING_SOLID", 0),
            ("MATERIAL", "Material", "The viewport's Material Preview", "SHADING_TEXTURE", 1),
            ("RENDERED", "Rendered", "The viewport's Rendered shading, with the scene's lights", "SHADING_RENDERED", 2),
            ("EEVEE", "EEVEE", "A final render by EEVEE", "RENDER_STILL", 3),
            ("CYCLES", "Cycles", "A final render by Cycles: the most real, and the slowest", "RENDER_STILL", 4),
        ),
    )
    samples: IntProperty(
        name="Samples",
        description="Rays or jittered pictures per pixel: more is smoother, and takes longer",
        min=1,
        max=65536,
        soft_max=256,
        default=8,
    )
    image_mode: EnumProperty(
        name="Image",
        description="Channels of the images",
        items=(("rgb", "RGB", "Red, green and blue"), ("rgba", "RGBA", "With transparency as a fourth channel")),
    )
    labels: EnumProperty(
        name="Label Arrays",
        description="Arrays that come with each image, of the same width and height",
        options={"ENUM_FLAG"},
        items=(
            ("ids", "Instances", "For each pixel the number of the object that is seen there", 1),
            ("depth", "Depth", "For each pixel the distance along the camera's axis, in metres", 2),
            (
                "normals_world",
                "Normals (World)",
                "For each pixel the direction of the surface, in the world's space",
                4,
            ),
            ("normals_camera", "Normals (Camera)", "For each pixel the direction of the surface, in the camera's", 8),
            ("flow", "Optical Flow", "For each pixel where it moves to, in pixels", 16),
            ("semantic", "Classes", "For each pixel the class of what is seen there", 32),
        ),
        default={"ids", "depth"},
    )
    annotate: BoolProperty(
        name="Boxes and Poses",
        description="2D and 3D boxes, poses and visible fractions of the objects, in the field 'labels'",
        default=True,
    )
    amodal: BoolProperty(
        name="Amodal Boxes", description="Boxes of whole objects too, also of what others hide; takes longer"
    )
    classes: CollectionProperty(type=ClassProperties)
    animate: BoolProperty(
        name="Animation", description="Play frames, with animation and physics; off: each sample is a still scene"
    )
    frame_start: IntProperty(
        name="First Frame",
        description="The first frame of an episode",
        min=-1048574,
        max=1048574,
        default=1,
        update=_frame_start_changed,
    )
    frame_end: IntProperty(
        name="Last Frame",
        description="The last frame of an episode",
        min=-1048574,
        max=1048574,
        default=1,
        update=_frame_end_changed,
    )
    episodes: IntProperty(
        name="Episodes",
        description="How often the frames are played, or how many still scenes are made; 0: until it is stopped",
        min=0,
        default=0,
    )

    # Of the panel alone.
    camera_index: IntProperty(name="Camera", description="Chosen camera of the list", min=0)
    classes_index: IntProperty(name="Class", description="Chosen class of the list", min=0)


CLASSES = (CameraProperties, ClassProperties, OutputProperties)
