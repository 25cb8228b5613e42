"""LabelRenderer against another renderer, Cycles: its object index and depth passes, on scenes of everything."""

import bpy
import numpy as np
import pytest
from label_scenes import add, add_camera, add_cube, add_geometry_instances, add_plane, add_sphere, instance_of

from blendtorch import btb
from blendtorch.btb.frame_files import save_passes, set_image_settings
from blendtorch.btb.temporary_settings import TemporarySettings

SHAPE = (144, 192)


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def scene_of_everything(seed):
    """Objects of all kinds at random places; each has a pass index of its own, the background has 0."""
    rng = np.random.default_rng(seed)
    add_plane("ground", x=(-30, 30), y=(-30, 30), z=-2)
    for i in range(6):
        cube = add_cube(f"cube {i}", rng.uniform(-3, 3, 3), rng.uniform(0.4, 1), rng.uniform(0, 6, 3))
        cube.scale = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5, 3)
    cube.modifiers.new("subdivision", "SUBSURF").levels = 2
    cube.modifiers["subdivision"].render_levels = 2
    add_sphere("sphere", rng.uniform(-2, 2, 3), segments=64)
    text = bpy.data.curves.new("text", "FONT")
    text.body, text.extrude, text.size = "Label", 0.1, 1.5
    add("text", text).location = (-2, 2, 1)
    ball = bpy.data.metaballs.new("ball")
    ball.elements.new().radius = 1.2
    ball.resolution = ball.render_resolution = 0.2
    add("ball", ball).location = (2, 2, 0)
    leaf = add_cube("leaf", half=0.2, location=(-3, -3, -1))
    add_geometry_instances(add_plane("tree", x=(-3, 3), y=(-3, -1), z=1), leaf)
    instance_of(add_cube("part", half=0.4), location=(2, -1, 1.5))
    hidden = add_cube("hidden", half=1)
    hidden.hide_render = True
    for i, obj in enumerate(bpy.data.objects, start=1):
        obj.pass_index = i


def render_by_cycles():
    """Depth, H x W metres, and the object index of each pixel."""
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    view_layer.use_pass_object_index = True
    frames = btb.FrameRenderer(btb.Camera(shape=SHAPE), ("depth",), engine="CYCLES", noise_free=True)
    depth = frames.render()["depth"]
    with TemporarySettings() as change:
        set_image_settings(change, scene)
        channels = save_passes(scene).channels
    (index,) = [values for name, values in channels.items() if ".IndexOB." in name or ".Object Index." in name]
    return depth, np.rint(index).astype(int)


@pytest.mark.parametrize("kind", [{}, {"kind": "ORTHO", "ortho_scale": 10}, {"shift_x": 0.1, "lens": 30}])
@pytest.mark.parametrize("seed", [1, 2])
def test_ids_and_depth_agree_with_cycles(seed, kind):
    add_camera(location=(6, -6, 5), rotation=(1.05, 0, 0.785), **kind)
    scene_of_everything(seed)
    depth, index = render_by_cycles()
    labels = btb.LabelRenderer(btb.Camera(shape=SHAPE), ("ids", "depth"), hidden_in_renders=False)
    drawn = labels.render()
    instances = labels.instances
    assert "hidden" not in instances.objects
    index_of = np.zeros(int(instances.ids.max()) + 1, int)
    index_of[instances.ids] = [bpy.data.objects[name].pass_index for name in instances.objects]
    expected = index_of[drawn["ids"]]
    assert len(np.unique(index)) >= 10
    inner = ~(on_edge(index) | on_edge(drawn["ids"]))
    assert inner.mean() > 0.7
    assert (expected == index)[inner].mean() >= 0.995
    same_depth = np.isclose(drawn["depth"], depth, rtol=1e-3) | (np.isinf(drawn["depth"]) & np.isinf(depth))
    assert same_depth[inner].mean() >= 0.995
    # Edges included, there is little that differs: both look along the pixels' centres.
    assert (expected == index).mean() >= 0.98


def on_edge(image):
    """Pixels that differ from one of their eight neighbours."""
    padded = np.pad(image, 1, mode="edge")
    height, width = image.shape
    shifted = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return (np.stack(shifted) != image).any(axis=0)
