"""Rigid bodies play over the whole range of frames, and start afresh with each episode."""

import bpy
import numpy as np
import pytest

from blendtorch import btb
from blendtorch.btb.physics import point_caches, set_cache_range


@pytest.fixture
def cube():
    """A cube that falls."""
    bpy.ops.rigidbody.world_add()
    cube = bpy.data.objects["Cube"]
    bpy.context.view_layer.objects.active = cube
    bpy.ops.rigidbody.object_add(type="ACTIVE")
    return cube


def heights(cube, frame_range, starts):
    """The cube's height in each frame of each episode, dropped from each of the starts."""
    anim = btb.AnimationController()
    left, episodes = iter(starts), []

    def pre_animation():
        cube.location.z = next(left)
        episodes.append([])

    anim.pre_animation.add(pre_animation)
    anim.post_frame.add(lambda: episodes[-1].append(cube.matrix_world.translation.z))
    anim.play(frame_range, num_episodes=len(starts))
    return np.array(episodes)


@pytest.mark.parametrize("frame_range", [(1, 20), (300, 320)])  # the second lies beyond the cache's own range
def test_falls_by_gravity_in_every_episode(cube, frame_range):
    z = heights(cube, frame_range, starts=[10, 10, 50])
    np.testing.assert_allclose(z[:, 0], [10, 10, 50], atol=1e-5)
    seconds = (frame_range[1] - frame_range[0]) / bpy.context.scene.render.fps
    # Damping (0.04 by default) and the solver's steps cost a few per cent of the free fall's g t^2 / 2.
    np.testing.assert_allclose(z[:, 0] - z[:, -1], 9.81 * seconds**2 / 2, rtol=0.08)
    np.testing.assert_array_equal(z[0], z[1])


def test_without_use_physics_the_ranges_stay(cube):
    cache = bpy.context.scene.rigidbody_world.point_cache
    cache.frame_start, cache.frame_end = 3, 77
    btb.AnimationController().play((1, 2), 1, use_physics=False)
    assert (cache.frame_start, cache.frame_end) == (3, 77)


@pytest.mark.parametrize("before", [(1, 250), (400, 500), (5, 6)])
@pytest.mark.parametrize("wanted", [(1, 10), (300, 320), (7, 7)])
def test_range_is_set_whatever_it_was(cube, before, wanted):
    cache = bpy.context.scene.rigidbody_world.point_cache
    set_cache_range(bpy.context.scene, *before)
    assert (cache.frame_start, cache.frame_end) == before
    set_cache_range(bpy.context.scene, *wanted)
    assert (cache.frame_start, cache.frame_end) == wanted


def test_caches_of_modifiers_are_found(cube):
    cube.modifiers.new("cloth", "CLOTH")
    cube.modifiers.new("soft", "SOFT_BODY")
    cube.modifiers.new("particles", "PARTICLE_SYSTEM")
    set_cache_range(bpy.context.scene, 2, 33)
    ranges = [(cache.frame_start, cache.frame_end) for cache in point_caches(bpy.context.scene)]
    assert ranges == [(2, 33)] * 4
