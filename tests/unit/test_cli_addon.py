"""`blendtorch addon`: which zip fits which Blender, and what the doctor says of what it found in one."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from blendtorch import __version__
from blendtorch.cli import addon_zip, main
from blendtorch.cli.addon import choose_blender
from blendtorch.cli.addon_zip import choose_zip, read_zip, this_platform
from blendtorch.cli.doctor_addon import describe_addon
from blendtorch.cli.doctor_checks import Status
from blendtorch.errors import BlenderNotFoundError, ConfigError, MissingFileError
from blendtorch.launch.finder import Blender

BLENDER = Blender("/b/blender", "given", False, (5, 2, 3), "5.2.3 LTS", "3.13.0")
STANDARD = ["pyzmq-26.4.0-cp311-cp311-win_amd64.whl", "pyzmq-26.4.0-cp313-cp313-win_amd64.whl"]
ABI3 = ["pyzmq-27.3.0-cp312-abi3-win_amd64.whl"]


def make_zip(path, wheels=STANDARD, oldest="4.2.0", version=__version__, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    wheels = [f"./wheels/{name}" for name in [f"blendtorch-{version}+src.12-py3-none-any.whl", *wheels]]
    about = {"id": "blendtorch", "version": version, "blender_version_min": oldest, "wheels": wheels, **more}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("blender_manifest.toml", "\n".join(f"{key} = {json.dumps(about[key])}" for key in about))
    return path


@pytest.mark.parametrize(
    ("version", "python", "standard", "abi3"),
    [
        ((4, 2, 0), "3.11.7", "", "Blender 5.1.0 and later"),
        ((4, 3, 2), "3.13.5", "", "Blender 5.1.0 and later"),
        ((4, 3, 2), "3.12.3", "Python 3.11, 3.13, this Blender has 3.12.3", "Blender 5.1.0 and later"),
        ((5, 0, 1), "3.11.13", "", "Blender 5.1.0 and later"),
        ((5, 2, 3), "3.13.0", "", ""),
        ((5, 2, 2), "3.14.10", "Python 3.11, 3.13, this Blender has 3.14.10", ""),
        ((5, 2, 2), "3.11.9", "", "Python 3.12 and later, this Blender has 3.11.9"),
        ((4, 1, 0), "3.11.7", "Blender 4.2.0 and later", "Blender 5.1.0 and later"),
    ],
)
def test_which_zip_fits_which_blender(tmp_path, version, python, standard, abi3):
    blender = replace(BLENDER, version=version, version_string=".".join(map(str, version)), python=python)
    for wheels, oldest, expected in ((STANDARD, "4.2.0", standard), (ABI3, "5.1.0", abi3)):
        problem = read_zip(make_zip(tmp_path / "one.zip", wheels, oldest)).problem(blender)
        assert expected in problem
        assert bool(expected) == bool(problem)


def test_a_zip_of_another_platform_does_not_fit(tmp_path):
    assert re.fullmatch(r"(linux|macos|windows)-(x64|arm64)", this_platform())
    ours = read_zip(make_zip(tmp_path / "ours.zip", platforms=[this_platform()]))
    other = read_zip(make_zip(tmp_path / "other.zip", platforms=["amiga-m68k"]))
    assert not ours.problem(BLENDER)
    assert f"it is for amiga-m68k, this machine is {this_platform()}" in other.problem(BLENDER)


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [("linux", "aarch64", "linux-arm64"), ("darwin", "arm64", "macos-arm64"), ("win32", "AMD64", "windows-x64")],
)
def test_platforms_have_blenders_names(monkeypatch, system, machine, name):
    monkeypatch.setattr(addon_zip.sys, "platform", system)
    monkeypatch.setattr(addon_zip.platform, "machine", lambda: machine)
    assert this_platform() == name


def test_the_best_zip_of_a_folder_is_chosen(tmp_path):
    def chosen(**change):
        return choose_zip(tmp_path, replace(BLENDER, **change)).path.name

    make_zip(tmp_path / "blendtorch-1-abi3.zip", ABI3, "5.1.0")
    assert chosen() == "blendtorch-1-abi3.zip"
    make_zip(tmp_path / "blendtorch-1.zip", [*STANDARD, "more-1-py3-none-any.whl"])
    assert chosen() == "blendtorch-1.zip"  # made for its Python, which the other only serves
    make_zip(tmp_path / "blendtorch-1-this.zip", platforms=[this_platform()])
    make_zip(tmp_path / "blendtorch-1-amiga.zip", STANDARD[1:], platforms=["amiga-m68k"])
    make_zip(tmp_path / "blendtorch-0.zip", STANDARD[1:], version="0.0.1")
    (tmp_path / "other.zip").write_text("no add-on")
    assert chosen(python="3.14.1") == "blendtorch-1-abi3.zip"
    assert chosen() in {"blendtorch-1.zip", "blendtorch-1-this.zip"}
    smallest = min(("blendtorch-1.zip", "blendtorch-1-this.zip"), key=lambda name: (tmp_path / name).stat().st_size)
    assert chosen() == smallest
    for path in (tmp_path / "blendtorch-1.zip", tmp_path / "blendtorch-1-this.zip"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"no zip in .* fits /b/blender") as raised:
        chosen(version=(4, 3, 0), version_string="4.3.0")
    for line, reason in zip(
        str(raised.value).splitlines()[1:],
        ["it is version 0.0.1, this client is", "it is for Blender 5.1.0 and later, this one is 4.3.0", "amiga-m68k"],
        strict=True,
    ):
        assert reason in line


def test_a_broken_zip_does_not_keep_another_from_being_chosen(tmp_path):
    good = make_zip(tmp_path / "blendtorch-1.zip")
    (tmp_path / "blendtorch-0.zip").write_bytes(good.read_bytes()[:-30])
    (tmp_path / "blendtorch-2.zip").write_text("no zip")
    (tmp_path / "blendtorch-3.zip").mkdir()
    compressed = tmp_path / "blendtorch-4.zip"
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("blender_manifest.toml", "# " + "words " * 100)
        begin = archive.infolist()[0].header_offset + len(archive.infolist()[0].FileHeader())
    damaged = bytearray(compressed.read_bytes())
    damaged[begin : begin + 8] = b"\xff" * 8
    compressed.write_bytes(damaged)
    assert choose_zip(tmp_path, BLENDER).path == good
    good.unlink()
    with pytest.raises(ConfigError, match="no zip in") as raised:
        choose_zip(tmp_path, BLENDER)
    lines = str(raised.value).splitlines()[1:]
    assert [f"blendtorch-{number}.zip" in line for number, line in zip((0, 2, 3, 4), lines, strict=True)] == [True] * 4


def test_without_a_zip_it_is_said_how_to_get_one(tmp_path):
    with pytest.raises(MissingFileError, match=r"blendtorch addon install ZIP.*make addon"):
        choose_zip(tmp_path, BLENDER)


def test_a_bpy_module_gets_it_where_it_is_named_alone(monkeypatch):
    module = Blender("/usr/bin/python3", "the bpy module of this Python", True, (4, 5, 0), "4.5.0", "3.11.7")
    monkeypatch.setattr("blendtorch.launch.finder.find_all", lambda path: iter([module]))
    monkeypatch.delenv("BLENDTORCH_BLENDER", raising=False)
    with pytest.raises(BlenderNotFoundError, match="has no window for the panel"):
        choose_blender(None)
    assert choose_blender(module.path) is module


@pytest.mark.parametrize("content", ["text", "empty", "other", "damaged"])
def test_what_is_no_zip_of_the_addon_is_refused(tmp_path, content):
    path = tmp_path / "one.zip"
    if content == "text":
        path.write_text("no zip")
    elif content == "empty":
        zipfile.ZipFile(path, "w").close()
    else:
        make_zip(path, **({"id": "other"} if content == "other" else {"wheels": [], "platforms": 3}))
    with pytest.raises(
        ConfigError, match="'other', expected" if content == "other" else "no zip of the BlendTorch add-on"
    ):
        read_zip(path)


@pytest.mark.parametrize("words", [["--blender", "/nowhere/blender"], ["--blender", __file__]])
def test_a_blender_that_is_not_there_is_told(words, capsys):
    assert main(["addon", "install", *words]) == 1
    said = capsys.readouterr().err
    assert "no Blender was found to install into" in said
    assert words[1] in said
    assert "--blender PATH" in said


FOLDER = "/p/extensions/user_default/blendtorch"
WHOLE = {
    "addons": [{"folder": FOLDER, "version": __version__, "enabled": True}],
    "packages": {name: {"version": "1", "file": f"/p/extensions/.local/{name}.py"} for name in ("blendtorch", "zmq")},
    "unpacked": "/p/extensions/.local",
}
DISABLED = {"addons": [{**WHOLE["addons"][0], "enabled": False}]}
OLD = {"addons": [{**WHOLE["addons"][0], "version": "0.0.1"}]}
BROKEN = {"packages": {**WHOLE["packages"], "zmq": {"error": "ImportError: no libzmq"}}}
HIDDEN = {"packages": {**WHOLE["packages"], "zmq": {"version": "26.0", "file": "/usr/lib/zmq.py"}}}
MISSING = {"addons": [], "packages": {name: {"error": "not there"} for name in ("blendtorch", "zmq")}}


@pytest.mark.parametrize(
    ("change", "status", "seen", "fix"),
    [
        ({}, Status.OK, "enabled, brings blendtorch 1, zmq 1", ""),
        (DISABLED, Status.WARNING, "not enabled", "Preferences > Add-ons"),
        (
            OLD,
            Status.WARNING,
            f"0.0.1 in {FOLDER} (/b/blender), this client is {__version__}",
            "pip install blendtorch==0.0.1",
        ),
        (
            BROKEN,
            Status.WARNING,
            "zmq cannot be imported: ImportError: no libzmq",
            "addon install --blender /b/blender",
        ),
        (HIDDEN, Status.WARNING, "zmq 26.0 comes from /usr/lib/zmq.py", "remove it"),
        (MISSING, Status.WARNING, "not in /b/blender", "addon install --blender /b/blender ZIP"),
        ({"addons": []}, Status.WARNING, "which can serve without", "For the panel"),
    ],
)
def test_the_doctor_says_what_of_the_addon_is_wrong(change, status, seen, fix):
    line = describe_addon(BLENDER, WHOLE | change)
    assert line.status is status
    assert seen in line.seen
    assert fix in line.fix


def test_a_bpy_module_needs_no_addon():
    module = replace(BLENDER, is_python=True)
    assert describe_addon(module, WHOLE | {"addons": []}).status is Status.OK
    line = describe_addon(module, WHOLE | DISABLED)  # it starts without add-ons
    assert line.status is Status.OK
    assert "starts without add-ons" in line.seen
    assert describe_addon(module, WHOLE | OLD).status is Status.WARNING


def test_the_script_inside_blender_is_small_enough_for_a_command_line():
    inside = Path(addon_zip.__file__).with_name("addon_in_blender.py").read_text()
    assert len(inside) < 8000  # Windows takes 32767 characters in all
