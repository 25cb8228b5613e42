"""Draws a snapshot of the scene as ids, depth and normals."""

from collections.abc import Collection
from functools import cache, partial
from typing import Any

import numpy as np
from mathutils import Matrix

from .label_canvas import Canvas, Target
from .label_groups import Group, draw_groups, group_by_surface
from .label_scene import Snapshot
from .label_shader import instance_texture, make_shader

_TEXELS = 8
_VERTEX = """
vec4 p = vec4(pos, 1.0);
gl_Position = mat4(texel(0), texel(1), texel(2), texel(3)) * p;
depth_m = dot(texel(4), p);
vec4 x = texel(5), y = texel(6), z = texel(7);
id = (uint(x.w) << 16) + uint(y.w);
"""
_NORMALS_VERTEX = "normal = x.xyz * nor.x + y.xyz * nor.y + z.xyz * nor.z;\n"
_FRAGMENT = "out_id = id;\nout_depth = depth_m;\n"
# As Blender's engines do, back faces show their other side.
_NORMALS_FRAGMENT = "vec3 n = normalize(gl_FrontFacing ? normal : -normal);\n"
_TARGETS = {
    "ids": Target("UINT", "R32UI", 1, 0),
    "depth": Target("FLOAT", "R32F", 1, float("inf")),
    "normals_world": Target("VEC4", "RGBA32F", 3, 0.0),
    "normals_camera": Target("VEC4", "RGBA32F", 3, 0.0),
}
_NAMES = {"ids": "out_id", "depth": "out_depth", "normals_world": "out_world", "normals_camera": "out_camera"}


class LabelPass:
    """Draws ids, depth and normals.

    Args:
        outputs: Which of "ids", "depth", "normals_world", "normals_camera".
    """

    def __init__(self, outputs: frozenset[str]) -> None:
        # Ids and depth cost next to nothing, and the rest is made of them.
        self._targets = {name: target for name, target in _TARGETS.items() if name in outputs | {"ids", "depth"}}
        self._canvas: Canvas | None = None
        self._shader = cache(partial(make_shader, "labels", **_shader_parts(self._targets)))

    def draw(self, snapshot: Snapshot, threshold: float | None) -> dict[str, np.ndarray]:
        """Draws and reads back.

        Args:
            snapshot: The scene.
            threshold: Alpha below which there is no surface; None if holes do not matter.

        Returns:
            H x W arrays, and H x W x 3 for normals, first row at the top.
        """
        if self._canvas is None or self._canvas.shape != snapshot.view.shape:
            self._canvas = Canvas(snapshot.view.shape, self._targets)
        with self._canvas.drawing():
            order, groups = group_by_surface(snapshot.surfaces, snapshot.holes)
            if groups:
                draw_groups(
                    groups,
                    instance_texture(_rows(snapshot)[order]),
                    self._shader,
                    Group.batch,
                    threshold,
                    {"camera_from_world": Matrix(snapshot.view.camera_from_world.tolist())}
                    if "normals_camera" in self._targets
                    else {},
                )
        return self._canvas.read()


def _shader_parts(names: Collection[str]) -> dict[str, Any]:
    """What `make_shader` needs to know for these outputs."""
    world, camera = "normals_world" in names, "normals_camera" in names
    vertex, fragment = _VERTEX, _FRAGMENT
    inputs, varyings = {"pos": "VEC3"}, {"depth_m": "FLOAT", "id": "UINT"}
    if world or camera:
        inputs, varyings = {**inputs, "nor": "VEC3"}, {**varyings, "normal": "VEC3"}
        vertex, fragment = vertex + _NORMALS_VERTEX, fragment + _NORMALS_FRAGMENT
    if world:
        fragment += "out_world = vec4(n, 0.0);\n"
    if camera:
        fragment += "out_camera = vec4(mat3(camera_from_world) * n, 0.0);\n"
    return {
        "vertex": vertex,
        "fragment": fragment,
        "inputs": inputs,
        "varyings": varyings,
        "outputs": [(_TARGETS[name].kind, _NAMES[name]) for name in names],
        "uniforms": {"camera_from_world": "MAT4"} if camera else {},
        "texels": _TEXELS,
    }


def _rows(snapshot: Snapshot) -> np.ndarray:
    """What each instance has in the texture, (K, 8, 4) float32."""
    instances, view = snapshot.instances, snapshot.view
    camera_from_object = view.camera_from_world @ instances.world_from_object
    rows = np.zeros((len(instances.ids), _TEXELS, 4), np.float32)
    rows[:, :4] = view.clip_from_objects(instances.world_from_object).transpose(0, 2, 1)
    rows[:, 4] = -camera_from_object[:, 2]
    # Normals are turned by the inverse transposed. The cofactors are that times the determinant: a flat object has
    # them, too, and they turn the normals of a mirrored one round, whose front faces are drawn as back faces.
    rows[:, 5:8, :3] = _cofactors(instances.world_from_object[:, :3, :3]).transpose(0, 2, 1)
    rows[:, 5, 3] = instances.ids >> 16
    rows[:, 6, 3] = instances.ids & 0xFFFF
    return rows


def _cofactors(matrices: np.ndarray) -> np.ndarray:
    """det(M) times the inverse transposed of M, (K, 3, 3), for any M."""
    x, y, z = matrices[:, :, 0], matrices[:, :, 1], matrices[:, :, 2]
    return np.stack([np.cross(y, z), np.cross(z, x), np.cross(x, y)], axis=2)
