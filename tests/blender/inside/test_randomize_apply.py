"""Seeds and addresses, order, muting, errors, hooks, checks."""

from dataclasses import dataclass

import bpy
import numpy as np
import pytest
from randomize_scenes import CUBE, PARTS, apply, everything, examples, prepare

from blendtorch import btb
from blendtorch.btb import randomize
from blendtorch.btb.randomize import Constant, Target, Uniform
from blendtorch.errors import ConfigError, RandomizeError

BROKEN = randomize.Property(CUBE, "no_such_thing", Constant(1))


@pytest.fixture
def cube():
    return bpy.data.objects["Cube"]


def place(entries, seed=5, address=(0,), **more):
    with randomize.apply(entries, seed=seed, address=address, **more):
        return tuple(bpy.data.objects["Cube"].location)


def test_the_address_alone_decides(tmp_path):
    prepare(tmp_path)

    def scene_at(index):
        with apply(examples(tmp_path), index):
            found = everything()
        return {key: value for key, value in found.items() if "session_uid" not in key}

    first, second, again = scene_at(3), scene_at(4), scene_at(3)
    assert first == again
    assert first != second


def test_the_numbers_are_those_of_the_samples_generator(cube):
    expected = np.random.default_rng([5, 3, 8]).random(6).astype(np.float32)
    box = randomize.LocationInBox(CUBE, (0, 0, 0), (1, 1, 1))
    with randomize.apply([box, randomize.Rotation(CUBE, (0, 0, 0), (1, 1, 1))], seed=5, address=(3, 8)):
        np.testing.assert_array_equal(cube.location, expected[:3])
        np.testing.assert_array_equal(cube.rotation_euler, expected[3:])


def test_a_muted_entry_draws_nothing():
    box = randomize.LocationInBox(CUBE)
    scale = randomize.Scale(CUBE, Uniform(1, 2))
    assert place([randomize.Scale(CUBE, Uniform(1, 2), mute=True), box]) == place([box])
    assert place([scale, box]) != place([box])


def test_an_own_seed_keeps_neighbours_apart():
    box = randomize.LocationInBox(CUBE)
    for own in (0, 1, 7):
        alone = randomize.LocationInBox(CUBE, seed=own)
        for more in ([], [randomize.Scale(CUBE, Uniform(1, 2))], [randomize.Scale(CUBE, Uniform(1, 2), seed=own)]):
            assert place([*more, alone]) == place([alone])
        assert place([randomize.Scale(CUBE, Uniform(1, 2), seed=own), box]) == place([box])
        assert place([alone]) != place([box])  # also of seed 0, which numpy would take for no seed
        assert place([alone], address=(1,)) != place([alone])
        assert place([alone], seed=6) != place([alone])


def test_entries_of_episodes_and_of_samples():
    box = randomize.LocationInBox(CUBE, (5, 5, 5), (6, 6, 6), per="episode")
    assert min(place([box], per="episode")) >= 5
    assert place([box], per="sample") == (0, 0, 0)
    assert min(place([box])) >= 5


def test_later_entries_see_what_earlier_ones_did(cube):
    entries = [
        randomize.LocationInBox(CUBE, (4, 4, 4), (4, 4, 4)),
        randomize.LookAt(Target("CAMERA"), CUBE),
        randomize.LocationInBox(CUBE, (0, 0, 9), (0, 0, 9)),
    ]
    camera = bpy.context.scene.camera
    with apply(entries):
        towards = np.array((4, 4, 4)) - camera.location
        ahead = -np.array(camera.matrix_world)[:3, 2]
        np.testing.assert_allclose(ahead, towards / np.linalg.norm(towards), atol=1e-6)
        assert tuple(cube.location) == (0, 0, 9)
    assert tuple(cube.location) == (0, 0, 0)


def test_an_entry_that_stops(cube):
    with pytest.raises(RandomizeError) as caught:
        apply([randomize.LocationInBox(CUBE), randomize.Property(CUBE, "locatoin", Constant(1), label="mine")])
    assert tuple(cube.location) == (0, 0, 0)
    assert caught.value.number == 1
    words = str(caught.value)
    for part in ("randomizer 2", '"mine"', "Property", 'object "Cube"', "`locatoin`", '"location"'):
        assert part in words
    assert caught.value.traceback == ""


def test_an_entry_that_is_skipped(cube):
    problems = []
    skipped = randomize.Property(CUBE, "no_such_thing", Constant(1), on_error="skip")
    entries = [skipped, randomize.LocationInBox(CUBE, (1, 1, 1), (1, 1, 1))]
    with apply(entries, on_problem=lambda number, error: problems.append((number, error))):
        assert tuple(cube.location) == (1, 1, 1)
    ((number, error),) = problems
    assert number == error.number == 0
    assert isinstance(error, RandomizeError)
    with pytest.warns(RuntimeWarning, match="left out: randomizer 1"), apply(entries):
        pass


def test_what_a_skipped_entry_did_is_put_back(tmp_path):
    prepare(tmp_path)
    # Alphabetically last, and without materials: the ones before it were changed when it fails.
    plain = bpy.data.objects.new("Z", bpy.data.meshes.new("Z"))
    bpy.data.collections["Parts"].objects.link(plain)
    entry = randomize.Property(PARTS, "data.materials[0].roughness", Uniform(0, 0.1), on_error="skip")
    before = everything()
    found = []
    with apply([entry], on_problem=lambda number, error: found.append(error)):
        assert everything() == before
    assert len(found) == 1


def test_an_error_that_nobody_foresaw_has_its_traceback(cube):
    class Odd(randomize.Randomizer):
        def apply(self, ctx):
            ctx.change(cube, "location", (1, 2, 3))
            raise KeyError("gone")

    with pytest.raises(RandomizeError, match="KeyError") as caught:
        apply([Odd()])
    assert "in apply" in caught.value.traceback
    assert tuple(cube.location) == (0, 0, 0)


def test_interrupted(cube):
    class Interrupted(randomize.Randomizer):
        def apply(self, ctx):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply([randomize.LocationInBox(CUBE), Interrupted()])
    assert tuple(cube.location) == (0, 0, 0)


# ---- hooks


def text(source, name="mine.py"):
    block = bpy.data.texts.get(name) or bpy.data.texts.new(name)
    block.clear()
    block.write(source)
    return randomize.Hook(name)


def test_a_hook_is_given_what_it_needs(cube):
    hook = text("""
seen = []
def pre_frame(ctx):
    seen.append((ctx.seed, ctx.index, ctx.frame, ctx.episode, ctx.scene.name, ctx.camera.name, dict(ctx.sample)))
    ctx.change(ctx.scene.objects["Cube"], "location", (ctx.rng.random(), 2, 3))
    ctx.change(ctx.scene.objects["Cube"], '["new"]', 1)
def post_frame(ctx):
    ctx.sample["seen"] = seen
    ctx.sample["frame"] = ctx.frame
""")
    sample = {"image": 1}
    with randomize.apply([hook], seed=5, address=(3,), index=3, frame=7, episode=2) as changes:
        assert cube.location.x == np.float32(np.random.default_rng([5, 3]).random())
        assert cube["new"] == 1
        changes.post_frame(sample)
    assert sample["seen"][-1] == (5, 3, 7, 2, "Scene", "Camera", {})
    assert sample["frame"] == 7
    assert "new" not in cube
    with apply([hook], frame=1) as changes:
        changes.post_frame(sample, frame=9)
    assert sample["frame"] == 9
    assert len(sample["seen"]) == 2  # the text was run once


def test_a_hook_that_was_changed_is_run_anew(cube):
    hook = text("def pre_frame(ctx): ctx.change(ctx.scene.objects['Cube'], 'location', (1, 1, 1))")
    assert place([hook]) == (1, 1, 1)
    text("def pre_frame(ctx): ctx.change(ctx.scene.objects['Cube'], 'location', (2, 2, 2))")
    assert place([hook]) == (2, 2, 2)


def test_a_hook_in_a_file(tmp_path):
    file = tmp_path / "hook.py"
    file.write_text("def pre_frame(ctx): ctx.change(ctx.scene.objects['Cube'], 'location', (1, 1, 1))")
    assert place([randomize.Hook(str(file))]) == (1, 1, 1)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert place([randomize.Hook("//hook.py")]) == (1, 1, 1)


@pytest.mark.parametrize("when", ["pre_frame", "post_frame"])
def test_a_hook_that_raises_shows_its_line(cube, when):
    hook = text(f"def {when}(ctx):\n    nothing = 0\n    return 1 / nothing\n")
    with pytest.raises(RandomizeError, match="ZeroDivisionError") as caught:
        with apply([randomize.LocationInBox(CUBE), hook]) as changes:
            changes.post_frame({})
    assert tuple(cube.location) == (0, 0, 0)
    assert caught.value.number == 1
    for part in (f"{when} of the hook", "line 3", "return 1 / nothing", "mine.py"):
        assert part in caught.value.traceback + str(caught.value)
    assert "hook.py" not in caught.value.traceback  # where it was called from is of no use to its author


def test_a_hook_that_raises_and_is_skipped(cube):
    text("def pre_frame(ctx):\n    ctx.change(ctx.scene, 'frame_end', 9)\n    1 / 0\ndef post_frame(ctx):\n    1 / 0\n")
    problems = []
    end = bpy.context.scene.frame_end
    hook = randomize.Hook("mine.py", on_error="skip")
    with apply([hook], on_problem=lambda number, error: problems.append(error)) as changes:
        assert bpy.context.scene.frame_end == end
        changes.post_frame({})  # what failed before is not asked again
    assert len(problems) == 1
    text("def post_frame(ctx):\n    1 / 0\n")
    with apply([hook], on_problem=lambda number, error: problems.append(error)) as changes:
        changes.post_frame({})
    assert len(problems) == 2


# ---- checks


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


def test_the_camera_that_renders(cube):
    other = bpy.data.objects.new("Other", bpy.data.cameras.new("Other"))
    bpy.context.scene.collection.objects.link(other)
    with apply([randomize.LocationInBox(Target("CAMERA"), (9, 9, 9), (9, 9, 9))], camera=other):
        assert tuple(other.location) == (9, 9, 9)
    with apply([randomize.Property(Target("CAMERA"), "lens", Constant(33))], camera=other):
        assert other.data.lens == 33


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


def test_animation_that_is_yet_to_be_evaluated_does_not_undo_it(cube):
    cube.keyframe_insert("location", frame=bpy.context.scene.frame_current)
    with apply([randomize.LocationInBox(CUBE, (2, 2, 2), (2, 2, 2))]):
        assert cube.matrix_world.translation[:] == (2, 2, 2)


def test_over_animation(cube):
    scene, data = bpy.context.scene, bpy.context.scene.camera.data
    cube["speed"] = 1.0
    for path in ("location", '["speed"]', "scale"):
        cube.keyframe_insert(path, frame=scene.frame_current)
    cube.animation_data.nla_tracks.new().strips.new("strip", 1, cube.animation_data.action)
    data.driver_add("lens").driver.expression = "35"
    bpy.context.view_layer.update()

    def render():
        bpy.context.scene.frame_set(scene.frame_current)
        return cube.location.x, cube["speed"], cube.scale.x, data.lens

    def muted():
        curves = btb.compat.animation_curves(cube.animation_data) + btb.compat.animation_curves(data.animation_data)
        return [(curve.data_path, curve.mute) for collection in curves for curve in collection]

    before = muted()
    assert not any(mute for _, mute in before)
    entries = (
        randomize.LocationInBox(CUBE, (2, 2, 2), (2, 2, 2)),
        randomize.Property(CUBE, '["speed"]', Constant(5.0)),
        randomize.Property(Target("CAMERA"), "lens", Constant(70.0)),
    )
    with apply(entries) as changes:
        with pytest.raises(ZeroDivisionError), changes.over_animation():
            assert {path for path, mute in muted() if mute} == {"location", '["speed"]', "lens"}
            assert muted().count(("location", True)) == 6  # of the action, and of the strip
            render()
            1 / 0  # noqa: B018
        assert (cube.location.x, cube["speed"], cube.scale.x, data.lens) == (2.0, 5.0, 1.0, 70.0)
        assert {path for path, mute in muted() if mute} == {"lens"}
    bpy.context.view_layer.update()
    assert render() == (0.0, 1.0, 1.0, 35.0)
    assert muted() == before


def test_drivers_are_silent_until_it_is_put_back(cube):
    shader = bpy.data.materials["Material"].node_tree.nodes["Principled BSDF"]
    cube["speed"] = 0.0
    cube.driver_add("location", 0).driver.expression = "7"
    cube.driver_add('["speed"]').driver.expression = "8"
    shader.inputs["Roughness"].driver_add("default_value").driver.expression = "0.75"
    bpy.context.view_layer.update()
    before = (7.0, 0.0, 0.0), 8.0, 0.75

    def values():
        bpy.context.view_layer.update()
        return cube.matrix_world.translation[:], cube["speed"], shader.inputs["Roughness"].default_value

    entries = (
        randomize.LocationInBox(CUBE, (2, 2, 2), (2, 2, 2)),
        randomize.Property(CUBE, '["speed"]', Constant(5.0)),
        randomize.MaterialRoughness(CUBE, Constant(0.25)),
    )
    assert values() == before
    with apply(entries):
        assert values() == ((2.0, 2.0, 2.0), 5.0, 0.25)
        bpy.context.scene.frame_set(9)
        assert values() == ((2.0, 2.0, 2.0), 5.0, 0.25)
    assert values() == before
    cube.driver_remove("location")
    assert not any(curve.mute for curve in cube.animation_data.drivers)
