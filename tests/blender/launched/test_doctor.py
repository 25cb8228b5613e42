"""`blendtorch doctor` on real Blenders, whole ones and ones that lack a library."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from tests.blenders import REPO, skip

WINDOWED = REPO / ".gui" / "blender"
# What Blender itself says of its GPU, asked without the doctor.
ASK = """
import json, os, bpy, gpu
from blendtorch.btb.gpu_context import ensure_gpu_context
ensure_gpu_context()
names = ("renderer", "vendor", "version", "backend_type", "device_type")
print("SEEN " + json.dumps({name: getattr(gpu.platform, name + "_get")() for name in names}), flush=True)
os._exit(0)  # Blender 4.5's module may hang at the interpreter's own exit
"""


def doctor(*args, **env):
    """Runs the command; returns its exit status and its output by name: the lines `STATUS SEEN -> FIX`."""
    command = [sys.executable, "-c", "import sys; from blendtorch.cli import main; sys.exit(main())", "doctor", *args]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, timeout=250)
    assert not done.stderr, done.stderr
    lines: dict[str, str] = {}
    name = ""
    for line in done.stdout.splitlines()[:-1]:
        if line.startswith(" "):
            lines[name] += " -> " + line.split("-> do:")[1].strip()
        else:
            status, rest = line.split(maxsplit=1)
            name = next((one for one in ("Blender", "system libraries", "GPU") if rest.startswith(one)), rest)
            lines[name] = f"{status} {rest}"
    return done.returncode, lines


def python_with(folder, path):
    """A Python, as an executable, that looks for modules in `path` first."""
    python = folder / "python-with"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{path}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return str(python)


def bpy_without(folder, library):
    """The folder of a bpy module that is this Python's own, but asks for `library` by a name that nothing has."""
    found = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('bpy').origin)"],
        capture_output=True,
        text=True,
        check=True,
    )
    module = Path(found.stdout.strip())
    copy = folder / "modules" / "bpy"
    copy.mkdir(parents=True)
    for entry in module.parent.iterdir():
        if entry != module:
            (copy / entry.name).symlink_to(entry)
    renamed = library.replace("lib", "liq", 1)
    content = module.read_bytes()
    assert library.encode() + b"\0" in content
    (copy / module.name).write_bytes(content.replace(library.encode() + b"\0", renamed.encode() + b"\0"))
    return copy.parent, renamed


def test_every_version_serves_and_tells_its_gpu(blender, tmp_path):
    status, lines = doctor("--blender", blender)
    assert status == 0, lines
    assert lines["Blender"].startswith("ok")
    assert "this one is used" in lines["Blender"]
    assert lines["system libraries"].startswith("ok")
    # Blender leaves a folder for temporary files behind.
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    asked = subprocess.run([blender, "-c", ASK], capture_output=True, text=True, timeout=120, env=env)
    (answer,) = (line for line in asked.stdout.splitlines() if line.startswith("SEEN "))
    gpu = json.loads(answer.removeprefix("SEEN "))
    for key in ("renderer", "vendor", "version", "backend_type"):
        assert gpu[key]
        assert gpu[key] in lines["GPU"]
    assert lines["GPU"].startswith("warning" if gpu["device_type"] == "SOFTWARE" else "ok")
    assert "EGL there" in lines["GPU"]


def test_without_an_argument_the_bpy_of_this_python_is_found():
    path = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if not Path(one, "blender").exists())
    status, lines = doctor(PATH=path, BLENDTORCH_BLENDER="")
    assert status == 0, lines
    assert sys.executable in lines["Blender"]


def test_a_library_that_the_bpy_module_lacks_is_named(tmp_path):
    modules, renamed = bpy_without(tmp_path, "libXi.so.6")
    status, lines = doctor("--blender", python_with(tmp_path, modules))
    assert status == 1
    assert lines["Blender"].startswith("failed")
    assert renamed in lines["Blender"]
    assert "see the line 'system libraries'" in lines["Blender"]
    assert lines["system libraries"].startswith("failed")
    assert f"lacks {renamed} ->" in lines["system libraries"]
    assert lines["GPU"].startswith("warning")
    assert "not looked at" in lines["GPU"]


def test_without_ldd_the_first_library_that_is_missing_is_named(tmp_path):
    modules, renamed = bpy_without(tmp_path, "libXi.so.6")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to(shutil.which("sh"))
    status, lines = doctor("--blender", python_with(tmp_path, modules), PATH=str(programs))
    assert status == 1
    assert f"lacks {renamed} ->" in lines["system libraries"]


def test_a_library_that_is_opened_only_for_drawing_is_named(tmp_path):
    modules, renamed = bpy_without(tmp_path, "libEGL.so.1")
    status, lines = doctor("--blender", python_with(tmp_path, modules))
    assert status == 1
    assert lines["Blender"].startswith("ok")
    assert lines["GPU"].startswith("failed")
    assert "SIGABRT" in lines["GPU"]
    assert f"-> {renamed} is missing" in lines["GPU"]
    assert "apt-get install libegl1 libgl1 libgl1-mesa-dri" in lines["GPU"]


def test_a_library_that_an_executable_lacks_is_named(tmp_path):
    executable = tmp_path / "blender"
    content = Path(os.path.realpath(sys.executable)).read_bytes()
    executable.write_bytes(content.replace(b"libc.so.6\0", b"liq.so.66\0"))
    executable.chmod(0o755)
    status, lines = doctor("--blender", str(executable))
    assert status == 1
    assert lines["Blender"].startswith("failed")
    assert lines["system libraries"].startswith("failed")
    assert "liq.so.66" in lines["system libraries"]


def test_a_blender_that_is_not_there_fails_and_says_what_to_do():
    status, lines = doctor("--blender", "/nowhere/blender")
    assert status == 1
    assert lines["Blender"].startswith("failed")
    assert "/nowhere/blender" in lines["Blender"]
    assert "pip install 'bpy==4.5.*'" in lines["Blender"]


def test_an_executable_serves(leaves_nothing):
    if not WINDOWED.exists():
        skip("tests/gui/provision.sh has not made .gui/blender")
    # What stands for the add-on: Blender looks for modules in this folder.
    shutil.copytree(REPO / "client" / "blendtorch", leaves_nothing / "user" / "modules" / "blendtorch")
    status, lines = doctor("--blender", str(WINDOWED), BLENDER_USER_SCRIPTS=str(leaves_nothing / "user"))
    assert status == 0, lines
    assert "this one is used" in lines["Blender"]
    assert "EGL there" in lines["GPU"]
