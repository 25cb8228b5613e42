"""What a camera sees of points and objects, by casting rays into the scene.

An *occluder* is any surface that `bpy.types.Scene.ray_cast` hits, seen from either side: every mesh (and, but for
Blender 4.2, curve, text and surface object) that the view layer shows, with modifiers and instances. Hidden objects
(eye icon, hide_viewport, excluded or hidden collection) do not occlude. **hide_render, ray visibility ("Camera" off),
holdout, display as wire or bounds, and transparent materials make no difference**: glass occludes, and so does an
object that only final renders leave out. Points, hair curves, volumes and grease pencil never occlude.

Rays start at the near clip plane, so what lies nearer, and is not drawn, does not occlude. Everything reads the
context's scene and evaluated dependency graph. A ray costs time in proportion to the number of objects and instances
in the scene.
"""

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import ArrayLike

from ..errors import ConfigError, SceneError
from ..labels.projection import as_points
from . import compat
from .camera import Camera
from .coordinates import Piece, evaluated_pieces


def points_visible(points_world: ArrayLike, camera: Camera, tolerance_m: float = 1e-3) -> np.ndarray:
    """Tell which points the camera sees.

    A point is visible if it lies within the image frame and the clip range, and no surface is nearer to the camera
    along its line of sight by more than the tolerance. Points need not lie on a surface.

    Args:
        points_world: (N, 3) world, metres.
        camera: Perspective or orthographic.
        tolerance_m: How deep behind a surface, metres along the ray, a point still counts as lying on it. Blender
            computes in float32, so use more than about 1e-6 times the distance to the camera.

    Returns:
        (N,) bool.
    """
    points = as_points(points_world).reshape(-1, 3)
    visible, starts, directions, distances_m = _rays(points, camera)
    depsgraph = compat.evaluated_depsgraph()
    for i in np.flatnonzero(visible):
        visible[i] = not _cast(depsgraph, starts[i], directions[i], distances_m[i] - tolerance_m)[0]
    return visible


def object_visibility(
    obj: bpy.types.Object,
    camera: Camera,
    num_points: int = 256,
    rng: np.random.Generator | None = None,
    tolerance_m: float = 1e-3,
) -> float:
    """Estimate which fraction of an object's picture the camera sees.

    The whole is the picture that a camera at this place would have of the object alone, were its frame wide enough:
    the solid angle (orthographic: area across the view direction) of its surface. Counted is the part that lies
    inside the frame and clip range and in front of which there is no *other* object. The object does not hide itself,
    so 1.0 means that nothing covers or cuts it. For convex objects this is visible over all pixels; where a line of
    sight crosses a surface several times, each crossing counts.

    It is a ratio estimate over points drawn uniformly by area from the evaluated triangles and weighted by |cos| /
    distance^2 (orthographic: |cos|), importance sampling of the solid angle. Its
    standard error is about sqrt(v (1 - v) / num_points), a little more close to the camera. What the object instances
    belongs to it; copies of it that others instance do not.

    Args:
        obj: Object with a surface of its own or instanced.
        camera: Perspective or orthographic.
        num_points: Number of points, that is of rays.
        rng: Source of the points: the same generator state and scene give the same number. None is a generator with a
            fixed seed, so that repeated calls agree.
        tolerance_m: As in `points_visible`; what is in front by less does not cover.

    Returns:
        Fraction in [0, 1]. 0.0 as well for an object that is hidden, or seen exactly edge-on.

    Raises:
        TypeError: Not an object.
        SceneError: The object is not in the view layer, or has no surface.
        ConfigError: (a ValueError) `num_points` is below 1.
    """
    if num_points < 1:
        raise ConfigError(f"num_points must be at least 1, got {num_points}")
    rng = np.random.default_rng(0) if rng is None else rng
    depsgraph = compat.evaluated_depsgraph()
    (pieces,) = evaluated_pieces(obj, depsgraph=depsgraph, triangles=True)
    points, normals = _sample_surface(obj.name, pieces, num_points, rng)
    if not obj.original.visible_get():
        return 0.0

    visible, starts, directions, distances_m = _rays(points, camera)
    weights = _picture_weights(points, normals, camera)
    if weights.sum() == 0.0:
        return 0.0
    own = {_instance_key(piece.source, piece.world_from_local) for piece in pieces}
    own_sources = {piece.source for piece in pieces}
    for i in np.flatnonzero(visible):
        hit, source, matrix = _cast(depsgraph, starts[i], directions[i], distances_m[i] - tolerance_m)
        visible[i] = not hit or (source in own_sources and _instance_key(source, matrix) in own)
    return float(weights[visible].sum() / weights.sum())


def _rays(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compute the lines of sight from the near clip plane to points.

    Args:
        points: (N, 3) world, metres.
        camera: The camera.

    Returns:
        inside: (N,) bool, the point is in the frame and the clip range; the rest is meaningful only there.
        starts: (N, 3) float64 world, metres.
        directions: (N, 3) float64 world, unit vectors (zero for a point on the near plane).
        distances_m: (N,) float64 from start to point.
    """
    near_m, far_m = camera.clip_range
    ndc, depth_m = camera.world_to_ndc(points, return_depth=True)
    # NaN, behind the camera, compares False.
    inside = np.all(np.abs(ndc[:, :2]) <= 1.0, axis=1) & (depth_m >= near_m) & (depth_m <= far_m)
    to_point = _sight_lines(points, camera)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_point *= ((depth_m - near_m) / depth_m)[:, None]
    distances_m = np.linalg.norm(to_point, axis=1)
    directions = np.divide(to_point, distances_m[:, None], out=np.zeros_like(to_point), where=distances_m[:, None] > 0)
    return inside, points - to_point, directions, distances_m


def _sight_lines(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Return vectors, (N, 3) world, metres, to points from the eye, or from the camera plane if orthographic."""
    world_from_camera = np.linalg.inv(camera.view_matrix)
    from_eye = points - world_from_camera[:3, 3]
    if camera.type == "PERSP":
        return from_eye
    forward = -world_from_camera[:3, 2]
    return (from_eye @ forward)[:, None] * forward


def _picture_weights(points: np.ndarray, normals: np.ndarray, camera: Camera) -> np.ndarray:
    """Return how much picture a piece of surface at each point makes an area, (N,) float64, any common unit."""
    if camera.type == "ORTHO":
        return np.abs(normals @ np.linalg.inv(camera.view_matrix)[:3, 2])
    lines = _sight_lines(points, camera)
    distances_m = np.maximum(np.linalg.norm(lines, axis=1), np.finfo(np.float32).tiny)
    return np.abs(np.einsum("ij,ij->i", lines, normals)) / distances_m**3


def _sample_surface(
    name: str, pieces: list[Piece], num_points: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points uniformly by area from triangles; returns points and unit normals, both (num_points, 3), world.

    Barycentric coordinates from two uniform numbers as in Osada et al., Shape Distributions, 2002.
    """
    triangles = np.concatenate([np.empty((0, 3, 3)), *(piece.vertices_world()[piece.triangles] for piece in pieces)])
    edges = triangles[:, 1:] - triangles[:, :1]
    normals = np.cross(edges[:, 0], edges[:, 1])
    doubled_areas = np.linalg.norm(normals, axis=1)
    if doubled_areas.sum() == 0.0:
        raise SceneError(
            f"object {name!r} has no surface, neither its own nor instanced, whose visibility could be told"
        )
    chosen = rng.choice(len(triangles), size=num_points, p=doubled_areas / doubled_areas.sum())
    root, along = np.sqrt(rng.random(num_points)), rng.random(num_points)
    weights = np.stack([root * (1.0 - along), root * along], axis=1)
    points = triangles[chosen, 0] + np.einsum("ij,ijk->ik", weights, edges[chosen])
    return points, normals[chosen] / doubled_areas[chosen, None]


def _cast(
    depsgraph: bpy.types.Depsgraph, start: np.ndarray, direction: np.ndarray, distance_m: float
) -> tuple[bool, bpy.types.Object | None, Matrix]:
    """Return whether a surface is hit within a distance, and the original object and world matrix of what was hit."""
    if distance_m <= 0.0:
        return False, None, Matrix()
    hit, _, _, _, source, matrix = depsgraph.scene.ray_cast(
        depsgraph, Vector(start), Vector(direction), distance=distance_m
    )
    return hit, source, matrix


def _instance_key(source: bpy.types.Object, world_from_local: Matrix | np.ndarray) -> tuple[bpy.types.Object, bytes]:
    # Ray casting and the instances of the dependency graph report bit-equal matrices (checked by a test).
    return source, np.asarray(world_from_local, dtype=np.float32).tobytes()
