"""Optical flow: against pictures, and against displacements that are known."""

import bpy
import numpy as np
import pytest
from label_scenes import (
    add,
    add_camera,
    add_cube,
    add_geometry_instances,
    add_plane,
    flat_white,
    label_renderer,
    mesh,
    viewport,
)

from blendtorch import btb
from blendtorch.labels import warp

POSE = {"location": (6, -5, 4), "rotation": (1.13, 0.1, 0.87)}


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def paint(obj, seed):
    """Random colours of faces' corners, smooth over each face, that move with the object."""
    colors = np.ones((len(obj.data.loops), 4), np.float32)
    colors[:, :3] = np.random.default_rng(seed).uniform(0.1, 0.9, (len(colors), 3))
    attribute = obj.data.color_attributes.new("paint", "FLOAT_COLOR", "CORNER")
    attribute.data.foreach_set("color", colors.ravel())
    obj.data.color_attributes.active_color = attribute


def move(obj, camera, what):
    if what in ("object", "both"):
        obj.location.x += 0.4
        obj.rotation_euler.z += 0.15
    if what in ("camera", "both"):
        camera.location.x -= 0.3
        camera.rotation_euler.z += 0.02
    if what == "deformation":
        obj.data.shape_keys.key_blocks["bent"].value = 1
    if what == "hierarchy":
        obj.parent.rotation_euler.z += 0.4


@pytest.mark.parametrize("what", ["object", "camera", "both", "deformation", "hierarchy", "nothing"])
@pytest.mark.parametrize("kind", [{}, {"kind": "ORTHO", "ortho_scale": 8}])
def test_flow_warps_one_picture_onto_the_next(what, kind):
    """Less than 1 % of the pixels that are not occluded differ, forward and backward, in pictures of painted things."""
    camera = add_camera(**POSE, **kind)
    ground = add_plane("ground", x=(-30, 30), y=(-30, 30), z=-1)
    cube = add_cube("cube", rotation=(0.1, 0.2, 0.3))
    cube.parent = add("parent", None)
    for i, obj in enumerate((ground, cube, add_cube("other", (-1, 2, 0), 0.7))):
        paint(obj, i)
    cube.shape_key_add(name="Basis")
    bent = cube.shape_key_add(name="bent")
    for i in (1, 3, 5, 7):
        bent.data[i].co.x += 0.6
    bent.value = 0
    flat_white()
    viewport().shading.color_type = "VERTEX"
    picture = btb.OffScreenRenderer(btb.Camera(shape=(240, 320)), mode="rgb", samples=1)
    labels = label_renderer("ids", "flow", shape=(240, 320))
    before, labels_before = picture.render(), labels.render()
    assert np.isnan(labels_before["flow_forward"]).all()
    assert labels_before["occluded_forward"].all()
    move(cube, camera, what)
    after, drawn = picture.render(), labels.render()
    for direction, here, there in (("backward", after, before), ("forward", before, after)):
        flow, occluded = drawn[f"flow_{direction}"], drawn[f"occluded_{direction}"]
        warped, valid = warp(there, flow)
        seen = ~occluded
        assert not (seen & ~valid).any(), "what is seen in the other picture lies within it"
        assert seen.mean() > 0.7
        difference = np.abs(warped.astype(int) - here).max(axis=-1)
        assert (difference[seen] > 16).mean() < 0.01
        if what == "nothing":
            np.testing.assert_allclose(flow[seen], 0, atol=1e-3)
            assert seen.sum() == (drawn["ids"] > 0).sum()
        else:
            assert np.abs(flow[seen]).max() > 3
            moved = (np.abs(here.astype(int) - there).max(axis=-1) > 16)[seen]
            assert moved.mean() > 0.02, "without the flow they differ"


def test_flow_is_the_displacement_of_each_point(scene):
    """A plane across the view that moves by a metre: as many pixels as the projection says, with y down."""
    add_camera(kind="ORTHO", ortho_scale=8)
    plane = add_plane("plane", x=(-2, 2), y=(-2, 2))
    labels = label_renderer("ids", "flow", shape=(64, 64))
    labels.render()
    plane.location = (0.5, 1, 0)
    drawn = labels.render()
    seen = drawn["ids"] > 0
    np.testing.assert_allclose(drawn["flow_backward"][seen], np.tile((-4, 8), (seen.sum(), 1)), atol=1e-3)
    there = np.isfinite(drawn["flow_forward"][..., 0])
    np.testing.assert_allclose(drawn["flow_forward"][there], np.tile((4, -8), (there.sum(), 1)), atol=1e-3)
    assert there.sum() == seen.sum()
    assert not drawn["occluded_backward"][seen].any()


def test_flow_of_a_mesh_that_got_other_corners_is_unknown():
    add_camera()
    cube = add_cube()
    add_cube("other", location=(3, 0, 0), half=0.5)
    labels = label_renderer("ids", "flow")
    labels.render()
    cube.data = mesh([(-1, -1, 0), (1, -1, 0), (0, 1, 0)], [(0, 1, 2)])
    drawn = labels.render()
    changed = drawn["ids"] == 1
    assert changed.sum() > 50
    assert np.isnan(drawn["flow_backward"][changed]).all()
    assert drawn["occluded_backward"][changed].all()
    assert np.isfinite(drawn["flow_backward"][drawn["ids"] == 2]).all()


def test_flow_knows_instances_again():
    add_camera()
    leaf = add_cube("leaf", half=0.3, location=(0, 0, -50))
    tree = add_plane("tree", x=(-2, 2), y=(-2, 2))
    add_geometry_instances(tree, leaf)
    labels = label_renderer("ids", "flow")
    labels.render()
    tree.location.x = 0.5
    drawn = labels.render()
    leaves = drawn["ids"] > 2  # beyond the two objects themselves
    assert leaves.sum() > 100
    flow = drawn["flow_backward"][leaves]
    assert np.isfinite(flow).all()
    assert (flow[:, 0] < -3).all()


@pytest.mark.parametrize("first_is_empty", [True, False])
def test_a_picture_without_anything(first_is_empty):
    add_camera()
    cube = add_cube()
    labels = label_renderer("ids", "flow")
    cube.hide_set(first_is_empty)
    labels.render()
    cube.hide_set(not first_is_empty)
    drawn = labels.render()
    for direction in ("forward", "backward"):
        assert np.isnan(drawn[f"flow_{direction}"]).all()
        assert drawn[f"occluded_{direction}"].all()


def test_what_was_behind_the_camera_has_no_flow():
    add_camera()
    cube = add_cube(location=(0, 0, 14))
    add_cube("still", location=(3, 0, 0))
    labels = label_renderer("ids", "flow")
    labels.render()
    cube.location.z = 0
    drawn = labels.render()
    came = drawn["ids"] == 1
    assert came.sum() > 100
    assert np.isnan(drawn["flow_backward"][came]).all()
    assert np.isfinite(drawn["flow_backward"][drawn["ids"] == 2]).all()


def test_objects_are_known_by_more_than_their_names():
    """One that is removed and made anew under its name is another one; one that is renamed is the same."""
    add_camera()
    old, renamed = add_cube("a", location=(-2, 0, 0)), add_cube("b", location=(2, 0, 0))
    labels = label_renderer("ids", "flow")
    labels.render()
    bpy.data.objects.remove(old)
    add_cube("a", location=(-1.5, 0, 0))
    renamed.name, renamed.location.x = "c", 2.5
    bpy.context.scene.frame_set(bpy.context.scene.frame_current + 1)
    drawn = labels.render()
    assert labels.instances.objects == ("a", "c")
    assert np.isnan(drawn["flow_backward"][drawn["ids"] == 1]).all()
    assert (drawn["flow_backward"][drawn["ids"] == 2][:, 0] < -3).all()
    velocity = labels.annotate()["instances"]["velocity_world"]
    assert np.isnan(velocity[0]).all()
    np.testing.assert_allclose(velocity[1], (0.5 * 24, 0, 0), atol=1e-3)


def test_objects_that_share_a_mesh_now_and_did_not_before():
    add_camera()
    first, second = add_cube("a", location=(-2, 0, 0)), add_cube("b", location=(2, 0, 0))
    second.data.vertices[7].co.x += 1
    labels = label_renderer("ids", "flow")
    labels.render()
    second.data = first.data
    drawn = labels.render()
    flow = drawn["flow_backward"]
    np.testing.assert_allclose(flow[drawn["ids"] == 1], 0, atol=1e-3)
    assert flow[drawn["ids"] == 2][:, 0].max() > 2, "its corner was elsewhere"
