"""Points on and in objects that are worth a label: empties, vertices, bones, vertex groups."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..errors import ConfigError, SceneError
from ..labels.projection import transform_points
from . import compat
from .coordinates import POINT_TYPES, evaluated, read_vectors


@dataclass(frozen=True)
class Keypoint:
    """A point that moves with an object. At most one of vertex, vertex_group and bone says which; else it is the origin.

    Attributes:
        name: What it is called in the labels.
        object: An empty or any other object, a mesh for vertices, an armature for bones.
        vertex: Index of a vertex, after modifiers.
        vertex_group: Name of a vertex group: the mean of its vertices, after modifiers, by weight.
        bone: Name of a pose bone: its head, or its tail if `tail` is set.
        tail: Whether the bone's tail is meant.
        owner: An object that does not hide the point, such as the body that a bone lies in.

    Raises:
        ConfigError: More than one of vertex, vertex_group and bone is given, or `tail` without a bone.
        TypeError: `object` or `owner` is not an object.
    """

    name: str
    object: bpy.types.Object
    vertex: int | None = None
    vertex_group: str | None = None
    bone: str | None = None
    tail: bool = False
    owner: bpy.types.Object | None = None

    def __post_init__(self) -> None:
        for role, obj in (("object", self.object), ("owner", self.owner)):
            if not isinstance(obj, bpy.types.Object) and not (role == "owner" and obj is None):
                raise TypeError(f"keypoint {self.name!r}: {role} is {obj!r}, expected one of bpy.data.objects.")
        given = [kind for kind in ("vertex", "vertex_group", "bone") if getattr(self, kind) is not None]
        if len(given) > 1:
            raise ConfigError(f"keypoint {self.name!r} has {' and '.join(given)}, expected at most one of them.")
        if self.tail and self.bone is None:
            raise ConfigError(f"keypoint {self.name!r} has tail set, but no bone.")


def keypoint_positions(keypoints: Sequence[Keypoint]) -> np.ndarray:
    """Where keypoints are.

    Returns:
        (J, 3) float64 world, metres.

    Raises:
        SceneError: An object was deleted or is not in the view layer; there is no such vertex, group or bone; a group
            has no vertices.
    """
    depsgraph = compat.evaluated_depsgraph()
    positions = np.empty((len(keypoints), 3))
    on_meshes = defaultdict(list)
    for row, keypoint in enumerate(keypoints):
        obj = _evaluated(keypoint, depsgraph)
        if keypoint.vertex is not None or keypoint.vertex_group is not None:
            on_meshes[obj].append(row)
            continue
        matrix = np.array(obj.matrix_world, np.float64)
        positions[row] = transform_points(matrix, _bone(keypoint, obj) if keypoint.bone is not None else np.zeros(3))
    for obj, rows in on_meshes.items():
        local = _on_mesh(obj, [keypoints[row] for row in rows])
        positions[rows] = transform_points(np.array(obj.matrix_world, np.float64), local)
    return positions


def check_keypoints(keypoints: Sequence[Keypoint]) -> None:
    """Checks that these are keypoints with names of their own.

    Raises:
        ConfigError: They are not.
        SceneError: An object or owner was deleted.
    """
    if isinstance(keypoints, Keypoint) or not all(isinstance(keypoint, Keypoint) for keypoint in keypoints):
        raise ConfigError(f"keypoints is {keypoints!r}, expected a list of btb.Keypoint.")
    names = [keypoint.name for keypoint in keypoints]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"more than one keypoint is called {', '.join(map(repr, twice))}, expected names of their own."
        )
    for keypoint in keypoints:
        for role, obj in (("object", keypoint.object), ("owner", keypoint.owner)):
            try:
                _ = obj is None or obj.name
            except ReferenceError:
                raise SceneError(
                    f"keypoint {keypoint.name!r}: its {role} was deleted; leave the keypoint out."
                ) from None


def is_shown(keypoint: Keypoint) -> bool:
    """Whether what the keypoint lies on or in is shown: its owner, and its object if it can have a surface."""
    things = [] if keypoint.object.type in POINT_TYPES else [keypoint.object]
    return all(obj.visible_get() for obj in [*things, *([] if keypoint.owner is None else [keypoint.owner])])


def _evaluated(keypoint: Keypoint, depsgraph: bpy.types.Depsgraph) -> bpy.types.Object:
    try:
        return evaluated(keypoint.object, depsgraph)
    except SceneError as error:
        raise SceneError(f"keypoint {keypoint.name!r}: {error}") from None


def _bone(keypoint: Keypoint, obj: bpy.types.Object) -> np.ndarray:
    bones = obj.pose.bones if obj.pose is not None else {}
    bone = bones.get(keypoint.bone)
    if bone is None:
        raise SceneError(
            f"keypoint {keypoint.name!r}: {obj.type} {obj.name!r} has no bone {keypoint.bone!r}, "
            f"it has {', '.join(map(repr, bones.keys())) or 'none'}."
        )
    return np.array(bone.tail if keypoint.tail else bone.head, np.float64)


def _on_mesh(obj: bpy.types.Object, keypoints: list[Keypoint]) -> np.ndarray:
    """Positions in the object's axes, (N, 3) float64, of vertices and groups of one object."""
    if obj.type != "MESH":
        raise SceneError(
            f"keypoint {keypoints[0].name!r}: object {obj.name!r} is of type {obj.type}, expected a mesh with vertices."
        )
    mesh = obj.to_mesh()  # unlike `obj.data` it has what is being edited
    vertices = read_vectors(mesh.vertices, "co")
    weights = _weights(mesh) if any(keypoint.vertex_group is not None for keypoint in keypoints) else {}
    obj.to_mesh_clear()
    positions = np.empty((len(keypoints), 3))
    for row, keypoint in enumerate(keypoints):
        if keypoint.vertex is not None:
            if not 0 <= keypoint.vertex < len(vertices):
                raise SceneError(
                    f"keypoint {keypoint.name!r}: {obj.name!r} has {len(vertices)} vertices after its modifiers, from 0 "
                    f"on; there is no vertex {keypoint.vertex}."
                )
            positions[row] = vertices[keypoint.vertex]
            continue
        group = obj.vertex_groups.get(keypoint.vertex_group)
        indices, amounts = weights.get(group.index, ([], [])) if group is not None else ([], [])
        if not np.sum(amounts) > 0:
            known = ", ".join(repr(group.name) for group in obj.vertex_groups) or "none"
            raise SceneError(
                f"keypoint {keypoint.name!r}: {obj.name!r} has no vertices in a group {keypoint.vertex_group!r}; "
                f"its groups, empty ones included: {known}."
            )
        positions[row] = np.average(vertices[indices], axis=0, weights=amounts)
    return positions


def _weights(mesh: bpy.types.Mesh) -> dict[int, tuple[list[int], list[float]]]:
    """Vertices and weights by group; the weights are not an attribute that numpy could read at once."""
    found: dict[int, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for vertex in mesh.vertices:
        for element in vertex.groups:
            indices, amounts = found[element.group]
            indices.append(vertex.index)
            amounts.append(element.weight)
    return found
