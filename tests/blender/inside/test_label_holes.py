"""Holes that transparent materials make in labels."""

import logging

import bpy
import numpy as np
import pytest
from label_scenes import SHAPE, add, add_camera, add_plane, draw_labels, mesh

from blendtorch import btb


@pytest.fixture(autouse=True)
def scene():
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return bpy.context.scene


def material_with_alpha(image=None, alpha=None, **node_settings):
    material = bpy.data.materials.new("material")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    if alpha is not None:
        shader.inputs["Alpha"].default_value = alpha
    if image is not None:
        node = nodes.new("ShaderNodeTexImage")
        node.image = image
        for name, value in node_settings.items():
            setattr(node, name, value)
        links.new(node.outputs["Alpha"], shader.inputs["Alpha"])
    emission = shader.inputs["Emission Color"]
    emission.default_value, shader.inputs["Emission Strength"].default_value = (1, 1, 1, 1), 1
    return material


def disc_image(size=64):
    """An image that is opaque within a disc, off its middle."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    alpha = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.3**2).astype(np.float32)
    image = bpy.data.images.new("disc", size, size, alpha=True)
    image.pixels.foreach_set(np.stack([alpha * 0 + 1] * 3 + [alpha], axis=-1).ravel())
    image.update()
    return image


def add_card(material):
    card = add_plane("card", x=(-3, 3), y=(-3, 3))
    uv = card.data.uv_layers.new(name="map")
    uv.uv.foreach_set("vector", np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32).ravel())
    card.data.materials.append(material)
    return card


@pytest.mark.parametrize("interpolation", ["Linear", "Closest"])
def test_an_image_makes_holes_where_the_rendered_picture_has_them(interpolation):
    add_camera()
    add_card(material_with_alpha(disc_image(), interpolation=interpolation))
    assert (draw_labels()[0]["ids"] > 0).mean() > 0.6, "in Solid there are no holes"
    drawn, renderer = draw_labels("ids", "depth", "flow", alpha_threshold=0.5)
    seen = drawn["ids"] > 0
    assert 0.1 < seen.mean() < 0.3
    np.testing.assert_array_equal(np.isfinite(drawn["depth"]), seen)
    picture = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgb", samples=1)
    picture.set_render_style("RENDERED")
    bpy.context.scene.world = None
    # One sample of EEVEE lies somewhere in the pixel, not at its centre.
    assert ((picture.render()[..., 0] > 127) != seen).mean() < 0.015
    table = renderer.annotate()["instances"]
    np.testing.assert_array_equal(table["box"], table["box_amodal"])
    assert table["visible_fraction"].tolist() == [1]
    moved = renderer.render()
    np.testing.assert_array_equal(np.isfinite(moved["flow_backward"][..., 0]), seen)


def test_transparent_materials_are_not_there_and_slots_are_told_apart():
    add_camera()
    card = add("card", mesh([(x, y, 0) for x in (-3, 0, 3) for y in (-2, 2)], [(0, 2, 3, 1), (2, 4, 5, 3)]))
    card.data.materials.append(material_with_alpha(alpha=0.2))
    card.data.materials.append(material_with_alpha(alpha=0.8))
    card.data.polygons[1].material_index = 1
    solid = draw_labels()[0]["ids"] > 0
    holes = draw_labels(alpha_threshold=0.5)[0]["ids"] > 0
    middle = SHAPE[1] // 2
    assert holes[:, : middle - 1].sum() == 0
    np.testing.assert_array_equal(holes[:, middle + 1 :], solid[:, middle + 1 :])
    card.data.materials[0], card.data.materials[1] = card.data.materials[1], None
    np.testing.assert_array_equal(draw_labels(alpha_threshold=0.5)[0]["ids"] > 0, solid)


def test_what_makes_a_material_transparent_and_cannot_be_followed_is_said_once(caplog):
    add_camera()
    material = material_with_alpha()
    nodes = material.node_tree.nodes
    noise = nodes.new("ShaderNodeTexNoise")
    material.node_tree.links.new(noise.outputs[0], nodes["Principled BSDF"].inputs["Alpha"])
    add_card(material)
    with caplog.at_level(logging.WARNING):
        drawn, renderer = draw_labels(alpha_threshold=0.5)
        renderer.render()
    assert (drawn["ids"] > 0).mean() > 0.6
    assert [record.message for record in caplog.records] == [
        "material 'material' counts as opaque in labels: its Alpha comes from a 'Noise Texture' node, "
        "expected an Image Texture"
    ]
