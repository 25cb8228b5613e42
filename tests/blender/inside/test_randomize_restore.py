"""What randomizers change is as it was before, to the bit."""

import bpy
import pytest
from randomize_scenes import CUBE, PARTS, apply, bits, everything, examples, prepare

from blendtorch.btb import randomize
from blendtorch.btb.randomize import Choice, Constant, Target, Uniform
from blendtorch.errors import RandomizeError

COUNT = 29


@pytest.fixture
def scene(tmp_path):
    prepare(tmp_path)
    return bpy.context.scene


def differences(before):
    after = everything()
    return {
        key: (before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


def test_all_examples_are_counted(scene, tmp_path):
    assert len(examples(tmp_path)) == COUNT


@pytest.mark.parametrize("number", range(COUNT))
def test_one_changes_the_scene_and_puts_it_back(scene, tmp_path, number):
    before = everything()
    for index in range(2):
        changes = apply(examples(tmp_path)[number : number + 1], index)
        assert differences(before)
        changes.restore()
        assert not differences(before)
        changes.restore()
        assert not differences(before)


def test_all_together(scene, tmp_path):
    before = everything()
    for index in range(2):
        with apply(examples(tmp_path), index):
            assert len(differences(before)) > 100
        assert not differences(before)


def test_an_entry_that_fails_half_way(scene, tmp_path):
    before = everything()
    bad = randomize.Property(CUBE, "no_such_thing", Constant(1))
    with pytest.raises(RandomizeError, match="no_such_thing") as caught:
        apply([*examples(tmp_path), bad])
    assert caught.value.number == COUNT
    assert not differences(before)


def test_what_was_removed_meanwhile_is_not_missed(scene, tmp_path):
    changes = apply(examples(tmp_path))
    cube = bpy.data.objects["Cube"]
    bpy.data.objects.remove(cube)
    bpy.data.worlds.remove(bpy.data.worlds["World"])
    material = bpy.data.materials["Material"]
    material.node_tree.nodes.clear()
    changes.restore()
    assert bpy.data.objects["Part 1"].location[:] == (0, 0, 0)


def test_what_was_renamed_meanwhile_is_found(scene):
    cube = bpy.data.objects["Cube"]
    before = cube.location.copy()
    with apply([randomize.LocationInBox(CUBE)]):
        cube.name = "Other"
        bpy.data.objects["Floor"].name = "Cube"
    assert cube.location == before


def test_after_another_file_was_loaded_nothing_is_touched(scene):
    changes = apply([randomize.LocationInBox(CUBE)])
    bpy.ops.wm.read_factory_settings()
    before = everything()
    changes.restore()
    assert not differences(before)


def test_a_copy_puts_back_what_has_come_again(scene):
    cube = bpy.data.objects["Cube"]
    before = tuple(cube.location)
    changes = apply([randomize.LocationInBox(CUBE, (7, 7, 7), (8, 8, 8))])
    again = changes.copy()
    changes.restore()
    cube.location = (7.5, 7.5, 7.5)
    changes.restore()
    assert tuple(cube.location) == (7.5, 7.5, 7.5)
    again.restore()
    assert tuple(cube.location) == before


def test_evaluated_places_are_those_of_now(scene):
    part = bpy.data.objects["Part 1"]
    before = part.matrix_world.copy()
    with apply([randomize.LocationInBox(Target("OBJECT", "Parent"), (9, 9, 9), (9, 9, 9))]):
        assert part.matrix_world != before
    assert part.matrix_world == before


def test_hidden_by_its_eye(scene):
    cube = bpy.data.objects["Cube"]
    cube.hide_set(True)
    cube.hide_viewport = cube.hide_render = True
    before = everything()
    with apply([randomize.Visibility(CUBE, 1.0)]):
        assert not cube.hide_get()
        assert cube.visible_get()
        assert not cube.hide_render
    assert not differences(before)
    with apply([randomize.Visibility(CUBE, 0.0)]):
        assert cube.hide_render
        assert not cube.visible_get()
    assert not differences(before)


def test_a_scene_without_a_world(scene, tmp_path):
    bpy.data.worlds.remove(scene.world)
    before = everything()
    with apply(
        [randomize.WorldImage(Target("WORLD"), str(tmp_path)), randomize.WorldStrength(Target("WORLD"), Constant(2))]
    ):
        assert scene.world is not None
    assert not differences(before)
    with pytest.raises(RandomizeError, match="has no world"):
        apply([randomize.WorldStrength(Target("WORLD"), Constant(2))])


def test_a_material_without_nodes(scene):
    material = bpy.data.materials.new("Plain")
    bpy.data.objects["Floor"].data.materials.append(material)
    floor = Target("OBJECT", "Floor")
    before = everything()
    with apply([randomize.MaterialColor(floor, Constant((0.5, 0.25, 0.125)))]):
        assert material.diffuse_color[:3] == (0.5, 0.25, 0.125)
        assert bpy.data.objects["Floor"].color[:3] == (0.5, 0.25, 0.125)
    assert not differences(before)


def test_arrays_keep_their_type(scene):
    cube = bpy.data.objects["Cube"]
    cube["whole"], cube["flag"], cube["word"] = [1, 2], True, "a"
    before = everything()
    entries = [
        randomize.Property(CUBE, '["whole"]', Uniform(5, 9)),
        randomize.Property(CUBE, '["flag"]', Constant(False)),
        randomize.Property(CUBE, '["word"]', Choice(("b",))),
        randomize.Property(CUBE, '["many"]', Constant(4), index=1),
    ]
    with apply(entries):
        assert cube["whole"].typecode == "i"
        assert cube["flag"] is False
        assert cube["word"] == "b"
        assert list(cube["many"]) == [0.1, 4.0, 0.3]
    assert not differences(before)


def test_a_collection_of_parts_gets_a_draw_each(scene):
    with apply([randomize.LocationInBox(PARTS)]):
        places = {bpy.data.objects[f"Part {i}"].matrix_world.translation.to_tuple() for i in range(4)}
    assert len(places) == 4


def test_an_undo_in_between(scene):
    cube = bpy.data.objects["Cube"]
    before = bits(cube.location)
    bpy.ops.ed.undo_push(message="before")
    entries = [randomize.LocationInBox(CUBE, (5, 5, 5), (6, 6, 6)), randomize.MaterialColor(CUBE, Constant((1, 0, 0)))]
    changes = apply(entries)
    for x in (77, 78):
        bpy.data.objects["Camera"].location.x = x
        bpy.ops.ed.undo_push(message="moved")
    bpy.ops.ed.undo()
    assert bpy.data.objects["Camera"].location.x == 77
    assert min(bpy.data.objects["Cube"].location) >= 5
    changes.restore()
    assert bits(bpy.data.objects["Cube"].location) == before
    shader = bpy.data.materials["Material"].node_tree.nodes["Principled BSDF"]
    assert shader.inputs["Base Color"].links[0].from_node.name == "Checker Texture"
