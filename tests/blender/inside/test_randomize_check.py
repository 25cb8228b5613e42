"""What is told of randomizers before anything is changed."""

from dataclasses import dataclass

import bpy
import pytest
from randomize_scenes import (
    CUBE,
    apply,
    default_cube,  # noqa: F401  (a fixture)
    everything,
    examples,
    prepare,
    text,
)

from blendtorch.btb import randomize
from blendtorch.btb.randomize import Constant, Target, Uniform
from blendtorch.errors import ConfigError, RandomizeError

BROKEN = randomize.Property(CUBE, "no_such_thing", Constant(1))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (lambda: randomize.LocationInBox(Target("OBJECT", "Cub")), 'no object "Cub"; there is "Cube"'),
        (lambda: randomize.LocationInBox(Target("COLLECTION", "Empty")), "has no objects"),
        (lambda: randomize.LocationInBox(Target("LIGHT", "Unused")), "no object of the scene"),
        (lambda: randomize.LocationOnSurface(CUBE, "Cube"), "on itself"),
        (lambda: randomize.LocationOnSurface(CUBE, "Camera"), "is a camera, which has no surface"),
        (lambda: randomize.LookAt(CUBE, CUBE), "at itself"),
        (lambda: randomize.LookAt(CUBE, (0, 0, 1), roll=randomize.Choice(("a",))), "expected a number"),
        (lambda: randomize.Scale(CUBE, Constant("a")), "expected a number"),
        (lambda: randomize.MaterialColor(Target("OBJECT", "Camera"), Constant(1)), "has no material"),
        (lambda: randomize.MaterialColor(CUBE, Constant(-1)), "0 or more"),
        (lambda: randomize.MaterialColor(CUBE, Constant((0, 2, 1)), "HSV"), "saturation is 0 to 1"),
        (lambda: randomize.MaterialRoughness(CUBE, Uniform(0, 2)), "out of the range 0 to 1"),
        (lambda: randomize.MaterialTexture(CUBE, "/nowhere"), "cannot look into"),
        (lambda: randomize.MaterialTexture(CUBE, "//textures"), "not saved yet"),
        (lambda: randomize.WorldImage(Target("WORLD"), "/nowhere"), "cannot look into"),
        (lambda: randomize.WorldStrength(Target("WORLD", "Word"), Constant(1)), 'there is "World"'),
        (lambda: randomize.LightEnergy(CUBE, Constant(1)), "is no light"),
        (lambda: randomize.LightColor(Target("COLLECTION", "Empty"), Constant(1)), "has no objects"),
        (lambda: randomize.Hook("missing"), 'no text "missing"'),
        (lambda: randomize.Hook("missing.py"), "no such file"),
        (lambda: text("x = 1"), "neither pre_frame"),
        (lambda: text("def pre_frame(ctx:"), "SyntaxError"),
        (lambda: text("pre_frame = 3"), "expected a function"),
        (lambda: BROKEN, "has no `no_such_thing`"),
    ],
)
def test_check_tells_before_anything_is_changed(entry, words):
    bpy.data.collections.new("Empty")
    bpy.data.lights.new("Unused", "POINT")
    before = everything()
    entries = [randomize.LocationInBox(CUBE), entry()]
    (error,) = randomize.check(entries)
    assert error.number == 1
    assert words in str(error)
    assert "randomizer 2" in str(error)
    assert everything() == before
    assert not randomize.check([])


def test_check_finds_nothing_where_all_is_well(tmp_path):
    prepare(tmp_path)
    before = everything()
    assert randomize.check(examples(tmp_path)) == []
    assert everything() == before


@pytest.mark.parametrize(
    "entry",
    [
        randomize.LocationInBox(CUBE),
        randomize.Property(CUBE, "location", Constant((0, 0, 0))),
        randomize.LocationOnSurface(Target("OBJECT", "Light"), "Cube"),
        randomize.LookAt(Target("OBJECT", "Light"), CUBE),
        randomize.MaterialRoughness(CUBE, Constant(0.5)),
        randomize.Visibility(Target("COLLECTION", "Away")),
    ],
)
def test_what_was_deleted_is_not_there(cube, entry):
    away = bpy.data.collections.new("Away")
    away.objects.link(cube)
    bpy.data.scenes.new("Other").collection.objects.link(cube)  # what keeps it in the file
    bpy.context.scene.collection.children.link(away)
    assert randomize.check([entry]) == []
    bpy.context.scene.collection.children.unlink(away)
    for collection in (bpy.context.scene.collection, *bpy.context.scene.collection.children_recursive):
        if cube.name in collection.objects:
            collection.objects.unlink(cube)
    (error,) = randomize.check([entry])
    assert 'object "Cube" is not in scene "Scene": it was deleted, or is in another scene' in str(error)
    with pytest.raises(RandomizeError, match="is not in scene"):
        apply([entry])


def test_what_is_instanced_or_excluded_is_there(cube):
    scene = bpy.context.scene
    asset = bpy.data.collections.new("Asset")
    asset.objects.link(cube)
    for collection in (scene.collection, *scene.collection.children_recursive):
        if cube.name in collection.objects:
            collection.objects.unlink(cube)
    entry = randomize.LocationInBox(CUBE)
    assert len(randomize.check([entry])) == 1
    instance = bpy.data.objects.new("Instance", None)
    instance.instance_type, instance.instance_collection = "COLLECTION", asset
    scene.collection.objects.link(instance)
    assert randomize.check([entry, randomize.Visibility(Target("COLLECTION", "Asset"))]) == []
    bpy.data.objects.remove(instance)
    scene.collection.children.link(asset)
    bpy.context.view_layer.layer_collection.children["Asset"].exclude = True
    assert randomize.check([entry]) == []


def test_targets_of_types_that_do_not_check_are_looked_up():
    @dataclass(frozen=True)
    class Both(randomize.Randomizer):
        target: Target
        other: Target | None = None

    entries = [Both(CUBE), Both(CUBE, Target("MATERIAL", "Gone")), Both(Target("OBJECT", "Cub"))]
    assert [error.number for error in randomize.check(entries)] == [1, 2]


def test_check_leaves_muted_entries_out():
    assert not randomize.check([randomize.LocationInBox(Target("OBJECT", "Cub"), mute=True)])


def test_a_folder_without_images(tmp_path):
    (tmp_path / "note.txt").write_text("a")
    (error,) = randomize.check([randomize.MaterialTexture(CUBE, str(tmp_path))])
    assert "has no images" in str(error)
    (tmp_path / "broken.png").write_text("no image")
    images = len(bpy.data.images)
    with pytest.raises(RandomizeError, match=r"cannot read the image .*broken\.png"):
        apply([randomize.MaterialTexture(CUBE, str(tmp_path))])
    assert len(bpy.data.images) == images


def test_a_scene_without_a_camera():
    bpy.context.scene.camera = None
    (error,) = randomize.check([randomize.LookAt(Target("CAMERA"), CUBE)])
    assert "has no active camera" in str(error)


@pytest.mark.parametrize(
    "make",
    [
        lambda: randomize.LocationInBox(Target("MATERIAL", "Material")),
        lambda: randomize.LocationInBox(CUBE, (1, 0, 0), (0, 0, 0)),
        lambda: randomize.LocationInSphere(CUBE, radius=-1),
        lambda: randomize.Rotation(CUBE, (0, 0, 0)),
        lambda: randomize.LookAt(CUBE, Target("SCENE")),
        lambda: randomize.Visibility(CUBE, 1.5),
        lambda: randomize.Hook(""),
        lambda: randomize.Property(CUBE, "location", Constant(1), index=-2),
        lambda: randomize.LocationInBox(CUBE, seed=-1),
        lambda: randomize.LocationInBox(CUBE, per="frame"),
        lambda: Target("OBJECT"),
        lambda: Target("object", "Cube"),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(ConfigError):
        make()
