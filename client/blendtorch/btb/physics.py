"""Point caches: what makes physics play, and replay, over a range of frames."""

from collections.abc import Iterator

import bpy


def point_caches(scene: bpy.types.Scene) -> Iterator[bpy.types.PointCache]:
    """All point caches of a scene: rigid bodies, cloth, soft bodies, particles and dynamic paint surfaces."""
    if scene.rigidbody_world and scene.rigidbody_world.point_cache:
        yield scene.rigidbody_world.point_cache
    for obj in scene.objects:
        for modifier in obj.modifiers:
            if modifier.type in {"CLOTH", "SOFT_BODY"}:
                yield modifier.point_cache
            elif modifier.type == "DYNAMIC_PAINT" and modifier.canvas_settings:
                yield from (surface.point_cache for surface in modifier.canvas_settings.canvas_surfaces)
        yield from (system.point_cache for system in obj.particle_systems)


def set_cache_range(scene: bpy.types.Scene, first: int, last: int) -> None:
    """Makes physics start at frame `first` and run to frame `last`.

    Simulations begin at the first frame of their cache, stand still after its last, and are reset by going back to the
    first. Baked caches are left alone: their frames are fixed.
    """
    for cache in point_caches(scene):
        set_range(cache, first, last)


def set_range(cache: bpy.types.PointCache, first: int, last: int) -> None:
    """The same for one cache."""
    if cache.is_baked:
        return
    # The range must never be empty in between: Blender clamps each end against the other.
    if last >= cache.frame_start:
        cache.frame_end, cache.frame_start = last, first
    else:
        cache.frame_start, cache.frame_end = first, last
