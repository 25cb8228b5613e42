"""Which data block a target means where several could be meant, and what entries before it add."""

import bpy
import pytest
from randomize_scenes import apply, write_image

from blendtorch.btb import randomize
from blendtorch.btb.randomize import Constant, Property, Target
from blendtorch.errors import RandomizeError

NAMED = Target("LIGHT", "Lamp")


def lamp(data):
    obj = bpy.data.objects.new("Lamp", data)
    bpy.context.scene.collection.objects.link(obj)
    return obj


@pytest.fixture
def lamps():
    """An object "Lamp" whose data is "Lamp.001", as of one that was made after another was removed."""
    left_over = bpy.data.lights.new("Lamp", "POINT")
    left_over.use_fake_user = True
    data = bpy.data.lights.new("Lamp", "POINT")
    return left_over, data, lamp(data)


def test_data_that_no_object_of_the_scene_has_is_not_meant(lamps):
    left_over, data, obj = lamps
    entries = [
        randomize.LightEnergy(NAMED, Constant(77)),
        Property(NAMED, "color", Constant((1, 0, 0))),
        randomize.LocationInBox(NAMED, (1, 1, 1), (1, 1, 1)),
    ]
    assert randomize.check(entries) == []
    with apply(entries):
        assert data.energy == 77
        assert tuple(data.color) == (1, 0, 0)
        assert tuple(obj.location) == (1, 1, 1)
        assert left_over.energy != 77


def test_data_that_an_object_of_the_scene_has_is_meant(lamps):
    left_over, data, obj = lamps
    other = bpy.data.objects.new("Other", left_over)
    bpy.context.scene.collection.objects.link(other)
    with apply([randomize.LightEnergy(NAMED, Constant(77)), randomize.LocationInBox(NAMED, (1, 1, 1), (1, 1, 1))]):
        assert (left_over.energy, tuple(other.location)) == (77, (1, 1, 1))
        assert (data.energy, tuple(obj.location)) != (77, (1, 1, 1))


def test_an_object_that_is_instanced_is_meant(lamps):
    left_over, data, obj = lamps
    asset = bpy.data.collections.new("Asset")
    asset.objects.link(obj)
    bpy.context.scene.collection.objects.unlink(obj)
    with apply([randomize.LightEnergy(NAMED, Constant(77))]):
        assert left_over.energy == 77  # nobody sees either
    with pytest.raises(RandomizeError, match="is not in scene"):
        apply([randomize.LocationInBox(NAMED)])
    instance = bpy.data.objects.new("Instance", None)
    instance.instance_type, instance.instance_collection = "COLLECTION", asset
    bpy.context.scene.collection.objects.link(instance)
    with apply([randomize.LightEnergy(NAMED, Constant(77)), randomize.LocationInBox(NAMED, (1, 1, 1), (1, 1, 1))]):
        assert (data.energy, tuple(obj.location)) == (77, (1, 1, 1))


def test_an_object_of_another_scene_is_named():
    obj = lamp(bpy.data.lights.new("Bulb", "POINT"))
    bpy.context.scene.collection.objects.unlink(obj)
    for entry in (randomize.LightEnergy(NAMED, Constant(1)), randomize.LocationInBox(NAMED)):
        (error,) = randomize.check([entry])
        assert 'object "Lamp" is not in scene "Scene"' in str(error)


@pytest.mark.parametrize("kind", ["LocationInBox", "LocationInSphere", "Rotation", "Visibility"])
def test_data_that_stands_for_no_object(kind):
    bpy.data.lights.new("Lamp", "POINT")
    (error,) = randomize.check([getattr(randomize, kind)(NAMED)])
    assert 'no object of the scene "Scene" has the data of light "Lamp"' in str(error)


@pytest.mark.parametrize("world", [None, "Plain", "Without a background"])
def test_a_check_knows_of_the_background_that_an_entry_adds(tmp_path, world):
    write_image(tmp_path / "0.png", 0.5)
    scene = bpy.context.scene
    scene.world = None if world is None else bpy.data.worlds.new(world)
    if world == "Without a background":
        if scene.world.node_tree is None:
            scene.world.use_nodes = True
        scene.world.node_tree.nodes.clear()
    image = randomize.WorldImage(Target("WORLD"), str(tmp_path))
    strengths = [randomize.WorldStrength(Target("WORLD"), Constant(2))]
    if world is not None:
        strengths.append(randomize.WorldStrength(Target("WORLD", world), Constant(3)))
    assert randomize.check([image, *strengths]) == []
    with apply([image, *strengths]):
        pass
    assert randomize.check([randomize.WorldStrength(Target("WORLD", "World"), Constant(2))]) == []


def test_a_check_does_not_trust_what_cannot_be_applied(tmp_path):
    bpy.context.scene.world = None
    strength = randomize.WorldStrength(Target("WORLD"), Constant(2))
    image = randomize.WorldImage(Target("WORLD"), str(tmp_path))  # no images in it
    assert [error.number for error in randomize.check([strength])] == [0]
    assert [error.number for error in randomize.check([image, strength])] == [0, 1]
    write_image(tmp_path / "0.png", 0.5)
    assert [error.number for error in randomize.check([strength, image])] == [0]
