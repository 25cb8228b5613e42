"""A scene that was set up is launched without a script: from Python, and from the command line."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from blendtorch import btt
from blendtorch.cli import main

SAVE = """
import sys
import bpy
from blendtorch.btb import setup
file, saves = sys.argv[-2:]
if saves == "setup":
    classes = (setup.ClassEntry("cube", 7, "OBJECT", "Cube"), setup.ClassEntry("other", 2, "OBJECT", "Light"))
    output = setup.OutputSettings(width=64, height=48, labels=("ids",), annotate=False, classes=classes)
    setup.save(setup.SceneSetup(seed=11, output=output), bpy.context.scene)
bpy.ops.wm.save_as_mainfile(filepath=file)
"""


def save(blender: str, file: Path, what: str) -> Path:
    subprocess.run([blender, "-c", SAVE, str(file), what], check=True, timeout=60, stdout=subprocess.DEVNULL)
    return file


@pytest.mark.one_blender
def test_stream(blender, tmp_path) -> None:
    scene = save(blender, tmp_path / "set up.blend", "setup")
    with btt.stream(scene, instances=2, batch_size=4, blend_path=blender, seed=3) as loader:
        origin = loader.launcher.origin
        btids, indices = set(), []
        for batch in loader:
            assert tuple(batch["image"].shape) == (4, 48, 64, 3)
            btids |= set(batch["btid"].tolist())
            indices += batch["btindex"].tolist()
            if btids == {0, 1}:
                break
    assert len(set(indices)) == len(indices)
    assert origin["script"] is None
    assert origin["scene"] == {"name": "set up.blend", "sha256": hashlib.sha256(scene.read_bytes()).hexdigest()}


@pytest.mark.one_blender
def test_the_seed_is_that_of_the_file_unless_one_is_given(blender, tmp_path) -> None:
    scene = save(blender, tmp_path / "scene.blend", "setup")
    for given, seed in ((None, 11), (3, 3)):
        with btt.BlenderLauncher(scene, blend_path=blender, seed=given) as launcher:
            assert launcher.seed == launcher.origin["seed"] == seed
            assert launcher.origin["instance_args"] == []


@pytest.mark.one_blender
def test_record(blender, tmp_path, capsys) -> None:
    scene = save(blender, tmp_path / "scene.blend", "setup")
    out = tmp_path / "out"
    command = ["record", str(scene), "--out", str(out), "--blender", blender, "-n", "2", "--seed", "5"]
    assert main([*command, "--samples", "6"]) == 0
    assert main([*command, "--samples", "9"]) == 0  # goes on
    recording = btt.Recording(out)
    assert len(recording) == 9
    assert recording.metadata["script"] is None
    assert recording.metadata["scene"]["sha256"] == hashlib.sha256(scene.read_bytes()).hexdigest()
    assert recording.metadata["seed"] == 5
    assert recording.metadata["classes"] == {"2": "other", "7": "cube"}
    assert main([*command, "--samples", "10", "--classes", "2=light"]) == 0  # what is given wins
    assert btt.Recording(out).parts[-1][0]["classes"] == {"2": "light"}


@pytest.mark.one_blender
def test_launch_from_a_configuration_that_names_a_scene_alone(blender, tmp_path) -> None:
    save(blender, tmp_path / "scene.blend", "setup")
    config = tmp_path / "launch.json"
    config.write_text(json.dumps({"scene": "scene.blend", "blend_path": blender}))
    info_file = tmp_path / "info.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "blendtorch.cli", "launch", str(config), "--out", str(info_file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        next(line for line in process.stdout if "Connect with" in line)
        info = btt.LaunchInfo.load_json(info_file)
        (item,) = btt.RemoteIterableDataset(info.addresses["DATA"], max_items=1)
        assert item["image"].shape == (48, 64, 3)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.one_blender
def test_a_scene_that_was_not_set_up_is_refused_in_words(blender, tmp_path) -> None:
    scene = save(blender, tmp_path / "bare.blend", "nothing")
    with pytest.raises(btt.ScriptError, match="no BlendTorch settings in scene"), btt.stream(scene, blend_path=blender):
        pytest.fail("it runs")


@pytest.mark.parametrize(
    ("scene", "message"), [(None, "there is no scene, either"), ("", "no scene, either"), ("x.py", "x.py is no .blend")]
)
def test_neither_a_script_nor_a_scene(scene, message) -> None:
    with pytest.raises(btt.ConfigError, match=message):
        btt.BlenderLauncher(scene)


def test_a_scene_that_is_missing() -> None:
    with pytest.raises(btt.MissingFileError, match=r"there is no scene nowhere\.blend"):
        btt.BlenderLauncher("nowhere.blend")
