"""Random points on an object's surface."""

import bpy
import numpy as np

from ...errors import RandomizeError
from .context import Context


class Surface:
    """The triangles of an object as it is evaluated, in the world.

    Args:
        ctx: Of the randomizer.
        obj: A mesh, or what can be made one.

    Raises:
        RandomizeError: It has no surface.
    """

    def __init__(self, ctx: Context, obj: bpy.types.Object) -> None:
        with ctx.shown(obj) as evaluated:
            if evaluated is None:
                raise RandomizeError(
                    f'object "{obj.name}" is not evaluated: it, or its collection, is disabled in viewports (the monitor '
                    "symbol in the outliner) or excluded from the view layer; to hide it, use the eye"
                )
            world_from_object = np.array(evaluated.matrix_world)
            self._corners = _triangles(obj, evaluated, world_from_object)
        first, second, third = self._corners[:, 0], self._corners[:, 1], self._corners[:, 2]
        self._normals = np.cross(second - first, third - first)
        doubled = np.linalg.norm(self._normals, axis=1)
        self._areas = np.cumsum(doubled)
        if not len(doubled) or not self._areas[-1] > 0:
            raise RandomizeError(f'object "{obj.name}" has no faces to place something on')
        # A mirrored object's triangles turn the other way round.
        side = np.sign(np.linalg.det(world_from_object[:3, :3]))
        self._normals *= side / np.where(doubled > 0, doubled, 1)[:, None]

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws a point, uniformly by area.

        Returns:
            The point (3,) in metres and the face's unit normal (3,), world.
        """
        which, u, v = rng.random(3)
        triangle = int(np.searchsorted(self._areas, which * self._areas[-1], side="right"))
        first, second, third = self._corners[triangle]
        root = np.sqrt(u)  # of triangles, more lies far from a corner than near it
        point = (1 - root) * first + root * (1 - v) * second + root * v * third
        return point, self._normals[triangle]


def _triangles(obj: bpy.types.Object, evaluated: bpy.types.Object, world_from_object: np.ndarray) -> np.ndarray:
    """(N, 3, 3) corners, world."""
    try:
        mesh = evaluated.to_mesh()
    except RuntimeError:
        mesh = None
    if mesh is None:
        raise RandomizeError(f'object "{obj.name}" is a {obj.type.lower()}, which has no surface; name a mesh')
    try:
        mesh.calc_loop_triangles()
        points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
        mesh.vertices.foreach_get("co", points)
        indices = np.empty(3 * len(mesh.loop_triangles), dtype=np.int32)
        mesh.loop_triangles.foreach_get("vertices", indices)
    finally:
        evaluated.to_mesh_clear()
    world = points.reshape(-1, 3).astype(np.float64) @ world_from_object[:3, :3].T + world_from_object[:3, 3]
    return world[indices.reshape(-1, 3)]
