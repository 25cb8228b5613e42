"""Seeds and addresses, order, muting, errors, animation."""

import bpy
import numpy as np
import pytest
from randomize_scenes import (
    CUBE,
    PARTS,
    apply,
    default_cube,  # noqa: F401  (a fixture)
    everything,
    examples,
    place,
    prepare,
)

from blendtorch import btb
from blendtorch.btb import randomize
from blendtorch.btb.randomize import Constant, Target, Uniform
from blendtorch.errors import RandomizeError


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


def test_the_camera_that_renders(cube):
    other = bpy.data.objects.new("Other", bpy.data.cameras.new("Other"))
    bpy.context.scene.collection.objects.link(other)
    with apply([randomize.LocationInBox(Target("CAMERA"), (9, 9, 9), (9, 9, 9))], camera=other):
        assert tuple(other.location) == (9, 9, 9)
    with apply([randomize.Property(Target("CAMERA"), "lens", Constant(33))], camera=other):
        assert other.data.lens == 33


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
