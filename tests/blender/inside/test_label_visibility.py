"""What is hidden, in the viewport and in renders, is not there."""

import bpy
import numpy as np
import pytest
from label_scenes import (
    SHAPE,
    add_camera,
    add_cube,
    add_geometry_instances,
    add_plane,
    assert_same_as_picture,
    draw_labels,
    instance_of,
    viewport,
)

from blendtorch import btb


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def hide_by_eye(obj):
    obj.hide_set(True)


def hide_in_viewports(obj):
    obj.hide_viewport = True


def hide_collection_by_eye(obj):
    collection = bpy.data.collections.new("hidden")
    bpy.context.scene.collection.children.link(collection)
    bpy.context.scene.collection.objects.unlink(obj)
    collection.objects.link(obj)
    bpy.context.view_layer.layer_collection.children["hidden"].hide_viewport = True


def show_as_wire(obj):
    obj.display_type = "WIRE"


def show_as_bounds(obj):
    obj.display_type = "BOUNDS"


def leave_out_of_local_view(obj):
    space = viewport()
    bpy.context.view_layer.objects.active = bpy.data.objects["seen"]
    for other in bpy.context.view_layer.objects:
        other.select_set(other.name == "seen")
    area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(area=area, region=region, space_data=space):
        bpy.ops.view3d.localview(frame_selected=False)
    assert space.local_view is not None


HIDING = [
    hide_by_eye,
    hide_in_viewports,
    hide_collection_by_eye,
    show_as_wire,
    show_as_bounds,
    leave_out_of_local_view,
]


@pytest.mark.parametrize("hide", HIDING)
def test_what_the_viewport_does_not_show_is_not_there(hide):
    add_camera()
    add_cube("seen", location=(-2, 0, 0))
    hide(add_cube("unseen", location=(2, 0, 0)))
    drawn, renderer = draw_labels()
    assert renderer.instances.objects == ("seen",)
    assert (drawn["ids"] > 0).sum() > 100
    if hide not in (show_as_wire, show_as_bounds):  # which draw lines
        assert_same_as_picture(drawn["ids"])


@pytest.mark.parametrize("by", ["object", "collection"])
def test_what_is_hidden_from_renders_is_there_unless_told_otherwise(by, scene):
    add_camera()
    add_cube("seen", location=(-2, 0, 0))
    hidden = add_cube("hidden", location=(2, 0, 0))
    if by == "object":
        hidden.hide_render = True
    else:
        collection = bpy.data.collections.new("hidden")
        scene.collection.children.link(collection)
        scene.collection.objects.unlink(hidden)
        collection.objects.link(hidden)
        collection.hide_render = True
    drawn, renderer = draw_labels()
    assert renderer.instances.objects == ("hidden", "seen")
    assert_same_as_picture(drawn["ids"])
    _, renderer = draw_labels(hidden_in_renders=False)
    assert renderer.instances.objects == ("seen",)
    assert renderer.instances.ids.tolist() == [2]


def hidden_source_scattered():
    add_geometry_instances(add_plane("tree", x=(-2, 2), y=(-2, -1)), hide_in_renders(add_cube("leaf", half=0.2)))


def hidden_instancer():
    hide_in_renders(instance_of(add_cube("part"), location=(0, 1, 0)))


def hidden_inside_of_a_collection():
    instance_of(hide_in_renders(add_cube("part")), add_cube("shown", location=(2, 0, 0), half=0.5))


def not_for_cameras():
    add_cube("unseen").visible_camera = False


def hide_in_renders(obj):
    obj.hide_render = True
    return obj


@pytest.mark.parametrize(
    "make", [hidden_source_scattered, hidden_instancer, hidden_inside_of_a_collection, not_for_cameras]
)
def test_without_what_is_hidden_from_renders_labels_are_those_of_a_render(make):
    add_camera()
    add_cube("seen", location=(-3, 0, 0), half=0.5)
    make()
    bpy.context.view_layer.update()
    frames = btb.FrameRenderer(btb.Camera(shape=SHAPE), ("depth",), engine="CYCLES", noise_free=True)
    rendered = np.isfinite(frames.render()["depth"])
    drawn, _ = draw_labels("ids", "depth", hidden_in_renders=False)
    assert ((drawn["ids"] > 0) != rendered).mean() < 2e-3
