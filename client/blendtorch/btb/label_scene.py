"""What the label passes draw: every instance that the viewport shows, numbered, as it is in one frame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import bpy
import numpy as np

from . import compat
from .coordinates import POINT_TYPES
from .label_classes import ClassFinder
from .label_holes import Hole, HoleFinder
from .label_surfaces import Surface, SurfaceCache
from .viewport import find_viewport

Name = tuple[str, str, tuple[int, ...]]
"""What instances are numbered by: name of the instancer ("" for an object that shows itself), of the object, number."""
Key = tuple[int, int, tuple[int, ...]]
"""What an instance is known by from frame to frame: the same with Blender's ids of this session, which stay when an
object is renamed, and are not those of another one that gets its name."""

_NO_ID = 2**31 - 1


@dataclass(frozen=True)
class Instances:
    """What the ids of one frame stand for, a row an instance, in ascending order of ids.

    Attributes:
        ids: (K,) uint32. Objects of the view layer that can have a surface have 1 .. N in order of name, shown or not,
            so that hiding one does not change the others' ids. Then come instances (of collections, geometry nodes,
            particles, vertices and faces) in order of instancer, object and persistent id. The same
            scene gives the same ids in every process.
        objects: K names: whose geometry it is.
        instancers: K names: what shows it; "" for an object that shows itself.
        class_ids: (K,) uint32, 0 where nothing gives a class.
        world_from_object: (K, 4, 4) float64, metres.
        bounds: (K, 2, 3) float64: lowest and highest corner of the surface in the object's axes.
    """

    ids: np.ndarray
    objects: tuple[str, ...]
    instancers: tuple[str, ...]
    class_ids: np.ndarray
    world_from_object: np.ndarray
    bounds: np.ndarray


@dataclass(frozen=True)
class View:
    """A camera at one time.

    Attributes:
        shape: (H, W), pixels.
        camera_from_world: (4, 4) float64, Blender camera axes.
        clip_from_camera: (4, 4) float64, OpenGL projection.
    """

    shape: tuple[int, int]
    camera_from_world: np.ndarray
    clip_from_camera: np.ndarray

    def clip_from_objects(self, world_from_object: np.ndarray) -> np.ndarray:
        """(K, 4, 4) float64 for (K, 4, 4). In double precision: in single, edges far from the origin would move."""
        return self.clip_from_camera @ (self.camera_from_world @ world_from_object)


@dataclass(frozen=True)
class Snapshot:
    """The scene in one frame, in the order of `instances`.

    Attributes:
        view: The camera.
        instances: What is there.
        keys: K keys.
        surfaces: K surfaces.
        holes: K tuples: for each material slot the holes it makes; () for none at all.
        time_s: Seconds since frame 0.
    """

    view: View
    instances: Instances
    keys: tuple[Key, ...]
    surfaces: tuple[Surface, ...]
    holes: tuple[tuple[Hole | None, ...], ...]
    time_s: float
    rows: Mapping[Key, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", {key: row for row, key in enumerate(self.keys)})

    def matrices_of(self, keys: Sequence[Key]) -> np.ndarray:
        """world_from_object of instances, (N, 4, 4) float64; NaN for those that are not here."""
        rows = np.array([self.rows.get(key, -1) for key in keys], np.intp)
        matrices = np.full((len(rows), 4, 4), np.nan)
        matrices[rows >= 0] = self.instances.world_from_object[rows[rows >= 0]]
        return matrices

    def id_of_object(self, obj: bpy.types.Object | None) -> int:
        """The id of an object that shows itself; 0 if it is not here."""
        row = None if obj is None else self.rows.get((0, obj.session_uid, ()))
        return 0 if row is None else int(self.instances.ids[row])

    def as_ids_of(self, other: "Snapshot", ids: np.ndarray) -> np.ndarray:
        """Says an image of this snapshot's ids in another one's; 0 for what is not there."""
        if np.array_equal(self.instances.ids, other.instances.ids) and self.keys == other.keys:
            return ids
        table = np.zeros(int(self.instances.ids.max(initial=0)) + 1, np.uint32)
        rows = np.array([other.rows.get(key, -1) for key in self.keys], np.intp)
        there = rows >= 0
        table[self.instances.ids[there]] = other.instances.ids[rows[there]]
        return table[ids]


class SceneReader:
    """Reads snapshots of the context's scene.

    Args:
        normals: Whether surfaces come with normals.
        classes: Tells the class of an object.
        holes: Tells where materials are transparent; None if that does not matter.
        hidden_in_renders: Whether what is switched off in renders alone, and shown in the viewport, is there.
    """

    def __init__(self, normals: bool, classes: ClassFinder, holes: HoleFinder | None, hidden_in_renders: bool) -> None:
        self._surfaces = SurfaceCache(normals, uv_maps=holes is not None)
        self._classes = classes
        self._holes = holes
        self._hidden_in_renders = hidden_in_renders

    def read(self, view: View) -> Snapshot:
        """Reads the scene as it is now; `view` is the camera's."""
        depsgraph = compat.evaluated_depsgraph()
        self._surfaces.begin_frame()
        if self._holes is not None:
            self._holes.begin_frame()
        self._classes.begin_frame()
        positions, names, keys, surfaces, holes, class_ids = [], [], [], [], [], []
        is_drawn = _drawn_in_viewport(self._hidden_in_renders)
        count = 0
        for position, instance in enumerate(depsgraph.object_instances):
            count = position + 1
            obj = instance.object
            if obj.type != "MESH" or not instance.show_self or not is_drawn(instance):
                continue
            surface = self._surfaces.surface(obj)
            if surface is None:
                continue
            positions.append(position)
            name, key = _name_and_key(instance)
            names.append(name)
            keys.append(key)
            surfaces.append(surface)
            holes.append(self._holes.of_object(obj) if self._holes is not None else ())
            class_ids.append(self._classes.class_of(instance))
        ids = _number(names, depsgraph.view_layer)
        order = np.argsort(ids)
        world_from_object = _matrices(depsgraph, count)[positions][order]
        instances = Instances(
            ids=ids[order],
            objects=tuple(names[i][1] for i in order),
            instancers=tuple(names[i][0] for i in order),
            class_ids=np.array(class_ids, np.uint32)[order],
            world_from_object=world_from_object,
            bounds=np.array([surfaces[i].bounds for i in order]).reshape(-1, 2, 3),
        )
        scene = bpy.context.scene
        fps = scene.render.fps / scene.render.fps_base
        return Snapshot(
            view=view,
            instances=instances,
            keys=tuple(keys[i] for i in order),
            surfaces=tuple(surfaces[i] for i in order),
            holes=tuple(holes[i] for i in order),
            time_s=(scene.frame_current + scene.frame_subframe) / fps,
        )


def _matrices(depsgraph: bpy.types.Depsgraph, count: int) -> np.ndarray:
    """World matrices of all instances, (N, 4, 4) float64; ten times as fast as asking each for its own."""
    flat = np.empty(16 * count, np.float32)
    depsgraph.object_instances.foreach_get("matrix_world", flat)
    return flat.reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)


def _name_and_key(instance: bpy.types.DepsgraphObjectInstance) -> tuple[Name, Key]:
    obj = instance.object.original
    if instance.is_instance:
        instancer = instance.parent.original
        number = tuple(part for part in instance.persistent_id if part != _NO_ID)
        # The mesh that Blender makes of a curve, text, metaball or surface looks like an instance of itself.
        if not (instancer == obj and obj.type != "MESH" and len(number) == 1):
            return (instancer.name_full, obj.name_full, number), (instancer.session_uid, obj.session_uid, number)
    return ("", obj.name_full, ()), (0, obj.session_uid, ())


def _number(names: list[Name], view_layer: bpy.types.ViewLayer) -> np.ndarray:
    """Ids, (K,) uint32; see `Instances`."""
    objects = sorted(obj.name_full for obj in view_layer.objects if obj.type not in POINT_TYPES)
    # A background set's objects are drawn, and are not of the view layer.
    objects += sorted({name for instancer, name, _ in names if not instancer} - set(objects))
    id_of = {name: i for i, name in enumerate(objects, start=1)}
    instanced = sorted(name for name in names if name[0])
    id_of_instance = {name: i for i, name in enumerate(instanced, start=len(objects) + 1)}
    return np.array([id_of_instance[name] if name[0] else id_of[name[1]] for name in names], np.uint32)


def _drawn_in_viewport(hidden_in_renders: bool) -> Callable[[bpy.types.DepsgraphObjectInstance], bool]:
    """A function that tells of an instance whether its surface is drawn."""
    found = find_viewport()
    space = None if found is None else found[0]
    left_out = set() if hidden_in_renders else _hidden_in_renders(bpy.context.view_layer)

    def is_drawn(instance: bpy.types.DepsgraphObjectInstance) -> bool:
        obj = instance.object
        if obj.display_type not in {"SOLID", "TEXTURED"}:
            return False
        if not hidden_in_renders and not _is_rendered(instance, left_out):
            return False
        # Left out are what a layer collection hides by its eye icon, and what is not in the viewport's local view.
        return space is None or obj.visible_in_viewport_get(space)

    return is_drawn


def _is_rendered(instance: bpy.types.DepsgraphObjectInstance, left_out: set[str]) -> bool:
    """Whether renders show an instance: what scatters a hidden object shows it, the instance of a collection does not."""
    obj = instance.object
    if not obj.visible_camera:
        return False
    if not instance.is_instance:
        return obj.original.name_full not in left_out
    instancer = instance.parent
    hidden_inside = instancer.instance_type == "COLLECTION" and obj.original.hide_render
    return instancer.original.name_full not in left_out and not hidden_inside


def _hidden_in_renders(view_layer: bpy.types.ViewLayer) -> set[str]:
    """Names of objects with 'Disable in Renders', of their own or in all their collections."""
    shown: set[str] = set()

    def look_at(collection: bpy.types.Collection) -> None:
        if not collection.hide_render:
            shown.update(obj.name_full for obj in collection.objects if not obj.hide_render)
            for child in collection.children:
                look_at(child)

    look_at(view_layer.layer_collection.collection)
    return {obj.name_full for obj in view_layer.objects} - shown
