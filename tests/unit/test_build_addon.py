"""`build_addon.py`: what is in the zips, that they depend on the sources alone, and what it says when it cannot build."""

import base64
import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.blenders import REPO

spec = importlib.util.spec_from_file_location("build_addon", REPO / "build_addon.py")
build_addon = importlib.util.module_from_spec(spec)
sys.modules["build_addon"] = build_addon  # dataclasses look it up
spec.loader.exec_module(build_addon)

VERSION = build_addon.package_version(REPO)
WHEELS = [
    *(f"pyzmq-26.4.0-cp3{minor}-cp3{minor}-" for minor in (11, 13)),
    "pyzmq-27.3.0-cp312-abi3-",
]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small copy of this repository, with wheels that have little in them, in a cache."""
    root = tmp_path / "repository"
    shutil.copytree(REPO / "client" / "blendtorch" / "wire", root / "client" / "blendtorch" / "wire")
    for name in ("__init__.py", "errors.py", "py.typed"):
        shutil.copy(REPO / "client" / "blendtorch" / name, root / "client" / "blendtorch")
    for name in ("LICENSE", "pyproject.toml", "build_addon.py", "examples/datagen/falling_cubes.blend.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, root / name)
    addon = root / "addon_blendtorch"
    (addon / "panels").mkdir(parents=True)
    shutil.copy(REPO / "addon_blendtorch" / build_addon.MANIFEST, addon)
    (addon / "__init__.py").write_text("def register(): pass\ndef unregister(): pass\n")
    (addon / "panels" / "one.py").write_text("")
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("BLENDTORCH_WHEEL_CACHE", str(cache))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # nothing here needs the network
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    lines = []
    for variant in build_addon.read_variants(REPO / "addon_wheels.toml"):
        lines.append(
            f'[{variant.name}]\nblender_version_min = "{variant.blender_version_min}"\n[{variant.name}.wheels]'
        )
        for name in variant.wheels:
            (cache / name).write_bytes(name.encode())
            lines.append(f'"{name}" = "{hashlib.sha256(name.encode()).hexdigest()}"')
    (root / "addon_wheels.toml").write_text("\n".join(lines))
    return root


def files_in(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_of(files):
    return tomllib.loads(files["blender_manifest.toml"].decode())


def build(root, output, **options):
    return {path.name: path.read_bytes() for path in build_addon.build(output, root=root, **options)}


def test_two_zips_hold_the_addon_the_package_and_the_wheels_of_every_platform(repository, tmp_path, capsys):
    built = build(repository, tmp_path / "out")
    assert list(built) == [f"blendtorch-{VERSION}.zip", f"blendtorch-{VERSION}-abi3.zip"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(built)
    for content, oldest, pyzmq in zip(built.values(), ["4.2.0", "5.1.0"], [WHEELS[:2], WHEELS[2:]], strict=True):
        files = files_in(content)
        about = manifest_of(files)
        assert {"__init__.py", "panels/one.py"} <= set(files)
        assert (about["id"], about["version"], about["blender_version_min"]) == ("blendtorch", VERSION, oldest)
        assert "platforms" not in about
        wheels = [name for name in files if name.endswith(".whl")]
        assert sorted(about["wheels"]) == sorted(f"./{name}" for name in wheels)
        names = [Path(name).name for name in wheels]
        assert len(names) == 1 + 5 * len(pyzmq)
        assert all(name.startswith(("blendtorch-", *pyzmq)) for name in names)
    printed = capsys.readouterr().out
    for name, content in built.items():
        (line,) = (line for line in printed.splitlines() if name in line)
        assert f"{len(content) / 1e6:.2f} MB" in line


def test_permissions_are_as_blender_wants_them():
    about = tomllib.loads((REPO / "addon_blendtorch" / "blender_manifest.toml").read_text())
    assert set(about["permissions"]) == {"files", "network", "clipboard"}
    for reason in about["permissions"].values():
        assert 0 < len(reason) <= 64
        assert reason[-1].isalnum()


def test_a_zip_a_platform_has_the_wheels_of_that_platform_alone(repository, tmp_path):
    built = build(repository, tmp_path / "out", split_platforms=True)
    assert len(built) == 2 * len(build_addon.PLATFORMS)
    for variant, count in (("", 2), ("-abi3", 1)):
        for platform in build_addon.PLATFORMS:
            files = files_in(built[f"blendtorch-{VERSION}{variant}-{platform.replace('-', '_')}.zip"])
            assert manifest_of(files)["platforms"] == [platform]
            pyzmq = [name for name in files if "pyzmq" in name]
            assert len(pyzmq) == count
            assert all(build_addon.serves(name, platform) for name in pyzmq)
            assert len([name for name in files if name.endswith(".whl")]) == count + 1


def test_the_pinned_wheels_serve_every_platform_once():
    standard, abi3 = build_addon.read_variants(REPO / "addon_wheels.toml")
    assert (standard.name, abi3.name) == ("standard", "abi3")
    for variant, pythons in ((standard, {"cp311", "cp313"}), (abi3, {"cp312"})):
        for platform in build_addon.PLATFORMS:
            serving = [name for name in variant.wheels if build_addon.serves(name, platform)]
            assert sorted(build_addon.wheel_tags(name)[0] for name in serving) == sorted(pythons)
        for sha256 in variant.wheels.values():
            assert len(bytes.fromhex(sha256)) == 32
    # One zip with both is refused by Blender on any Python but 3.11.
    assert {build_addon.wheel_tags(name)[1] for name in standard.wheels} == {"cp311", "cp313"}
    assert {build_addon.wheel_tags(name)[1] for name in abi3.wheels} == {"abi3"}


def test_the_same_sources_give_the_same_bytes(repository, tmp_path):
    first = build(repository, tmp_path / "first")
    for path in repository.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o755)
    moved = repository.rename(tmp_path / "elsewhere")
    # What is no part of the add-on.
    for folder in (moved / "addon_blendtorch", moved / "client" / "blendtorch" / "wire"):
        (folder / "__pycache__").mkdir(exist_ok=True)
        (folder / "__pycache__" / "one.cpython-311.pyc").write_bytes(b"1")
        (folder / ".one.py.swp").write_text("1")
        (folder / "one.py~").write_text("1")
    assert build(moved, tmp_path / "second") == first


def test_nothing_in_the_repository_is_changed(repository, tmp_path):
    def state():
        return {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}

    before = state()
    command = [sys.executable, repository / "build_addon.py", "--output", tmp_path / "out"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert state() == before


def test_the_package_is_the_one_that_pip_gets(tmp_path):
    name, content = build_addon.build_wheel(REPO, VERSION)
    ours = files_in(content)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=REPO, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    theirs = files_in(wheel.read_bytes())

    def modules(files):
        return {name: content for name, content in files.items() if ".dist-info/" not in name}

    assert modules(ours) == modules(theirs)
    (info,) = {name.partition("/")[0] for name in ours if ".dist-info/" in name}
    assert name == f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    record = [line.rsplit(",", 2) for line in ours[f"{info}/RECORD"].decode().splitlines()]
    assert {line[0] for line in record} == set(ours)
    for path, digest, size in record[:-1]:
        sha256 = base64.urlsafe_b64encode(hashlib.sha256(ours[path]).digest()).decode().rstrip("=")
        assert (digest, size) == (f"sha256={sha256}", str(len(ours[path])))
    assert b"Requires-Dist" not in ours[f"{info}/METADATA"]


def test_the_package_that_changed_has_another_version(repository):
    first, _ = build_addon.build_wheel(repository, VERSION)
    (repository / "client" / "blendtorch" / "errors.py").write_text("changed = True\n")
    second, _ = build_addon.build_wheel(repository, VERSION)
    assert first != second
    assert all(name.startswith(f"blendtorch-{VERSION}+src.") for name in (first, second))


def command(root, output):
    done = subprocess.run(
        [sys.executable, root / "build_addon.py", "--output", output], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stderr


def test_a_wheel_with_another_content_is_refused_and_named(repository, tmp_path):
    name = "pyzmq-26.4.0-cp313-cp313-win_amd64.whl"
    path = tmp_path / "cache" / name
    path.write_bytes(b"something else")
    status, said = command(repository, tmp_path / "out")
    assert status == 1
    assert str(path) in said
    assert hashlib.sha256(b"something else").hexdigest() in said
    assert hashlib.sha256(name.encode()).hexdigest() in said
    assert "Remove it" in said
    assert not list((tmp_path / "out").glob("*"))


def test_without_network_a_wheel_that_is_not_cached_is_named(repository, tmp_path):
    name = "pyzmq-27.3.0-cp312-abi3-win_arm64.whl"
    (tmp_path / "cache" / name).unlink()
    status, said = command(repository, tmp_path / "out")
    assert status == 1
    assert f"pip could not download {name}" in said
    assert str(tmp_path / "cache") in said
    assert "Traceback" not in said
    assert len(list((tmp_path / "cache").iterdir())) == 14


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("addon_wheels.toml", "[standard", "cannot be understood"),
        ("addon_wheels.toml", "[standard]\n", "blender_version_min"),
        ("addon_blendtorch/__init__.py", None, "holds no add-on"),
        ("client/blendtorch/__init__.py", '__version__ = "1.2"\n', "'1.2'"),
        ("client/blendtorch/__init__.py", "", "tells no version"),
        ("LICENSE", None, "cannot read"),
        ("addon_blendtorch/blender_manifest.toml", "id = \n", "blender_manifest.toml cannot be understood"),
        ("addon_blendtorch/blender_manifest.toml", 'id = "blendtorch"\nversion = "1.0.0"\n', "Remove it there"),
    ],
)
def test_what_is_wrong_in_the_repository_is_told(repository, tmp_path, file, text, said):
    path = repository / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(build_addon.BuildError, match=said):
        build(repository, tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_told(repository, tmp_path):
    (tmp_path / "out").write_text("a file")
    status, said = command(repository, tmp_path / "out")
    assert status == 1
    assert "Name another folder by --output" in said


def test_blenders_own_tool_refuses_a_bad_manifest_and_no_zip_is_kept(repository, tmp_path):
    if not list(build_addon.validators(repository)):
        pytest.skip("there is no bpy module in this Python")
    path = repository / "addon_blendtorch" / "blender_manifest.toml"
    path.write_text(path.read_text().replace("from Blender into PyTorch", "from Blender into PyTorch."))
    with pytest.raises(build_addon.BuildError, match=r"(?s)refused by the extension tool of .*tagline"):
        build(repository, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_who_validated_is_told_and_when_nobody_did(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BLENDTORCH_BLENDER", raising=False)
    monkeypatch.setattr(sys, "path", [])
    build(repository, tmp_path / "out")
    assert capsys.readouterr().out.count("NOT validated: no Blender was found here") == 2
    blender = tmp_path / "blender"
    blender.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Blender 5.2.0; fi\n')
    blender.chmod(0o755)
    build(repository, tmp_path / "out")
    assert capsys.readouterr().out.count(f"validated by the extension tool of {blender}") == 2
