"""What users notice of the scene that no value of it tells: types of custom properties, selection, textures shown."""

import array
import contextlib

import bpy
import numpy as np
import pytest
from randomize_scenes import CUBE, apply, everything, prepare, text, write_image

from blendtorch.btb import compat, randomize
from blendtorch.btb.randomize import Constant, Property, Target

BEFORE = {
    "whole": 1,
    "fraction": 0.1,
    "flag": True,
    "word": "a",
    "wholes": [1, 2],
    "floats": array.array("f", (0.1, 0.2)),
    "doubles": [0.1, 0.2],
    "flags": [True, False],
    "group": {"a": 1, "b": 0.5},
}
AFTER = (0.5, 3, True, "b", (7, 0.5), (1, 2, 3), {"c": 1})


def custom(cube):
    """The custom properties with their types, and what their user interface is set to."""
    return {
        name: (type(value), getattr(value, "typecode", None), repr(plain(value)), ui(cube, name))
        for name, value in cube.items()
    }


def plain(value):
    return value.to_dict() if hasattr(value, "to_dict") else list(value) if hasattr(value, "typecode") else value


def ui(cube, name):
    try:
        return cube.id_properties_ui(name).as_dict()
    except TypeError:
        return None


@pytest.mark.parametrize("value", AFTER, ids=repr)
def test_custom_properties_keep_their_type_and_interface(value):
    cube = bpy.data.objects["Cube"]
    for name, before in BEFORE.items():
        cube[name] = before
    cube.id_properties_ui("whole").update(min=-1, max=7, soft_max=5, description="how many", default=2)
    cube.id_properties_ui("fraction").update(min=0, max=1, subtype="FACTOR", precision=2)
    cube.id_properties_ui("word").update(description="said")
    cube.id_properties_ui("flag").update(default=True)
    cube.id_properties_ui("floats").update(min=0, max=1, description="weights")
    before = custom(cube)
    changes = apply([])
    for name in BEFORE:
        with contextlib.suppress(TypeError):  # arrays of whole numbers and of flags refuse a fraction, half of it set
            changes.change(cube, f'["{name}"]', value)
    assert custom(cube) != before
    changes.restore()
    assert custom(cube) == before


def test_a_custom_property_that_was_taken_away_meanwhile():
    cube = bpy.data.objects["Cube"]
    cube["wear"] = 1
    with apply([text("def pre_frame(ctx): ctx.change(ctx.scene.objects['Cube'], '[\"wear\"]', 0.5)")]):
        del cube["wear"]
    assert cube["wear"] == 1
    assert type(cube["wear"]) is int


def selected():
    return {
        (scene.name, layer.name): ([obj.name for obj in layer.objects.selected], layer.objects.active)
        for scene in bpy.data.scenes
        for layer in scene.view_layers
    }


HIDING = {
    "randomizer": randomize.Visibility(Target("COLLECTION", "Collection"), 0.0),
    "property": Property(CUBE, "hide_viewport", Constant(True)),
    "not selectable": Property(CUBE, "hide_select", Constant(True)),
    "collection": "def pre_frame(ctx): ctx.change(ctx.scene.collection.children[0], 'hide_viewport', True)",
}


@pytest.mark.parametrize("hiding", HIDING)
def test_what_was_hidden_is_selected_again(hiding):
    scene, cube, light = bpy.context.scene, bpy.data.objects["Cube"], bpy.data.objects["Light"]
    second, third = scene.view_layers.new("Second"), scene.view_layers.new("Third")
    third.layer_collection.children["Collection"].exclude = True
    elsewhere = bpy.data.scenes.new("Elsewhere")
    elsewhere.collection.objects.link(cube)
    light.select_set(False)
    cube.select_set(True)
    second.objects.active = cube
    cube.select_set(True, view_layer=second)
    light.select_set(True, view_layer=second)
    cube.select_set(True, view_layer=elsewhere.view_layers[0])
    bpy.context.view_layer.update()
    before = selected()
    entry = HIDING[hiding]
    with apply([text(entry) if isinstance(entry, str) else entry]):
        assert selected() != before
        assert not cube.select_get()
    assert selected() == before


def test_selection_where_the_object_or_the_view_layer_went():
    scene, cube = bpy.context.scene, bpy.data.objects["Cube"]
    cube.select_set(True)
    second = scene.view_layers.new("Second")
    cube.select_set(True, view_layer=second)
    with apply([randomize.Visibility(CUBE, 0.0)]):
        scene.view_layers.remove(second)
        scene.collection.children[0].objects.unlink(cube)
    assert cube.name not in bpy.context.view_layer.objects
    with apply([randomize.Visibility(Target("OBJECT", "Light"), 0.0)]):
        bpy.data.objects.remove(bpy.data.objects["Light"])


def test_an_eye_that_was_opened_of_an_object_that_went():
    scene, cube = bpy.context.scene, bpy.data.objects["Cube"]
    cube.hide_set(True)
    with apply([randomize.Visibility(CUBE, 1.0)]):
        assert not cube.hide_get()
        scene.collection.children[0].objects.unlink(cube)


def shown(tree):
    return {node.name: node.show_texture for node in tree.nodes}, tree.nodes.active.name


@pytest.mark.parametrize("active", ["Principled BSDF", "Mine", "Other"])
def test_textures_are_shown_as_before(tmp_path, active):
    write_image(tmp_path / "0.png", 0.5)
    tree = bpy.data.materials["Material"].node_tree
    for name in ("Mine", "Other"):
        tree.nodes.new("ShaderNodeTexImage").name = name
    tree.nodes.active = tree.nodes["Mine"]
    tree.nodes.active = tree.nodes[active]
    if active == "Other":
        tree.nodes["Mine"].show_texture, tree.nodes["Other"].show_texture = True, False
    before = shown(tree)
    with apply([randomize.MaterialTexture(CUBE, str(tmp_path))]):
        added = tree.nodes.active
        assert [name for name, is_shown in shown(tree)[0].items() if is_shown] == [added.name]
        assert shown(tree) != before
    assert shown(tree) == before


def test_a_world_without_nodes(tmp_path):
    prepare(tmp_path)
    scene = bpy.context.scene
    world = scene.world = bpy.data.worlds.new("Plain")
    uses_nodes = compat.uses_nodes(world)  # from Blender 5 on all do

    def apply_once():
        with apply([randomize.WorldImage(Target("WORLD"), str(tmp_path))]):
            assert compat.uses_nodes(world)
            assert len(world.node_tree.nodes) > 2

    apply_once()
    assert compat.uses_nodes(world) == uses_nodes
    # Before Blender 5, what is left are the nodes that turning them on has made; there is no second set of them.
    assert len(world.node_tree.nodes) == 2
    before = everything()
    apply_once()
    assert everything() == before


def drive(cube):
    """The cube's x is that of the light; both are 0."""
    bpy.data.objects["Light"].location.x = 0
    cube["wear"] = 0.0
    for path, index in (("location", 0), ('["wear"]', -1)):
        driver = cube.driver_add(path, index).driver
        variable = driver.variables.new()
        variable.name, variable.type = "x", "TRANSFORMS"
        variable.targets[0].id, driver.expression = bpy.data.objects["Light"], "x"
    bpy.context.view_layer.update()


@pytest.mark.parametrize("path", ["location", '["wear"]'])
def test_a_driven_property_that_has_the_drawn_value_already_keeps_it(path):
    cube, light = bpy.data.objects["Cube"], bpy.data.objects["Light"]
    drive(cube)
    before = np.array(cube.path_resolve(path)).tolist()
    entries = [Property(CUBE, path, Constant(0.0)), Property(Target("OBJECT", "Light"), "location", Constant(5.0))]
    with apply(entries):
        assert np.array(cube.path_resolve(path)).tolist() == before
        assert light.location.x == 5
    assert np.array(cube.path_resolve(path)).tolist() == before
    light.location.x = 3
    bpy.context.view_layer.update()
    assert np.array(cube.path_resolve(path)).ravel()[0] == 3  # it drives again


@pytest.mark.parametrize("path", ["location", '["wear"]'])
def test_a_keyframed_property_that_has_the_drawn_value_already_keeps_it(path):
    scene, cube = bpy.context.scene, bpy.data.objects["Cube"]
    cube["wear"] = 0.0
    for frame, value in ((1, 0.0), (11, 10.0)):
        cube.location, cube["wear"] = (value,) * 3, value
        cube.keyframe_insert(path, frame=frame)
    scene.frame_set(1)
    cube.location, cube["wear"] = (0.0,) * 3, 0.0
    with apply([Property(CUBE, path, Constant(0.0))]) as changes:
        with changes.over_animation():
            scene.frame_set(11)  # in which 4.2 does not yet know that the curves are silent
        assert not np.any(cube.path_resolve(path))


def test_what_has_the_drawn_value_already_is_not_evaluated():
    updated = []

    def note(_scene, depsgraph):
        updated.extend(update.id.name for update in depsgraph.updates)

    cube = bpy.data.objects["Cube"]
    cube["wear"] = 0.5
    bpy.context.view_layer.update()
    bpy.app.handlers.depsgraph_update_post.append(note)
    try:
        with apply([Property(CUBE, "location", Constant(0.0)), Property(CUBE, '["wear"]', Constant(0.5))]) as changes:
            assert len(changes) == 0
    finally:
        bpy.app.handlers.depsgraph_update_post.remove(note)
    assert "Cube" not in updated
