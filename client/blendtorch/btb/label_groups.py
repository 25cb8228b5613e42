"""Which triangles of a snapshot are drawn together: all instances of a surface that have the same holes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import gpu
import numpy as np

from .label_holes import Hole
from .label_surfaces import Surface


@dataclass(frozen=True)
class Group:
    """Instances of one surface that lie side by side in the texture of instances.

    Attributes:
        surface: What is drawn.
        holes: For each material slot the holes it makes; () for none at all.
        first: Where the group begins in the texture.
        count: How many instances there are.
        row: The first one's place before they were put in order.
    """

    surface: Surface
    holes: tuple[Hole | None, ...]
    first: int
    count: int
    row: int

    def batch(self, slots: tuple[int, ...] | None, uv_map: str | None) -> gpu.types.GPUBatch | None:
        """The triangles as they are; see `Surface.batch`."""
        return self.surface.batch(slots, uv_map)

    def parts(self) -> Iterator[tuple[tuple[int, ...] | None, Hole | None]]:
        """Material slots (None for all) and the holes they have; what is transparent everywhere is left out."""
        if not self.holes:
            yield None, None
            return
        slots_of: dict[Hole | None, list[int]] = {}
        for slot in self.surface.slots:
            # A slot that the object does not have is its last one.
            slots_of.setdefault(self.holes[min(slot, len(self.holes) - 1)], []).append(slot)
        for hole, slots in slots_of.items():
            if hole is None or hole.image is not None:
                yield tuple(slots), hole


def group_by_surface(
    surfaces: Sequence[Surface], holes: Sequence[tuple[Hole | None, ...]], partners: Sequence[Surface] | None = None
) -> tuple[np.ndarray, list[Group]]:
    """Puts instances that are drawn together side by side.

    Args:
        surfaces: Of K instances.
        holes: Of the same.
        partners: Surfaces that are to be the same in a group, too.

    Returns:
        The order of the K instances in the texture of instances, and the groups.
    """
    rows_of: dict[tuple, list[int]] = {}
    for row, surface in enumerate(surfaces):
        partner = None if partners is None else id(partners[row])
        rows_of.setdefault((id(surface), partner, holes[row]), []).append(row)
    order: list[int] = []
    groups = []
    for rows in rows_of.values():
        groups.append(Group(surfaces[rows[0]], holes[rows[0]], len(order), len(rows), rows[0]))
        order += rows
    return np.array(order, np.intp), groups


def draw_groups(
    groups: Sequence[Group],
    texture: gpu.types.GPUTexture,
    shader_of: Callable[..., gpu.types.GPUShader],
    batch_of: Callable[[Group, tuple[int, ...] | None, str | None], gpu.types.GPUBatch | None],
    threshold: float | None,
    uniforms: Mapping[str, Any],
) -> None:
    """Draws groups.

    Args:
        groups: What is drawn.
        texture: What the shader knows of each instance, in the order of the groups.
        shader_of: Gives the shader for `holes=` true or false: whether it leaves holes out.
        batch_of: The triangles of a group, by material slots and UV map as in `Surface.batch`.
        threshold: Alpha below which there is no surface; None if no group has holes.
        uniforms: What the shader knows beside that: name -> floats.
    """
    for group in groups:
        for slots, hole in group.parts():
            batch = batch_of(group, slots, None if hole is None else hole.uv_map)
            if batch is None:
                continue
            shader = shader_of(holes=hole is not None)
            shader.bind()
            shader.uniform_sampler("instances", texture)
            shader.uniform_int("first", group.first)
            for name, value in uniforms.items():
                shader.uniform_float(name, value)
            if hole is not None:
                shader.uniform_sampler("image", gpu.texture.from_image(bpy.data.images[hole.image]))
                shader.uniform_int("extension", hole.extension)
                shader.uniform_int("use_color", int(hole.use_color))
                shader.uniform_int("is_closest", int(hole.is_closest))
                shader.uniform_float("threshold", threshold)
            batch.draw_instanced(shader, instance_start=0, instance_count=group.count)
