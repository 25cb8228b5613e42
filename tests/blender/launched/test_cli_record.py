"""`blendtorch record`: from Blenders that it starts, and from those that run; interrupted, and gone on with."""

import json
import signal
import subprocess
import sys
import time

import pytest

from blendtorch import btt
from tests.recordings import assert_same, content

UNEQUAL = ("btid", "btepoch", "btseq")  # which instance has made a sample


def record(*args, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "blendtorch.cli", "record", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def run(*args, status: int = 0) -> str:
    process = record(*args)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    return output


def indices_of(recorded):
    return {int(key.split("-")[0]) for key in recorded}


@pytest.mark.one_blender
def test_a_recording_is_interrupted_and_gone_on_with_by_another_number_of_instances(blender, script, tmp_path):
    config = tmp_path / "launch.json"
    config.write_text(json.dumps({"script": str(script("turns")), "instance_args": [["indices", "-1"]] * 2, "seed": 3}))
    source = [config, "--blender", blender]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(*source, "-n", 2, "--out", whole, "--samples", 24)
    recording = btt.Recording(whole)
    assert len(recording) == 24
    assert recording.metadata["seed"] == 3
    assert recording.metadata["blender"].startswith("4.5")
    assert recording.metadata["script"]["name"] == "turns.py"
    assert len(recording.metadata["script"]["sha256"]) == 64

    process = record(*source, "-n", 2, "--out", parts)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 100_000 for path in parts.glob("*.partial")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"{parts} has " in output
    before = len(btt.Recording(parts))
    begun = indices_of(content(parts, *UNEQUAL))
    assert not list(parts.glob("*.partial"))

    config.write_text(json.dumps({"script": str(script("turns")), "instance_args": [["indices", "-1"]], "seed": 3}))
    # Enough for whatever one instance has left out, two or three samples an index, however far the other one was ahead.
    new = 60 + 3 * (max(begun) + 1 - len(begun))
    output = run(*source, "-n", 1, "--out", parts, "--samples", before + new)
    assert f"{new} are new" in output
    one, other = content(whole, *UNEQUAL), content(parts, *UNEQUAL)
    shared = one.keys() & other.keys()
    assert len(shared) >= 10
    for key in shared:
        assert_same(one[key], other[key])
    indices = sorted(indices_of(other))
    assert indices == list(range(len(indices)))  # no gaps
    assert "nothing is to be done" in run(*source, "-n", 1, "--out", parts, "--samples", 5)
    assert "seed is 3, this one's is 4" in run(*source, "--seed", 4, "--out", parts, "--samples", 99, status=1)


@pytest.mark.one_blender
def test_arguments_for_the_script_and_a_full_recording_of_something_else(blender, script, tmp_path):
    out = tmp_path / "rec"
    run(script("turns"), "--blender", blender, "--seed", 3, "--out", out, "--", "indices", 2)
    recording = btt.Recording(out)
    assert len(recording) == 5  # two of index 0, three of index 1
    assert recording.metadata["instance_args"] == ["indices", "2"]
    for args in (["--", "indices", 3], ["--seed", 4, "--", "indices", 2]):
        source = [script("turns"), *(["--seed", 3] if args[0] == "--" else [])]
        assert "recording of another stream" in run(*source, "--out", out, "--samples", 2, *args, status=1)


@pytest.mark.one_blender
def test_what_runs_is_recorded_until_it_ends(blender, script, tmp_path):
    with btt.BlenderLauncher(script=script("turns"), blend_path=blender, instance_args=[["episodes", "3"]]) as launcher:
        info = tmp_path / "info.json"
        launcher.launch_info.save_json(info)
        output = run(info, "--out", tmp_path / "rec", "--encode", "image=png", "--classes", "1=cube")
    recording = btt.Recording(tmp_path / "rec")
    assert len(recording) == 9
    assert "9 are new" in output
    assert recording.keys == [f"{episode:09d}-{frame:04d}" for episode in range(3) for frame in range(3)]
    assert recording.schema["image"].encoding == "png"
    assert recording.metadata["classes"] == {"1": "cube"}
