"""The built zips, installed by `blendtorch addon install` into Blenders that have neither blendtorch nor pyzmq."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from blendtorch import __version__, btt
from blendtorch.launch.finder import find_all, find_blender
from tests.blenders import REPO, skip


@pytest.fixture(scope="session")
def zips(tmp_path_factory) -> Path:
    """The folder `dist` with the zips, as the command builds them."""
    dist = tmp_path_factory.mktemp("zips") / "dist"
    command = [sys.executable, REPO / "build_addon.py", "--output", dist]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  validated by the extension tool of ") == 2, done.stdout
    return dist


@pytest.fixture(scope="session")
def bare_pythons(tmp_path_factory):
    """Makes Pythons that have the bpy module of another one and all that is there, but neither blendtorch nor pyzmq."""
    made: dict[str, str] = {}

    def make(python: str) -> str:
        if python not in made:
            folder = tmp_path_factory.mktemp("bare")
            subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
            (packages,) = Path(python).parents[1].glob("lib/python3*/site-packages")
            (bare,) = folder.glob("lib/python3*/site-packages")
            for entry in packages.iterdir():
                if not re.search(r"blendtorch|zmq|\.pth$|__editable__", entry.name):
                    (bare / entry.name).symlink_to(entry)
            made[python] = str(folder / "bin" / "python")
        return made[python]

    return make


@pytest.fixture
def bare(blender, bare_pythons, profile) -> str:
    """A Python with bpy, of one version after the other, without blendtorch and pyzmq, and with a profile of its own."""
    python = bare_pythons(blender)
    code = (
        "import bpy, importlib.util as u, os; print('HAS', u.find_spec('blendtorch'), u.find_spec('zmq')); os._exit(0)"
    )
    assert "HAS None None" in run([python, "-c", code])
    return python


@pytest.fixture
def profile(leaves_nothing, monkeypatch) -> Path:
    """An empty folder for Blender's preferences and extensions, where it also looks for its modules."""
    folder = leaves_nothing / "profile"
    folder.mkdir()
    monkeypatch.setenv("BLENDER_USER_RESOURCES", str(folder))
    for name in ("PYTHONPATH", "BLENDER_USER_SCRIPTS", "BLENDER_USER_EXTENSIONS"):
        monkeypatch.delenv(name, raising=False)
    return folder


def run(command) -> str:
    # Blender keeps its temporary files in a folder that it does not remove here.
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(blender, *words, cwd=None, status=0) -> str:
    command = [sys.executable, "-m", "blendtorch.cli", "addon", "install", "--blender", blender, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=cwd)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def test_installed_it_brings_all_that_it_needs_and_registers_twice(bare, zips, profile, script):
    output = install(bare, cwd=zips.parent)  # the zip in dist that fits
    assert f"installed and enabled version {__version__}: {profile}" in output
    assert f"in Blender: blendtorch {__version__}, {profile}" in output
    answer = next(line for line in run([bare, script("addon_registered")]).splitlines() if line.startswith("TOLD "))
    told = json.loads(answer.removeprefix("TOLD "))
    unpacked = str(profile / "extensions" / ".local")
    assert told["blendtorch"].startswith(unpacked)
    assert told["zmq"].startswith(unpacked)
    assert told["pyzmq"] == "26.4.0"
    assert told["message"] == "through"
    assert not told["torch"]
    assert not told["online"]  # nothing of this needs the internet
    first, second = (on for on, _ in told["states"])
    assert first == second
    assert "BLENDTORCH" in " ".join(first["classes"])
    assert "Scene.blendtorch" in first["properties"]
    assert first["operators"]
    for _, off in told["states"]:
        assert off == told["before"]


@pytest.fixture(scope="session")
def changed_zip(tmp_path_factory) -> Path:
    """A zip of the same version whose package is another one: `blendtorch.errors.IS_NEW` is in it."""
    root = tmp_path_factory.mktemp("changed") / "repository"
    for name in ("addon_blendtorch", "client", "examples"):
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "pyproject.toml", "build_addon.py", "addon_wheels.toml"):
        shutil.copy(REPO / name, root)
    with open(root / "client" / "blendtorch" / "errors.py", "a") as file:
        file.write("\nIS_NEW = True\n")
    cache = os.environ.get("BLENDTORCH_WHEEL_CACHE") or REPO / ".cache" / "wheels"
    env = {**os.environ, "BLENDTORCH_WHEEL_CACHE": str(cache), "PIP_NO_INDEX": "1"}
    subprocess.run([sys.executable, root / "build_addon.py"], check=True, capture_output=True, timeout=200, env=env)
    return root / "dist" / f"blendtorch-{__version__}.zip"


@pytest.mark.one_blender
def test_installed_over_the_same_version_the_new_package_is_used(bare, zips, changed_zip, profile):
    install(bare, cwd=zips.parent)
    assert f"over version {__version__}" in install(bare, changed_zip)
    code = "import bpy, blendtorch.errors, os; print('NEW', blendtorch.errors.IS_NEW, flush=True); os._exit(0)"
    assert "NEW True" in run([bare, "-c", code])
    assert len(list(profile.glob("extensions/.local/lib/*/site-packages/blendtorch-*.dist-info"))) == 1


def test_updated_in_a_running_blender_the_new_package_is_used_at_once(bare, zips, changed_zip, profile, script):
    old = zips / changed_zip.name
    output = run([bare, script("addon_updated"), "--", old, changed_zip])
    line = next(line for line in output.splitlines() if line.startswith("TOLD "))
    first, second, reloaded = json.loads(line.removeprefix("TOLD "))
    assert first == {"new": False, "same": True, "panel": True}
    assert second == {"new": True, "same": True, "panel": True}
    assert reloaded == {"new": True, "same": True, "panel": True, "again": True}


def test_uninstalled_nothing_of_it_is_left(bare, zips, profile):
    install(bare, cwd=zips.parent)
    code = (
        "import bpy, os; bpy.ops.preferences.addon_enable(module='bl_ext.user_default.blendtorch');"
        "bpy.ops.extensions.package_uninstall(repo_index=1, pkg_id='blendtorch'); os._exit(0)"
    )
    run([bare, "-c", code])
    assert not list(profile.glob("extensions/user_default/blendtorch*"))
    assert not list(profile.glob("extensions/.local/lib/*/site-packages/*"))


def test_the_other_zip_is_for_newer_blenders_alone(bare, zips, profile):
    abi3 = zips / f"blendtorch-{__version__}-abi3.zip"
    if find_blender_version(bare) < (5, 1):
        said = install(bare, abi3, status=1)
        assert "it is for Blender 5.1.0 and later, this one is 4." in said
        assert not list(profile.iterdir())
    else:
        assert "in Blender: zmq 27.3.0" in install(bare, abi3)
        # Over it the other one, with an older pyzmq.
        assert "in Blender: zmq 26.4.0" in install(bare, zips / f"blendtorch-{__version__}.zip")


def find_blender_version(python) -> tuple[int, ...]:
    (found,) = find_all(python)
    return found.version


@pytest.mark.one_blender
def test_the_doctor_sees_it(bare, zips):
    command = [sys.executable, "-m", "blendtorch.cli", "doctor", "--blender", bare]

    def line():
        output = subprocess.run(command, capture_output=True, text=True, timeout=200).stdout
        return next(line for line in output.splitlines() if re.match(r"\w+ +add-on", line))

    assert re.match(r"ok +add-on +not in .*, a bpy module; none needed", line())
    install(bare, cwd=zips.parent)
    assert re.match(rf"ok +add-on +{__version__} in .*brings blendtorch {__version__}, zmq 26\.4\.0", line())


@pytest.mark.one_blender
def test_a_profile_that_cannot_be_written_is_told(bare, zips, profile):
    (profile / "extensions").write_text("a file, no folder")
    said = install(bare, cwd=zips.parent, status=1)
    assert f"{profile / 'extensions'} cannot be written to" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("folder", "fits", "other", "problem"),
    [
        (".gui", "-abi3", "", "it brings pyzmq for Python 3.11, 3.13, this Blender has 3.14"),
        (".gui-trixie", "", "-abi3", "it is for Blender 5.1.0 and later, this one is 4.3"),
    ],
)
def test_a_distributions_executable_serves_with_it(folder, fits, other, problem, zips, profile, script):
    # Debian's Blender, which imports neither blendtorch nor pyzmq from elsewhere.
    executable = REPO / folder / "blender-plain"
    if not executable.exists():
        skip(f"tests/gui/provision.sh has not made {folder}/blender-plain")
    said = install(executable, zips / f"blendtorch-{__version__}{other}.zip", status=1)
    assert problem in said
    assert "-abi3.zip is for" in said
    assert not list(profile.iterdir())
    with pytest.raises(btt.BlenderNotFoundError, match="No module named 'blendtorch'"):
        find_blender(executable)
    install(executable, cwd=zips.parent)
    with open(profile / "extensions" / "user_default" / "blendtorch" / "blender_manifest.toml", "rb") as file:
        assert ("abi3" in str(tomllib.load(file)["wheels"])) == bool(fits)
    with btt.BlenderLauncher(script=script("stream"), blend_path=executable) as launcher:
        items = btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=3, timeoutms=60_000)
        assert [item["image"].shape for item in items] == [(48, 64, 3)] * 3
