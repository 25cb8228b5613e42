"""Placed and turned in the world, whatever the parents and the mode of rotation."""

import math

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix
from randomize_scenes import CUBE, apply

from blendtorch.btb import randomize
from blendtorch.btb.randomize import Constant, Target, Uniform
from blendtorch.errors import RandomizeError

PLACE = ((1.5, -2.5, 0.75), (1.5, -2.5, 0.75))
ANGLES = ((0.4, -0.3, 1.2), (0.4, -0.3, 1.2))
MODES = ["XYZ", "ZYX", "QUATERNION", "AXIS_ANGLE"]


@pytest.fixture
def child():
    """The cube beneath two others that are moved, turned and scaled."""
    cube = bpy.data.objects["Cube"]
    previous = None
    for i in range(2):
        parent = bpy.data.objects.new(f"Parent {i}", None)
        parent.location, parent.rotation_euler, parent.scale = (1, i, 3), (0.3, 0.2 * i, 0.1), (2, 2, 2)
        bpy.context.scene.collection.objects.link(parent)
        parent.parent = previous
        previous = parent
    cube.parent = previous
    cube.matrix_parent_inverse = Matrix.Translation((0, 0, 5))
    cube.delta_location, cube.delta_rotation_euler = (0.1, 0.2, 0.3), (0.1, 0, 0.5)
    bpy.context.view_layer.update()
    return cube


def turned(obj):
    return np.array(obj.matrix_world.to_quaternion().to_matrix())


@pytest.mark.parametrize("mode", MODES)
def test_beneath_parents(child, mode):
    child.rotation_mode = mode
    if mode in ("QUATERNION", "AXIS_ANGLE"):
        child.delta_rotation_euler = (0, 0, 0)
    child.delta_rotation_quaternion = (0.8, 0, 0.6, 0) if mode == "QUATERNION" else (1, 0, 0, 0)
    with apply([randomize.LocationInBox(CUBE, *PLACE), randomize.Rotation(CUBE, *ANGLES)]):
        np.testing.assert_allclose(child.matrix_world.translation, PLACE[0], atol=1e-5)
        np.testing.assert_allclose(turned(child), np.array(Euler(ANGLES[0]).to_matrix()), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_without_parents(mode):
    cube = bpy.data.objects["Cube"]
    cube.rotation_mode = mode
    with apply([randomize.LocationInBox(CUBE, *PLACE), randomize.Rotation(CUBE, *ANGLES)]):
        np.testing.assert_allclose(cube.matrix_world.translation, PLACE[0], atol=1e-6)
        np.testing.assert_allclose(turned(cube), np.array(Euler(ANGLES[0]).to_matrix()), atol=1e-6)


def test_whole_turns_stay():
    with apply([randomize.Rotation(CUBE, (0, 0, 9), (0, 0, 9))]):
        assert bpy.data.objects["Cube"].rotation_euler.z == 9


def test_beneath_a_bone():
    bpy.ops.object.armature_add(location=(1, 2, 3), rotation=(0.5, 0, 0))
    armature, cube = bpy.context.object, bpy.data.objects["Cube"]
    cube.parent, cube.parent_type, cube.parent_bone = armature, "BONE", armature.data.bones[0].name
    bpy.context.view_layer.update()
    with apply([randomize.LocationInBox(CUBE, *PLACE), randomize.Rotation(CUBE, *ANGLES)]):
        np.testing.assert_allclose(cube.matrix_world.translation, PLACE[0], atol=1e-5)
        np.testing.assert_allclose(turned(cube), np.array(Euler(ANGLES[0]).to_matrix()), atol=1e-5)


def test_a_parent_without_extent(child):
    child.parent.scale = (0, 1, 1)
    with pytest.raises(RandomizeError, match="has no extent"):
        apply([randomize.LocationInBox(CUBE)])


def test_look_at(child):
    camera = bpy.context.scene.camera
    entries = [
        randomize.LocationInSphere(Target("CAMERA"), (0, 0, 0), 9, surface_only=True),
        randomize.LookAt(Target("CAMERA"), CUBE),
    ]
    for index in range(20):
        with apply(entries, index):
            axes = np.array(camera.matrix_world)[:3, :3]
            towards = np.array(child.matrix_world.translation - camera.matrix_world.translation)
            np.testing.assert_allclose(-axes[:, 2], towards / np.linalg.norm(towards), atol=1e-5)
            assert abs(axes[2, 0]) < 1e-5  # its x axis is level
            assert axes[2, 1] > 0  # and its top up


def test_roll_and_jitter():
    camera = bpy.context.scene.camera
    camera.location = (0, -5, 0)
    with apply([randomize.LookAt(Target("CAMERA"), (0, 0, 0), Constant(math.pi / 2), Constant((5, -5, 0)))]):
        axes = np.array(camera.matrix_world)[:3, :3]
    np.testing.assert_allclose(-axes[:, 2], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(axes[:, 0], (0, 0, 1), atol=1e-6)  # its right is up: turned counter-clockwise
    with pytest.raises(RandomizeError, match="where it should look at"):
        apply([randomize.LookAt(Target("CAMERA"), (0, -5, 0))])


def test_on_a_surface_with_modifiers_offset_and_normal():
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=5, location=(3, 0, 0))
    ball = bpy.context.object
    ball.scale = (-2, 2, 2)  # mirrored
    displace = ball.modifiers.new("Up", "DISPLACE")
    displace.strength, displace.mid_level = 0.5, 0.0  # along normals: the radius becomes 3 in the world
    cube = bpy.data.objects["Cube"]
    for index in range(20):
        with apply([randomize.LocationOnSurface(CUBE, ball.name, 1.0, align=True)], index):
            outward = np.array(cube.matrix_world.translation) - (3, 0, 0)
            assert abs(np.linalg.norm(outward) - 4) < 0.01
            up = np.array(cube.matrix_world)[:3, 2]
            assert up @ outward / np.linalg.norm(outward) > 0.999


def test_scale():
    cube = bpy.data.objects["Cube"]
    with apply([randomize.Scale(CUBE, Uniform(0.5, 2))]):
        assert len(set(cube.scale)) == 1
    with apply([randomize.Scale(CUBE, Uniform(0.5, 2), uniform=False)]):
        assert len(set(cube.scale)) == 3


def test_lights_and_cameras_are_the_objects_that_use_them():
    light = bpy.data.lights["Light"]
    second = bpy.data.objects.new("A second", light)
    bpy.context.scene.collection.objects.link(second)
    with apply([randomize.LocationInBox(Target("LIGHT", "Light"), (5, 5, 5), (6, 6, 6))]):
        places = [tuple(obj.location) for obj in (second, bpy.data.objects["Light"])]
    assert min(min(place) for place in places) >= 5
    assert places[0] != places[1]


def test_on_a_surface_that_is_disabled_in_viewports():
    bpy.ops.mesh.primitive_plane_add(size=2)
    plane = bpy.context.object
    plane.modifiers.new("Subdivision", "SUBSURF").levels = 2
    plane.hide_viewport = plane.hide_render = True
    bpy.context.view_layer.update()
    place = randomize.LocationInBox(Target("OBJECT", plane.name), (5, 5, 5), (5, 5, 5))
    spots = []
    for index in range(20):
        with apply([place, randomize.LocationOnSurface(CUBE, plane.name)], index):
            assert plane.hide_viewport
            spots.append(bpy.data.objects["Cube"].location[:])
    # Where it was moved to, and with its modifiers, by which it is smaller.
    assert np.abs(np.array(spots) - 5).max() < 0.9
    assert plane.hide_viewport
    (layer,) = (one for one in bpy.context.view_layer.layer_collection.children if plane.name in one.collection.objects)
    layer.exclude = True
    with pytest.raises(RandomizeError, match=r"disabled in viewports.*or excluded"):
        apply([randomize.LocationOnSurface(CUBE, plane.name)])


def test_never_on_itself():
    with pytest.raises(RandomizeError, match="cannot be placed on itself"):
        apply([randomize.LocationOnSurface(Target("COLLECTION", "Collection"), "Cube")])


@pytest.mark.parametrize("how", ["disabled", "excluded", "by the entry before"])
def test_look_at_what_is_not_evaluated(child, how):
    if how == "disabled":
        child.hide_viewport = True
    elif how == "excluded":
        collection = bpy.data.collections.new("Excluded")
        bpy.context.scene.collection.children.link(collection)
        for one in child.users_collection:
            one.objects.unlink(child)
        collection.objects.link(child)
        bpy.context.view_layer.layer_collection.children["Excluded"].exclude = True
    bpy.context.view_layer.update()
    entries = (
        randomize.Visibility(CUBE, 0.0 if how == "by the entry before" else 1.0, mute=how != "by the entry before"),
        randomize.LocationInBox(Target("OBJECT", "Parent 0"), (4, 4, 4), (4, 4, 4)),
        randomize.LookAt(Target("CAMERA"), CUBE),
    )
    camera = bpy.context.scene.camera
    with apply(entries):
        there = bpy.data.objects["Parent 1"].matrix_world @ child.matrix_parent_inverse @ child.matrix_basis
        direction = (there.translation - camera.location).normalized()
        assert np.allclose(-np.array(camera.matrix_world)[:3, 2], direction, atol=1e-5)
    with apply([*entries[:2], randomize.LocationInBox(CUBE, *PLACE), randomize.LookAt(Target("CAMERA"), CUBE)]):
        direction = (np.array(PLACE[0]) - camera.location) / np.linalg.norm(np.array(PLACE[0]) - camera.location)
        assert np.allclose(-np.array(camera.matrix_world)[:3, 2], direction, atol=1e-5)
