"""Presets of all settings, by Blender's own preset system."""

from pathlib import Path

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch.presets import SUBDIR
from addon_blendtorch.properties import from_setup, to_setup
from blendtorch.btb.randomize import LocationInBox, Rotation, Target
from blendtorch.btb.setup import OutputSettings, SceneSetup, UnknownRandomizer

SETUP = SceneSetup(
    seed=4,
    output=OutputSettings(width=64, labels=("ids",)),
    randomizers=(
        LocationInBox(Target("OBJECT", "Cube"), low=(0.1, 0.2, 0.3), label='it\'s "mine" \\ ü'),
        Rotation(Target("OBJECT", "gone")),
        UnknownRandomizer({"type": "OfTomorrow"}),
    ),
    unknown={"later": 1},
)


@pytest.fixture(autouse=True)
def presets(tmp_path, monkeypatch):
    """The folder of the presets."""
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path))
    addon_blendtorch.register()
    yield tmp_path / "presets" / SUBDIR
    addon_blendtorch.unregister()


def test_a_preset_holds_everything(presets):
    scene = bpy.context.scene
    from_setup(scene, SETUP)
    setup = to_setup(scene)
    assert bpy.ops.blendtorch.preset_add(name="my preset") == {"FINISHED"}
    (file,) = presets.iterdir()
    from_setup(scene, SceneSetup(seed=1, randomizers=SETUP.randomizers[1:]))
    bpy.ops.script.execute_preset(filepath=str(file), menu_idname="BLENDTORCH_PT_presets")
    assert to_setup(scene) == setup
    assert len(scene.blendtorch.randomizers) == 3
    assert "OfTomorrow" in scene.blendtorch.problems
    assert bpy.types.BLENDTORCH_PT_presets.bl_label.lower() == "my preset"


def test_a_preset_is_removed(presets):
    bpy.ops.blendtorch.preset_add(name="mine")
    (file,) = presets.iterdir()
    assert bpy.ops.blendtorch.preset_add(name="mine", remove_name=True) == {"FINISHED"}
    assert not file.exists()


def test_a_preset_of_something_else_is_told_and_changes_nothing():
    scene = bpy.context.scene
    from_setup(scene, SETUP)
    scene.blendtorch.settings_json = "oops"
    assert to_setup(scene).seed == 4
    assert "no settings of BlendTorch" in scene.blendtorch.problems


def test_the_folder_of_presets_is_blenders(presets):
    assert Path(bpy.utils.user_resource("SCRIPTS", path="presets")) == presets.parent
