"""The `blender` executable without a window: launched, and by hand as `blender --background --python SCRIPT -- ARGS`."""

import os
import subprocess

import pytest

from blendtorch import btt
from tests.blenders import REPO

STREAM = REPO / "tests" / "blender" / "launched" / "scripts" / "stream.py"


@pytest.fixture
def no_display(blender, monkeypatch):
    monkeypatch.delenv("DISPLAY")


def test_launched_in_background_without_a_display(blender, no_display, tmp_path):
    scene = tmp_path / "saved.blend"
    save = "import bpy, sys; bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])"
    subprocess.run([blender, "-b", "--python-expr", save, "--", scene], check=True, capture_output=True, timeout=60)
    with btt.BlenderLauncher(scene=scene, script=STREAM, blend_path=blender, num_instances=2) as launcher:
        btids = set()
        for item in btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], timeoutms=60_000):
            assert item["image"].std() > 5
            btids.add(item["btid"])
            if btids == {0, 1}:
                break


def by_hand(blender, script, *args):
    command = [blender, "--background", "--python", script, "--", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_started_by_hand(blender, no_display, tmp_path):
    """The same script, without the launcher, for 2 episodes; everything arrives before Blender ends."""
    address = f"ipc://{os.environ['TMPDIR']}/by-hand"
    process = by_hand(blender, STREAM, "2", "-btid", "3", "-btcount", "4", "-btsockets", f"DATA={address}")
    items = list(btt.RemoteIterableDataset(address, max_items=20, timeoutms=60_000))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "played to the end" in output
    assert [item["frameid"] for item in items] == [*range(1, 11)] * 2
    assert {item["btid"] for item in items} == {3}


def test_exception_of_a_script_started_by_hand(blender, no_display, tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(
        "import bpy\nfrom blendtorch import btb\nbtb.parse_blendtorch_args()\n"
        "try:\n    bpy.ops.mesh.no_such_operator()\nexcept AttributeError:\n    print('handled')\n"
        "raise KeyError('lost')\n"
    )
    address = f"ipc://{os.environ['TMPDIR']}/fails"
    process = by_hand(blender, script, "-btsockets", f"DATA={address}")
    with pytest.raises(btt.ScriptError, match=r"(?s)KeyError: 'lost'.*fails\.py"):
        list(btt.RemoteIterableDataset(address, timeoutms=60_000))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "handled" in output
