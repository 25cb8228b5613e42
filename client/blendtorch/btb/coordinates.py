"""World coordinates of evaluated objects: after modifiers, armatures, animation, physics and instancing.

What counts as an object's geometry is what Blender shows because of that object: its own evaluated mesh (curves,
text, surfaces and metaballs as the mesh Blender makes of them; points and hair curves as their positions) and
everything it instances, be it by geometry nodes, as collection instance, by particles or by instancing on vertices
and faces. An object hidden with the eye icon still has its own geometry, but not its instances, which Blender does not
make then; one that the dependency graph does not hold (see `evaluated`) has none and is an error.

All functions read the given dependency graph, by default the context's, which is brought up to date first, so that
changes made by a script just before the call are seen without `view_layer.update()`. Frame: world, metres.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ..errors import SceneError
from ..labels.boxes3d import CORNERS
from ..labels.projection import transform_points
from . import compat

# Object types that draw no surface: they count as the point they sit at.
POINT_TYPES = frozenset({"EMPTY", "LIGHT", "CAMERA", "SPEAKER", "LIGHT_PROBE", "ARMATURE", "LATTICE"})
# Object types whose vertices sit in the attribute "position" and which cannot be turned into a mesh.
_POSITION_TYPES = frozenset({"POINTCLOUD", "CURVES"})
_MESHABLE_TYPES = frozenset({"MESH", "CURVE", "SURFACE", "FONT", "META"})


@dataclass(frozen=True)
class Piece:
    """One mesh that an object shows: its own, or one of those that it instances.

    Attributes:
        source: The original (not evaluated) object whose geometry this is; what `Scene.ray_cast` returns for it.
        world_from_local: (4, 4) float64.
        vertices: (N, 3) float64, local, metres.
        triangles: (T, 3) int32 indices into `vertices`; empty unless asked for, and for points and curves.
    """

    source: bpy.types.Object
    world_from_local: np.ndarray
    vertices: np.ndarray
    triangles: np.ndarray

    def vertices_world(self) -> np.ndarray:
        """Return the vertices in the world, (N, 3) float64, metres."""
        return transform_points(self.world_from_local, self.vertices)


def object_coordinates(*objs: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None = None) -> np.ndarray:
    """Return the world coordinates of all vertices of objects.

    Args:
        *objs: Objects, original or evaluated. Those that show no geometry themselves (empties, lights, cameras,
            armatures ...) and instance none give one vertex, their origin.
        depsgraph: Evaluated dependency graph, default the context's.

    Returns:
        (N, 3) float64, world, metres: object after object, an object's own vertices before those of its instances. An
        object whose modifiers leave nothing gives no rows.

    Raises:
        TypeError: Something is not an object.
        SceneError: An object is not in the dependency graph (the message says why), or has no vertices that
            Blender could tell (volume, grease pencil).
    """
    pieces = [piece.vertices_world() for pieces in evaluated_pieces(*objs, depsgraph=depsgraph) for piece in pieces]
    return np.concatenate([np.empty((0, 3)), *pieces])


def bbox_coordinates(*objs: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None = None) -> np.ndarray:
    """Return the world corners of the bounding box of each object.

    The box is aligned with the object's own axes and is the smallest that holds all its evaluated vertices *and those
    of everything it instances*. `bpy.types.Object.bound_box` leaves instances out (it is empty where geometry nodes
    only instance); without instances the two are the same.

    Args:
        *objs: Objects as in `object_coordinates`. For one that only has an origin the corners coincide.
        depsgraph: Evaluated dependency graph, default the context's.

    Returns:
        (8 * K, 3) float64, world, metres: 8 corners an object in the order of `bound_box`, which for (x, y, z) = 0 for
        low and 1 for high is 000 001 011 010 100 101 111 110.

    Raises:
        TypeError: Something is not an object.
        SceneError: As in `object_coordinates`, or an object without a single vertex.
    """
    depsgraph = _current(depsgraph)
    corners = [np.empty((0, 3))]
    for obj, pieces in zip(objs, evaluated_pieces(*objs, depsgraph=depsgraph), strict=True):
        world_from_obj = np.array(evaluated(obj, depsgraph).matrix_world, dtype=np.float64)
        # The pseudo-inverse, because an object may be scaled flat; it is the inverse otherwise.
        obj_from_world = np.linalg.pinv(world_from_obj)
        local = np.concatenate([np.empty((0, 3)), *(_in_axes_of(obj_from_world, world_from_obj, p) for p in pieces)])
        if len(local) == 0:
            raise SceneError(f"object {obj.name!r} has no vertices after its modifiers, so it has no bounding box")
        low, high = local.min(axis=0), local.max(axis=0)
        corners.append(transform_points(world_from_obj, low + CORNERS * (high - low)))
    return np.concatenate(corners)


def object_origins(*objs: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None = None) -> np.ndarray:
    """Return where the origins of objects are in the world.

    Args:
        *objs: Objects of any type.
        depsgraph: Evaluated dependency graph, default the context's.

    Returns:
        (K, 3) float64, world, metres.

    Raises:
        TypeError: Something is not an object.
        SceneError: An object is not in the dependency graph.
    """
    depsgraph = _current(depsgraph)
    origins = [np.array(evaluated(obj, depsgraph).matrix_world.translation, dtype=np.float64) for obj in objs]
    return np.array(origins).reshape(-1, 3)


def evaluated(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bpy.types.Object:
    """Return the evaluated copy of an object, refusing what the dependency graph does not hold.

    Blender itself hands back the original without a word, whose transform and geometry are those of some earlier time.

    Raises:
        TypeError: Not an object.
        SceneError: Not in the dependency graph.
    """
    if not isinstance(obj, bpy.types.Object):
        raise TypeError(f"expected Blender objects as separate arguments, got {type(obj).__name__}: {obj!r}")
    result = obj.evaluated_get(depsgraph)
    if not result.is_evaluated:
        raise SceneError(
            f"object {obj.name!r} is not evaluated in view layer {depsgraph.view_layer.name!r} of scene "
            f"{depsgraph.scene.name!r}: link it to a collection of that scene, and switch off hide_viewport "
            "('Disable in Viewports') of the object and its collections and 'Exclude from View Layer'. To make it "
            "invisible but usable, hide it with hide_set(True) instead."
        )
    return result


def evaluated_pieces(
    *objs: bpy.types.Object, depsgraph: bpy.types.Depsgraph | None = None, triangles: bool = False
) -> list[list[Piece]]:
    """Collect the meshes that objects show, own and instanced.

    Args:
        *objs: Objects as in `object_coordinates`.
        depsgraph: Evaluated dependency graph, default the context's.
        triangles: Also fill `Piece.triangles`.

    Returns:
        One list of pieces an object, own geometry first.

    Raises:
        TypeError, SceneError: As in `object_coordinates`.
    """
    depsgraph = _current(depsgraph)
    evaluated_objs = [evaluated(obj, depsgraph) for obj in objs]
    pieces: dict[bpy.types.Object, list[Piece]] = {}
    for obj_eval in evaluated_objs:
        own = _is_drawn(obj_eval, depsgraph) and obj_eval.type not in POINT_TYPES
        pieces[obj_eval.original] = [_piece(obj_eval, obj_eval.matrix_world, triangles)] if own else []

    # Walking over all instances of a scene is what takes time, so only do so where there can be any.
    if any(_may_instance(obj_eval) for obj_eval in evaluated_objs):
        for owner, piece in _instanced_pieces(pieces.keys(), depsgraph, triangles):
            pieces[owner].append(piece)

    for obj_eval in evaluated_objs:
        if not pieces[obj_eval.original] and obj_eval.type in POINT_TYPES:
            nothing = np.empty((0, 3), dtype=np.int32)
            matrix = np.array(obj_eval.matrix_world, dtype=np.float64)
            pieces[obj_eval.original].append(Piece(obj_eval.original, matrix, np.zeros((1, 3)), nothing))
    return [pieces[obj_eval.original] for obj_eval in evaluated_objs]


def _current(depsgraph: bpy.types.Depsgraph | None) -> bpy.types.Depsgraph:
    return compat.evaluated_depsgraph() if depsgraph is None else depsgraph


def _in_axes_of(obj_from_world: np.ndarray, world_from_obj: np.ndarray, piece: Piece) -> np.ndarray:
    if np.array_equal(piece.world_from_local, world_from_obj):
        return piece.vertices
    return transform_points(obj_from_world @ piece.world_from_local, piece.vertices)


def _is_drawn(obj_eval: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bool:
    """Tell whether an object is shown besides its instances ('Show Instancer' of particles and vertex instancing)."""
    if not obj_eval.is_instancer:
        return True
    if depsgraph.mode == "RENDER":
        return bool(obj_eval.show_instancer_for_render)
    return bool(obj_eval.show_instancer_for_viewport)


def _may_instance(obj_eval: bpy.types.Object) -> bool:
    # Object.is_instancer does not know about geometry nodes (4.2 to 5.2).
    return bool(obj_eval.is_instancer) or any(modifier.type == "NODES" for modifier in obj_eval.modifiers)


def _instanced_pieces(
    owners: Collection[bpy.types.Object], depsgraph: bpy.types.Depsgraph, triangles: bool
) -> Iterator[tuple[bpy.types.Object, Piece]]:
    """Yield (owner, piece) for all that some owners instance; nested instances belong to the outermost instancer."""
    # Thousands of instances share few meshes. An object's name does not tell them apart: geometry nodes show each
    # mesh that they make under the instancer's own name.
    cache: dict[tuple[int, int], Piece] = {}
    for instance in depsgraph.object_instances:
        if not instance.is_instance or instance.object.type in POINT_TYPES:
            continue
        owner = instance.parent.original
        if owner not in owners:
            continue
        obj_eval = instance.object
        key = (obj_eval.original.as_pointer(), obj_eval.data.as_pointer())
        if key not in cache:
            cache[key] = _piece(obj_eval, instance.matrix_world, triangles)
        shared = cache[key]
        yield (
            owner,
            Piece(shared.source, np.array(instance.matrix_world, dtype=np.float64), shared.vertices, shared.triangles),
        )


def _piece(obj_eval: bpy.types.Object, matrix_world: object, triangles: bool) -> Piece:
    vertices, faces = _read_mesh(obj_eval, triangles)
    return Piece(obj_eval.original, np.array(matrix_world, dtype=np.float64), vertices, faces)


def _read_mesh(obj_eval: bpy.types.Object, triangles: bool) -> tuple[np.ndarray, np.ndarray]:
    """Read local vertices, (N, 3) float64, and triangles, (T, 3) int32, of one evaluated object."""
    no_triangles = np.empty((0, 3), dtype=np.int32)
    if obj_eval.type in _POSITION_TYPES:
        return read_vectors(obj_eval.data.attributes["position"].data, "vector"), no_triangles
    if obj_eval.type not in _MESHABLE_TYPES:
        raise SceneError(
            f"object {obj_eval.name!r} of type {obj_eval.type} has no vertices that Blender could tell; convert it "
            "to a mesh (Object > Convert, or a geometry node such as Volume to Mesh) or leave it out"
        )
    mesh = obj_eval.to_mesh()
    if mesh is None:
        # Bare splines made by geometry nodes: no surface, drawn as an overlay at most.
        return np.empty((0, 3)), no_triangles
    try:
        vertices = read_vectors(mesh.vertices, "co")
        if not triangles:
            return vertices, no_triangles
        mesh.calc_loop_triangles()
        faces = np.empty(3 * len(mesh.loop_triangles), dtype=np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces)
        return vertices, faces.reshape(-1, 3)
    finally:
        obj_eval.to_mesh_clear()


def read_vectors(collection: bpy.types.bpy_prop_collection, attribute: str) -> np.ndarray:
    """Read a vector of each item, (N, 3) float64."""
    # float32 is what Blender stores: foreach_get then copies memory instead of converting item by item.
    flat = np.empty(3 * len(collection), dtype=np.float32)
    collection.foreach_get(attribute, flat)
    return flat.reshape(-1, 3).astype(np.float64)
