"""Fields of Blender's interface that are found by what holds them, and again by their data paths."""

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch.properties import to_setup
from addon_blendtorch.rna_property import find_field, find_path
from blendtorch.btb import randomize
from blendtorch.btb.randomize import Target
from blendtorch.errors import SceneError


@pytest.fixture(autouse=True)
def addon():
    addon_blendtorch.register()
    yield
    addon_blendtorch.unregister()


def with_nodes(kind: str) -> bpy.types.ID:
    """A new data-block that has a node tree of its own."""
    if kind == "textures":
        block = bpy.data.textures.new("New", "CLOUDS")
    elif kind == "lights":
        block = bpy.data.lights.new("New", "POINT")
    else:
        block = getattr(bpy.data, kind).new("New")
    block.use_nodes = True
    return block


@pytest.mark.parametrize("kind", ["textures", "lights", "linestyles", "materials", "worlds"])
def test_an_input_of_a_node_is_found_by_what_has_the_node_tree(kind):
    block = with_nodes(kind)
    nodes = block.node_tree.nodes
    socket = next(one for one in (*nodes[0].inputs, *nodes[-1].inputs) if hasattr(one, "default_value"))
    field = find_field(socket, "default_value")
    assert field.target == Target(block.id_type, "New")
    assert field.data_path == f"node_tree.{socket.path_from_id()}.default_value"
    assert find_path(block, field.data_path).owner == socket
    bpy.ops.blendtorch.randomize_property(target_type=block.id_type, target_name="New", data_path=field.data_path)
    assert randomize.check(to_setup(bpy.context.scene).randomizers) == []


@pytest.mark.parametrize("key", ['a"b', "a[", "a\\b", 'a["b"]', "a\nb", "ä.b"])
def test_keys_of_custom_properties_are_escaped_in_paths(key):
    cube = bpy.data.objects["Cube"]
    cube[key] = 0.5
    field = find_field(cube, key)
    assert cube.path_resolve(field.data_path) == 0.5
    found = find_path(cube, field.data_path)
    assert (found.data_path, found.value) == (field.data_path, 0.5)
    assert found.label == f"Cube: {key}"


def test_keys_inside_parts_of_a_data_block():
    modifier = bpy.data.objects["Cube"].modifiers.new('my "own"', "BEVEL")
    field = find_field(modifier, "width")
    assert find_path(bpy.data.objects["Cube"], field.data_path).owner == modifier


def test_what_blender_gives_no_path_for_says_so():
    curves = with_nodes("materials").node_tree.nodes.new("ShaderNodeRGBCurve")
    point = curves.mapping.curves[0].points[0]
    with pytest.raises(ValueError, match="path"):
        point.path_from_id()
    with pytest.raises(SceneError, match="no data path"):
        find_field(point, "location")
