"""Any property by its data path."""

import bpy
import numpy as np
import pytest
from randomize_scenes import CUBE, apply, bits

from blendtorch.btb import randomize
from blendtorch.btb.randomize import Choice, Constant, Property, Target, Uniform
from blendtorch.errors import RandomizeError

SCENE = Target("SCENE")
BASE = 'node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value'


@pytest.fixture
def cube():
    obj = bpy.data.objects["Cube"]
    bevel = obj.modifiers.new('A "bevel"', "BEVEL")
    bevel.width = 0.1
    return obj


def check(target, path, distribution, expected, index=-1):
    """The property is as expected while it is applied, and as before afterwards."""
    owner = {"OBJECT": bpy.data.objects, "MATERIAL": bpy.data.materials, "MESH": bpy.data.meshes}
    block = owner[target.type][target.name] if target.name else bpy.context.scene
    before = bits(block.path_resolve(path))
    entry = Property(target, path, distribution, index)
    assert not randomize.check([entry])
    with apply([entry]):
        value = block.path_resolve(path)
        value = tuple(value) if hasattr(value, "__len__") and not isinstance(value, str | set) else value
        assert value == expected
    assert bits(block.path_resolve(path)) == before


@pytest.mark.parametrize(
    ("target", "path", "distribution", "expected", "index"),
    [
        (CUBE, "location", Constant(2), (2, 2, 2), -1),
        (CUBE, "location", Constant((1, 2, 3)), (1, 2, 3), -1),
        (CUBE, "location", Constant(2), (0, 2, 0), 1),
        (CUBE, "hide_render", Constant(True), True, -1),
        (CUBE, "hide_render", Constant(1), True, -1),
        (CUBE, "pass_index", Constant(6.6), 7, -1),
        (CUBE, "rotation_mode", Choice(("ZYX",)), "ZYX", -1),
        (CUBE, "lock_location", Constant((True, False, True)), (True, False, True), -1),
        (CUBE, "lock_location", Constant(1), (False, False, True), 2),
        (CUBE, "data.name", Choice(("Mesh of a kind",)), "Mesh of a kind", -1),
        (CUBE, 'modifiers["A \\"bevel\\""].width', Constant(0.5), 0.5, -1),
        (CUBE, "modifiers[0].segments", Constant(3), 3, -1),
        (CUBE, "material_slots[0].material.roughness", Constant(0.25), 0.25, -1),
        (Target("MATERIAL", "Material"), BASE, Constant((0, 0.5, 1, 1)), (0, 0.5, 1, 1), -1),
        (Target("MESH", "Cube"), "vertices[3].co", Constant(0.5), (0.5, 0.5, 0.5), -1),
        (SCENE, "render.resolution_x", Uniform(300, 300), 300, -1),
        (SCENE, "view_settings.exposure", Constant(1.5), 1.5, -1),
        (SCENE, "tool_settings.snap_elements", Choice([["VERTEX", "EDGE"]]), {"VERTEX", "EDGE"}, -1),
    ],
)
def test_sets_and_puts_back(cube, target, path, distribution, expected, index):
    check(target, path, distribution, expected, index)


def test_a_component_in_the_path(cube):
    with apply([Property(CUBE, "location[2]", Constant(4))]):
        assert tuple(cube.location) == (0, 0, 4)


def test_numbers_are_drawn_for_each_component(cube):
    with apply([Property(CUBE, "location", Uniform(0, 1))]):
        np.testing.assert_array_equal(cube.location, np.random.default_rng([5, 0]).random(3).astype(np.float32))


def test_a_camera_by_its_data_or_its_object():
    bpy.data.objects["Camera"].name = "Eye"
    camera = bpy.data.cameras["Camera"]
    for name in ("", "Camera", "Eye"):
        with apply([Property(Target("CAMERA", name), "lens", Constant(33))]):
            assert camera.lens == 33
        assert camera.lens == 50


def test_what_depends_on_it_comes_back_to_the_bit():
    camera = bpy.data.cameras["Camera"]
    camera.lens = 37.3
    before = [bits(value) for value in (camera.lens, camera.angle, camera.angle_x, camera.angle_y)]
    for index in range(20):
        with apply([Property(Target("CAMERA"), "angle", Uniform(0.2, 2))], index):
            assert camera.lens != 37.3
        assert [bits(value) for value in (camera.lens, camera.angle, camera.angle_x, camera.angle_y)] == before


def test_dimensions(cube):
    cube.scale = (0.1, 0.7, 1.3)
    bpy.context.view_layer.update()
    before = bits(cube.scale)
    with apply([Property(CUBE, "dimensions", Uniform(1, 5))]):
        assert bits(cube.scale) != before
    assert bits(cube.scale) == before


def test_one_on_a_library_of_node_groups():
    group = bpy.data.node_groups.new("Group", "ShaderNodeTree")
    node = group.nodes.new("ShaderNodeValue")
    node.outputs[0].default_value = 0.5
    with apply([Property(Target("NODETREE", "Group"), 'nodes["Value"].outputs[0].default_value', Constant(3))]):
        assert node.outputs[0].default_value == 3
    assert node.outputs[0].default_value == 0.5


@pytest.mark.parametrize("path", ['modifiers["GN"]["Socket_2"]', 'modifiers["GN"].properties.inputs.Socket_2.value'])
def test_inputs_of_geometry_nodes_by_the_path_of_any_blender(path):
    cube = bpy.data.objects["Cube"]
    group = bpy.data.node_groups.new("Move", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Offset", in_out="INPUT", socket_type="NodeSocketFloat")
    given, made = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    move = group.nodes.new("GeometryNodeTransform")
    group.links.new(given.outputs["Geometry"], move.inputs["Geometry"])
    group.links.new(given.outputs["Offset"], move.inputs["Translation"])
    group.links.new(move.outputs["Geometry"], made.inputs["Geometry"])
    cube.modifiers.new("GN", "NODES").node_group = group
    bpy.context.view_layer.update()

    def lowest():
        evaluated = cube.evaluated_get(bpy.context.evaluated_depsgraph_get())
        return min(vertex.co.z for vertex in evaluated.data.vertices)

    assert lowest() == -1
    with apply([Property(CUBE, path, Constant(5))]):
        assert lowest() == 4
    assert lowest() == -1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("path", "distribution", "words"),
    [
        ("locatoin", Constant(1), ["has no `locatoin`", '"location"']),
        ('modifiers["Bevl"].width', Constant(1), ['has no ["Bevl"]', "bevel"]),
        ("modifiers[7].width", Constant(1), ["has no [7]"]),
        ("modifiers[0].withd", Constant(1), ["has no `withd`", '"width"', "Bevel"]),
        ('["speed"]', Constant(1), ['no custom property "speed"', '"pace"']),
        ("data", Constant(1), ["holds others"]),
        ("modifiers", Constant(1), ["holds others"]),
        ("matrix_world", Constant(1), ["is a matrix"]),
        ("type", Choice(("MESH",)), ["read-only"]),
        ("location.x", Constant(1), ["no properties of its own"]),
        ("parent.location", Constant(1), ["parent"]),
        ("bpy.data.objects['Cube'].location", Constant(1), ["begins after the data block"]),
        ("no path!", Constant(1), ["is no data path"]),
        ("", Constant(1), ["is no data path"]),
        ("location", Constant((1, 2)), ["of 2 components, but there are 3"]),
        ("location", Constant("a"), ["expected a number"]),
        ("location[5]", Constant(1), ["has 3 components"]),
        ("pass_index", Constant(-1), ["out of the range 0 to 32767"]),
        ("pass_index", Uniform(0, 40_000), ["out of the range"]),
        ("pass_index[0]", Constant(1), ["single value"]),
        ('["count"]', Constant(2**31), ["2147483648 is out of the range -2147483648 to 2147483647"]),
        ('["count"]', Constant(1e300), ["out of the range"]),
        ("location", Constant(1e300), ["1e+300 is out of the range"]),
        ("hide_render", Constant(2), ["out of the range 0 to 1"]),
        ("rotation_mode", Choice(("XYX",)), ['there is no "XYX"', '"XYZ"']),
        ("rotation_mode", Constant(1), ["expected a text"]),
        ('["pace"]', Constant(9), ["out of the range 0 to 5"]),
    ],
)
def test_what_is_wrong_is_named_with_what_there_is(cube, path, distribution, words):
    cube["pace"], cube["count"] = 1.0, 1
    cube.id_properties_ui("pace").update(min=0, max=5)
    (error,) = randomize.check([Property(CUBE, path, distribution)])
    for part in ['Property of object "Cube"', *words]:
        assert part in str(error)


def test_a_property_that_went_away_while_it_ran(cube):
    entry = Property(CUBE, "modifiers[0].width", Constant(1))
    with apply([entry]):
        pass
    cube.modifiers.clear()
    with pytest.raises(RandomizeError, match=r"has no \[0\]"):
        apply([entry])


def test_grease_pencils_of_any_blender():
    drawings = getattr(bpy.data, "grease_pencils_v3", None) or bpy.data.grease_pencils
    drawing = drawings.new("Drawing")
    drawing["wear"] = 0.0
    with apply([Property(Target(drawing.id_type, "Drawing"), '["wear"]', Constant(0.5))]):
        assert drawing["wear"] == 0.5
    assert drawing["wear"] == 0.0
