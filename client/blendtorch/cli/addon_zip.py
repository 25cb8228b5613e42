"""Zips of the Blender add-on: what their manifests say, and which Blender they fit."""

import platform
import re
import sys
import tomllib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import ConfigError, MissingFileError

if TYPE_CHECKING:
    from ..launch.finder import Blender

MANIFEST = "blender_manifest.toml"
# Blender's names for what Python calls the systems and machines.
_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class AddonZip:
    """A zip of the add-on.

    Attributes:
        path: Where it is.
        version: The add-on's version.
        blender_min: The oldest Blender it is for, such as (4, 2, 0).
        platforms: Blender's names of the platforms it is for; empty for all.
        pythons: The tags of the Pythons that it brings pyzmq for, such as {"cp311", "cp313"}, of its own ABI each.
        stable_from: The oldest Python 3 that its pyzmq of the stable ABI is for, such as 12; None when there is none.
    """

    path: Path
    version: str
    blender_min: tuple[int, ...]
    platforms: tuple[str, ...]
    pythons: frozenset[str]
    stable_from: int | None

    def problem(self, blender: "Blender") -> str:
        """Why this zip does not fit a Blender; empty when it does."""
        if blender.version < self.blender_min:
            oldest = ".".join(map(str, self.blender_min))
            return f"it is for Blender {oldest} and later, this one is {blender.version_string}"
        if self.platforms and this_platform() not in self.platforms:
            return f"it is for {', '.join(self.platforms)}, this machine is {this_platform()}"
        python = tuple(map(int, blender.python.split(".")[:2]))
        if f"cp{python[0]}{python[1]}" in self.pythons:
            return ""
        if self.stable_from is not None and python >= (3, self.stable_from):
            return ""
        known = [f"3.{tag.removeprefix('cp3')}" for tag in sorted(self.pythons)]
        known += [f"3.{self.stable_from} and later"] if self.stable_from is not None else []
        return f"it brings pyzmq for Python {', '.join(known)}, this Blender has {blender.python}"


def this_platform() -> str:
    """Blender's name of this platform, such as "linux-x64"."""
    machine = platform.machine().lower()
    return f"{_SYSTEMS.get(sys.platform, sys.platform)}-{_MACHINES.get(machine, machine)}"


def read_zip(path: Path) -> AddonZip:
    """Reads what a zip says of itself.

    Raises:
        MissingFileError: There is no such file.
        ConfigError: It is no zip of the BlendTorch add-on.
    """
    if not path.is_file():
        raise MissingFileError(f"there is no {path} (looked for {path.resolve()}). `make addon` makes it.")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest: dict[str, Any] = tomllib.loads(archive.read(MANIFEST).decode())
        if manifest["id"] != "blendtorch":
            raise ConfigError(f"{path} is the add-on {manifest['id']!r}, expected 'blendtorch'.")
        tags = [re.fullmatch(r".*-cp3(\d+)-(\w+)-[^-]+\.whl", name) for name in manifest["wheels"]]
        return AddonZip(
            path,
            manifest["version"],
            tuple(map(int, manifest["blender_version_min"].split("."))),
            tuple(manifest.get("platforms", ())),
            frozenset(f"cp3{tag[1]}" for tag in tags if tag and tag[2] != "abi3"),
            min((int(tag[1]) for tag in tags if tag and tag[2] == "abi3"), default=None),
        )
    except (
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{path} is no zip of the BlendTorch add-on ({type(error).__name__}: {error}). "
            "Expected one that build_addon.py has made."
        ) from None


def choose_zip(folder: Path, blender: "Blender") -> AddonZip:
    """The zip in a folder that fits a Blender best: of this client's version, made for its Python, the smallest.

    Raises:
        MissingFileError: There is none in the folder.
        ConfigError: None fits; the message says why.
    """
    paths = sorted(folder.glob("blendtorch-*.zip"))
    if not paths:
        raise MissingFileError(
            f"no zip was given, and there is no {folder}/blendtorch-*.zip. Name the add-on's zip: blendtorch addon install "
            "ZIP. In a copy of the repository `make addon` makes it."
        )
    problems = []
    fitting = []
    for path in paths:
        try:
            one = read_zip(path)
        except (ConfigError, MissingFileError) as error:  # one that is broken does not keep another from being taken
            problems.append(f"  {error}")
            continue
        problem = one.problem(blender)
        if not problem and one.version != __version__:
            problem = f"it is version {one.version}, this client is {__version__}; to install it all the same, name it"
        if problem:
            problems.append(f"  {one.path}: {problem}")
        else:
            fitting.append(one)
    if not fitting:
        raise ConfigError(f"no zip in {folder} fits {blender.path}:\n" + "\n".join(problems))
    return min(fitting, key=lambda one: (one.stable_from is not None, one.path.stat().st_size))
