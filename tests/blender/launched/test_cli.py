"""The `blendtorch` command."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from blendtorch import btt
from blendtorch.cli import main
from tests.blenders import REPO


def command(*args, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "blendtorch.cli", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def test_demo(blender, tmp_path):
    out = tmp_path / "out"
    options = ["--images", 16, "--batch-size", 4, "--check-labels", "report", "--blender", blender]
    process = command("demo", "--out", out, *options)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    for word in ("images/s", "in Blender", "transfer", "collate", "batch.png", "passes.png"):
        assert word in output
    picture = Image.open(out / "batch.png")
    assert picture.size == (4 * 320 + 6, 4 * 240 + 6)
    assert len(picture.convert("RGB").getcolors(1 << 20)) > 500
    passes = np.asarray(Image.open(out / "passes.png"))  # a row a sample: picture, ids, depth, normals
    assert passes.shape == (4 * 240 + 6, 4 * 320 + 6, 3)
    ids, depth, normals = (passes[:240, 322 * i : 322 * i + 320].any(axis=-1) for i in (1, 2, 3))
    assert ids.any()
    np.testing.assert_array_equal(ids, depth)
    np.testing.assert_array_equal(ids, normals)
    assert (out / "logs" / "instance-0.log").exists()


@pytest.mark.parametrize("name", ["minimal.py", "generate.py"])
def test_examples(tmp_path, name):
    options = ["--instances", "2", "--batches", "2", "--batch-size", "4", "--out", str(tmp_path / "batch.png")]
    done = subprocess.run(
        [sys.executable, REPO / "examples" / "datagen" / name, *(options if name == "generate.py" else [])],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    if name == "minimal.py":
        assert done.stdout.count("torch.Size([4, 240, 320, 3]) torch.Size([4, 8, 2])") == 4
    else:
        assert Image.open(tmp_path / "batch.png").size == (2 * 320 + 2, 2 * 240 + 2)


@pytest.mark.one_blender
def test_launch_by_the_predecessors_config(script, blender, tmp_path):
    """A launch.json, with a script path relative to it; a client that knows only the launch info connects."""
    (tmp_path / "script.py").write_bytes(script("stream").read_bytes())
    config = {
        "scene": "",
        "script": "script.py",
        "num_instances": 2,
        "named_sockets": ["DATA"],
        "background": True,
        "seed": 10,
        "bind_addr": "127.0.0.1",
        "start_port": None,
        "proto": "tcp",
        "instance_args": [[], []],
        "blend_path": blender,
    }
    (tmp_path / "launch.json").write_text(json.dumps(config))
    info_file = tmp_path / "launch_info.json"
    process = command("launch", tmp_path / "launch.json", "--out", info_file)
    lines = [process.stdout.readline() for _ in range(2)]
    assert "2 instance(s) run, seed 10" in lines[0]
    info = btt.LaunchInfo.load_json(info_file)
    assert info_file.stat().st_mode & 0o777 == 0o600
    btids = set()
    for item in btt.RemoteIterableDataset(info.addresses["DATA"]):
        btids.add(item["btid"])
        if btids == {0, 1}:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not info_file.exists()


@pytest.mark.one_blender
def test_launch_ends_with_its_instances(script, blender, tmp_path):
    process = command("launch", script("exits_well"), "--blender", blender, "--out", tmp_path / "info.json", "-n", "2")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "all instances have ended" in output


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"scene": ""}', "names no script"),
        ("{", "is not JSON"),
        ("[]", "expected an object"),
        ('{"script": "x.py", "instances": 3}', "unknown keys instances. Known are scene, script"),
        ('{"script": "x.py"}', "there is no script"),
        (None, "there is no"),
    ],
)
def test_launch_with_a_bad_config(tmp_path, capsys, config, message):
    file = tmp_path / "launch.json"
    if config is not None:
        file.write_text(config)
    assert main(["launch", str(file)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.one_blender
def test_failing_script_is_told(script, blender, tmp_path):
    process = command("launch", script("syntax_error"), "--blender", blender, "--out", tmp_path / "info.json")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "SyntaxError" in output
    assert "Traceback" not in output.split("--- end of its log ---")[0]


def test_wheel_carries_the_demo(tmp_path):
    """What users install is the built wheel: it holds the scripts that run inside Blender, and no tests."""
    import zipfile

    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, REPO],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("cli/falling_cubes.blend.py", "btb/__main__.py", "btb/gpu_probe.py", "launch/guardian.py", "py.typed"):
        assert f"blendtorch/{name}" in names
    assert not [name for name in names if "test" in name]
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    told = subprocess.run(
        [sys.executable, "-c", "import blendtorch.cli.demo as demo; print(demo.find_script())"],
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(unpacked / "blendtorch" / "cli" / "falling_cubes.blend.py")
