"""Settings in the .blend: read without the add-on, by a newer and an older one, and never lost."""

import json
import os
import subprocess
import sys

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch import saved
from addon_blendtorch.properties import to_setup
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.btb.setup import SceneSetup


@pytest.fixture(autouse=True)
def addon():
    addon_blendtorch.register()
    yield
    addon_blendtorch.unregister()


@pytest.fixture
def blend(tmp_path):
    return str(tmp_path / "scene.blend")


def settings():
    return bpy.context.scene.blendtorch


def save(path):
    bpy.ops.wm.save_as_mainfile(filepath=path, check_existing=False)


def load(path):
    bpy.ops.wm.open_mainfile(filepath=path)


def stored(scene=None) -> dict:
    return json.loads((scene or bpy.context.scene)[btb_setup.KEY])


def set_up() -> SceneSetup:
    settings().seed = 9
    settings().output.width = 64
    entry = settings().randomizers.add()
    entry.type = "LocationInBox"
    entry.target_object = bpy.data.objects["Cube"]
    entry.box_low = (0.1, 0.2, 0.3)
    return to_setup(bpy.context.scene)


def change_json(path, change) -> None:
    """Changes what is saved in a file, as a Blender without the add-on does."""
    addon_blendtorch.unregister()
    try:
        load(path)
        data = stored()
        change(data)
        bpy.context.scene[btb_setup.KEY] = json.dumps(data)
        save(path)
    finally:
        addon_blendtorch.register()


def test_a_blender_without_the_add_on_reads_the_settings(blend):
    setup = set_up()
    save(blend)
    code = (
        "import bpy, os, sys; from blendtorch.btb import setup; "
        f"bpy.ops.wm.open_mainfile(filepath={blend!r}); "
        "print('GOT', setup.load(bpy.context.scene)); sys.stdout.flush(); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert f"GOT {(setup, [])}" in done.stdout.splitlines()


def test_the_settings_are_there_again_when_the_file_is_opened(blend):
    setup = set_up()
    save(blend)
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert to_setup(bpy.context.scene) == SceneSetup()
    load(blend)
    assert to_setup(bpy.context.scene) == setup
    assert settings().problems == ""
    assert settings().randomizers[0].target_object == bpy.data.objects["Cube"]


def test_settings_that_a_script_saved_count(blend):
    set_up()
    save(blend)
    change_json(blend, lambda data: data.update(seed=1234))
    load(blend)
    assert settings().seed == 1234


def test_all_scenes_of_a_file_are_saved_but_none_that_was_not_set_up(blend):
    other, empty = bpy.data.scenes.new("other"), bpy.data.scenes.new("empty")
    other.blendtorch.seed = 3
    save(blend)
    assert stored(other)["seed"] == 3
    assert btb_setup.KEY not in empty
    other.blendtorch.seed = 0  # what was saved before is saved again
    save(blend)
    assert stored(other)["seed"] == 0


def test_what_a_newer_version_saved_survives(blend):
    set_up()
    save(blend)

    def change(data):
        data["version"] = 999
        data["later"] = {"a": 1}
        data["stream"]["later"] = [1]
        data["output"]["classes"] = [{"name": "c", "class_id": 1, "type": "OBJECT", "target": "Cube", "later": True}]
        data["randomizers"].append({"type": "OfTomorrow", "x": 1})
        data["randomizers"][0]["later"] = 5

    change_json(blend, change)
    load(blend)
    for told in ("newer BlendTorch", "later", "stream.later", "OfTomorrow"):
        assert told in settings().problems
    assert [entry.type for entry in settings().randomizers] == ["OTHER", "OTHER"]
    settings().seed = 77
    save(blend)
    load(blend)
    assert "stream.later" in settings().problems
    data = stored()
    assert (data["seed"], data["later"], data["stream"]["later"]) == (77, {"a": 1}, [1])
    assert data["output"]["classes"][0]["later"] is True
    assert data["randomizers"][0]["later"] == 5
    assert data["randomizers"][1] == {"type": "OfTomorrow", "x": 1}


def test_json_that_cannot_be_read_is_told(blend):
    bpy.context.scene[btb_setup.KEY] = "{oops"
    saved.load_all()
    assert "is not the JSON text" in settings().problems


def test_names_follow_what_is_renamed_also_while_the_add_on_is_off(blend):
    set_up()
    save(blend)
    bpy.data.objects["Cube"].name = "other"
    save(blend)
    assert stored()["randomizers"][0]["target"]["name"] == "other"
    addon_blendtorch.unregister()
    try:
        load(blend)
        bpy.data.objects["other"].name = "third"
        save(blend)
    finally:
        addon_blendtorch.register()
    load(blend)
    assert to_setup(bpy.context.scene).randomizers[0].target.name == "third"


def test_what_was_changed_after_the_last_save_counts_in_a_recovered_file(blend):
    set_up()
    save(blend)
    settings().seed = 55
    # As Blender writes files for recovery: without handlers.
    bpy.app.handlers.save_pre.remove(saved._on_save)
    try:
        save(blend)
    finally:
        bpy.app.handlers.save_pre.append(saved._on_save)
    load(blend)
    assert settings().seed == 55


def test_enabling_the_add_on_reads_the_open_file():
    addon_blendtorch.unregister()
    setup = SceneSetup(seed=8, randomizers=(randomize.Rotation(randomize.Target("OBJECT", "Cube")),))
    btb_setup.save(setup, bpy.context.scene)
    addon_blendtorch.register()
    assert to_setup(bpy.context.scene) == setup


def test_settings_that_a_script_saves_while_the_file_is_open_are_kept(blend):
    set_up()
    save(blend)
    btb_setup.save(SceneSetup(seed=321), bpy.context.scene)
    save(blend)
    assert (stored()["seed"], settings().seed, len(settings().randomizers)) == (321, 321, 0)
    # Both have changed.
    btb_setup.save(SceneSetup(seed=322), bpy.context.scene)
    settings().seed = 323
    save(blend)
    assert stored()["seed"] == 323
    assert "replaced" in settings().problems


def test_a_file_that_was_open_when_the_add_on_came_loses_nothing(blend):
    """In background Blender hides the file from an add-on that is enabled, and runs no timer."""
    btb_setup.save(SceneSetup(seed=8), bpy.context.scene)
    save(blend)
    assert stored()["seed"] == 8


def test_disabling_the_add_on_leaves_the_settings_in_the_file():
    setup = set_up()
    addon_blendtorch.unregister()
    try:
        assert btb_setup.load(bpy.context.scene) == (setup, [])
    finally:
        addon_blendtorch.register()


def test_undo_takes_settings_back_and_loses_none(blend):
    bpy.context.preferences.edit.use_global_undo = True
    bpy.ops.ed.undo_push(message="before")
    set_up()
    bpy.ops.ed.undo_push(message="set up")
    save(blend)
    settings().seed = 10
    settings().randomizers.clear()
    bpy.ops.ed.undo_push(message="cleared")
    bpy.ops.ed.undo()
    assert settings().seed == 9
    assert len(settings().randomizers) == 1
    bpy.ops.ed.redo()
    assert settings().seed == 10
    save(blend)
    load(blend)
    assert (settings().seed, len(settings().randomizers)) == (10, 0)


def test_errors_of_entries_do_not_outlive_the_session(blend):
    set_up()
    settings().randomizers[0].error = "went wrong"
    save(blend)
    load(blend)
    assert settings().randomizers[0].error == ""


def test_unfinished_entries_are_saved(blend):
    settings().randomizers.add().type = "Rotation"
    settings().randomizers[0].label = "mine"
    save(blend)
    assert stored()["randomizers"][0]["label"] == "mine"
    change_json(blend, lambda data: data.update(seed=2))
    load(blend)
    assert [(entry.type, entry.label) for entry in settings().randomizers] == [("Rotation", "mine")]
    assert "needs a name" in settings().problems


def test_an_object_that_was_deleted_does_not_stay_in_the_file_because_it_was_set_up(blend):
    set_up()
    bpy.context.scene.blendtorch.output.cameras.add().object = bpy.data.objects["Camera"]
    bpy.data.objects["Cube"].name = "gone"
    for name in ("gone", "Camera"):
        bpy.context.scene.collection.children[0].objects.unlink(bpy.data.objects[name])
    setup = to_setup(bpy.context.scene)
    save(blend)
    load(blend)
    assert "gone" not in bpy.data.objects
    assert "Camera" not in bpy.data.objects
    assert to_setup(bpy.context.scene) == setup
    assert setup.randomizers[0].target.name == "gone"


def test_a_scene_of_a_library_is_left_alone(blend, tmp_path):
    set_up()
    save(blend)
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    with bpy.data.libraries.load(blend, link=True) as (source, target):
        target.scenes = source.scenes
    saved.load_all()
    save(str(tmp_path / "other.blend"))
    assert os.path.exists(tmp_path / "other.blend")
