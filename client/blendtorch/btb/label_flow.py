"""Optical flow between two snapshots: where what one picture shows is in the other one."""

from functools import cache, partial

import numpy as np

from .label_canvas import Canvas, Target
from .label_groups import draw_groups, group_by_surface
from .label_scene import Snapshot
from .label_shader import instance_texture, make_shader

_TEXELS = 10
_VERTEX = """
vec4 p = vec4(pos, 1.0), q = vec4(pos_there, 1.0);
gl_Position = mat4(texel(0), texel(1), texel(2), texel(3)) * p;
clip_there = mat4(texel(4), texel(5), texel(6), texel(7)) * q;
depth_there = dot(texel(8), q);
is_known = texel(9).x;
"""
_FRAGMENT = """
vec2 flow = (clip_there.xy / clip_there.w * 0.5 + 0.5) * size - gl_FragCoord.xy;
float unknown = uintBitsToFloat(0x7fc00000u);
bool has_picture = is_known > 0.5 && depth_there > 0.0;
out_flow = has_picture ? vec2(flow.x, -flow.y) : vec2(unknown);
out_depth = has_picture ? depth_there : unknown;
"""
_TARGETS = {"flow": Target("VEC2", "RG32F", 2, float("nan")), "depth": Target("FLOAT", "R32F", 1, float("nan"))}


class FlowPass:
    """Draws the flow from one snapshot to another."""

    def __init__(self) -> None:
        self._canvas: Canvas | None = None
        self._shader = cache(
            partial(
                make_shader,
                "flow",
                _VERTEX,
                _FRAGMENT,
                inputs={"pos": "VEC3", "pos_there": "VEC3"},
                varyings={"clip_there": "VEC4", "depth_there": "FLOAT", "is_known": "FLOAT"},
                outputs=[("VEC2", "out_flow"), ("FLOAT", "out_depth")],
                uniforms={"size": "VEC2"},
                texels=_TEXELS,
            )
        )

    def draw(self, here: Snapshot, there: Snapshot, threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Draws and reads back.

        Args:
            here: What gives the pixels.
            there: The same scene at another time.
            threshold: Alpha below which there is no surface; None if holes do not matter.

        Returns:
            flow: H x W x 2 float32, pixels, (dx, dy) with y down: what is at a pixel's centre here is at that plus
                flow there. NaN for background, for what is not known there (an instance that is new, or whose mesh has
                other corners) and for what is behind the camera there.
            depth_there: H x W float32, metres: how far that is from the camera there.
        """
        height, width = here.view.shape
        if self._canvas is None or self._canvas.shape != here.view.shape:
            self._canvas = Canvas(here.view.shape, _TARGETS)
        rows_there = np.array([there.rows.get(key, -1) for key in here.keys], np.intp)
        partners = []
        for row, row_there in enumerate(rows_there):
            here_surface = here.surfaces[row]
            if row_there >= 0 and here_surface.corresponds_to(there.surfaces[row_there]):
                partners.append(there.surfaces[row_there])
            else:
                rows_there[row] = -1
                partners.append(here_surface)
        with self._canvas.drawing():
            order, groups = group_by_surface(here.surfaces, here.holes, partners)
            if groups:
                draw_groups(
                    groups,
                    instance_texture(_rows(here, there, rows_there)[order]),
                    self._shader,
                    lambda group, slots, uv_map: group.surface.motion_batch(partners[group.row], slots, uv_map),
                    threshold,
                    {"size": (width, height)},
                )
        drawn = self._canvas.read()
        return drawn["flow"], drawn["depth"]


def _rows(here: Snapshot, there: Snapshot, rows_there: np.ndarray) -> np.ndarray:
    """What each instance has in the texture, (K, 10, 4) float32."""
    world_there = here.instances.world_from_object.copy()
    known = rows_there >= 0
    world_there[known] = there.instances.world_from_object[rows_there[known]]
    camera_from_object = there.view.camera_from_world @ world_there
    rows = np.zeros((len(rows_there), _TEXELS, 4), np.float32)
    rows[:, :4] = here.view.clip_from_objects(here.instances.world_from_object).transpose(0, 2, 1)
    rows[:, 4:8] = there.view.clip_from_objects(world_there).transpose(0, 2, 1)
    rows[:, 8] = -camera_from_object[:, 2]
    rows[:, 9, 0] = known
    return rows
