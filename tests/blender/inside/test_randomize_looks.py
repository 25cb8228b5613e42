"""Materials, lights and worlds: what is set, and that pictures show it."""

import bpy
import numpy as np
import pytest
from randomize_scenes import CUBE, apply, prepare, write_image

from blendtorch import btb
from blendtorch.btb import randomize
from blendtorch.btb.randomize import Choice, Constant, Target, Uniform
from blendtorch.errors import RandomizeError

MATERIAL = Target("MATERIAL", "Material")


@pytest.fixture
def shader(tmp_path):
    prepare(tmp_path)
    return bpy.data.materials["Material"].node_tree.nodes["Principled BSDF"]


def test_color_takes_the_place_of_what_is_linked(shader):
    socket = shader.inputs["Base Color"]
    with apply([randomize.MaterialColor(MATERIAL, Constant((0.25, 0.5, 0.75)))]):
        assert not socket.is_linked
        assert tuple(socket.default_value) == (0.25, 0.5, 0.75, 1)
        assert tuple(bpy.data.materials["Material"].diffuse_color) == (0.25, 0.5, 0.75, 1)
    assert socket.links[0].from_node.name == "Checker Texture"


def test_hue_saturation_value(shader):
    with apply([randomize.MaterialColor(CUBE, Constant((1 / 3, 1, 0.5)), "HSV")]):
        np.testing.assert_allclose(bpy.data.objects["Cube"].color[:3], (0, 0.5, 0), atol=1e-6)


def test_each_material_once():
    cube = bpy.data.objects["Cube"]
    second = bpy.data.materials.new("Second")
    for material in (second, bpy.data.materials["Material"], None):
        cube.data.materials.append(material)
    with apply([randomize.MaterialRoughness(CUBE, Uniform(0, 1))]):
        drawn = [bpy.data.materials["Material"].roughness, second.roughness]
    np.testing.assert_allclose(drawn, np.random.default_rng([5, 0]).random(2), rtol=1e-6)


def test_metallic(shader):
    with apply([randomize.MaterialMetallic(MATERIAL, Choice((1.0,)))]):
        assert shader.inputs["Metallic"].default_value == 1


def test_a_material_without_principled(shader):
    bpy.data.materials["Material"].node_tree.nodes.remove(shader)
    with pytest.raises(RandomizeError, match="no Principled BSDF"):
        apply([randomize.MaterialColor(MATERIAL, Constant(1))])


def test_texture(shader, tmp_path):
    names = set()
    for index in range(20):
        with apply([randomize.MaterialTexture(CUBE, str(tmp_path))], index):
            node = shader.inputs["Base Color"].links[0].from_node
            names.add(node.image.name)
            assert bpy.data.materials["Material"].node_tree.nodes.active == node
    assert names == {"0.png", "1.png", "2.png"}


def test_an_image_that_is_loaded_already_stays(shader, tmp_path):
    image = bpy.data.images.load(str(tmp_path / "1.png"))
    count = len(bpy.data.images)
    for index in range(6):
        with apply([randomize.MaterialTexture(CUBE, str(tmp_path))], index):
            pass
    assert len(bpy.data.images) == count
    assert bpy.data.images[image.name].filepath == image.filepath


def test_lights():
    light = bpy.data.lights["Light"]
    entries = [
        randomize.LightEnergy(Target("LIGHT", "Light"), Constant(77)),
        randomize.LightColor(Target("COLLECTION", "Collection"), Constant((1, 0.5, 0.25))),
    ]
    with apply(entries):
        assert light.energy == 77
        assert tuple(light.color) == (1, 0.5, 0.25)


def test_world(tmp_path):
    prepare(tmp_path)
    world = bpy.context.scene.world
    entries = [
        randomize.WorldImage(Target("WORLD"), str(tmp_path), strength=Constant(2), rotation=Constant(1)),
        randomize.WorldStrength(Target("WORLD", world.name), Constant(3)),
    ]
    with apply(entries[:1]):
        background = world.node_tree.get_output_node("ALL").inputs["Surface"].links[0].from_node
        texture = background.inputs["Color"].links[0].from_node
        assert texture.image.name in {"0.png", "1.png", "2.png"}
        assert background.inputs["Strength"].default_value == 2
        mapping = texture.inputs["Vector"].links[0].from_node
        assert tuple(mapping.inputs["Rotation"].default_value) == (0, 0, 1)
    with apply(entries):
        background = world.node_tree.get_output_node("ALL").inputs["Surface"].links[0].from_node
        assert background.inputs["Strength"].default_value == 3


def test_pictures_show_it():
    camera = btb.Camera(shape=(48, 64))
    renderer = btb.OffScreenRenderer(camera, mode="rgb")
    plain = renderer.render().copy()
    assert np.array_equal(plain, renderer.render())
    for entry in (
        randomize.MaterialColor(CUBE, Constant((1, 0, 0))),
        randomize.LocationInBox(CUBE, (1, 1, 1), (1, 1, 1)),
        randomize.Visibility(CUBE, 0.0),
        randomize.Property(Target("CAMERA"), "lens", Constant(25)),
    ):
        with apply([entry]):
            assert not np.array_equal(plain, renderer.render())
        assert np.array_equal(plain, renderer.render())


def test_the_name_of_an_image_is_of_no_account(tmp_path):
    # Names in any letter case, in an order that does not depend on the machine.
    for name in ("b.png", "A.PNG", "c.png"):
        write_image(tmp_path / name, 0.5)
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    from blendtorch.btb.randomize.images import images_in

    assert [path.name for path in images_in(str(tmp_path))] == ["A.PNG", "b.png", "c.png"]
