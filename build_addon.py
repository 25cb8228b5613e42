"""Builds the Blender add-on: dist/blendtorch-X.Y.Z.zip, with all that it needs inside.

    python build_addon.py                       both zips, each for all platforms
    python build_addon.py --split-platforms     small ones, one a platform
    python build_addon.py --output DIR          elsewhere

Needs Python 3.11 or newer with pip, and nothing else. `blendtorch-X.Y.Z.zip` is for Blender's own builds, 4.2 and later;
`blendtorch-X.Y.Z-abi3.zip` for Blender 5.1 and later on newer Pythons, such as those of Linux distributions. Inside lie the
add-on (`addon_blendtorch/`), the package `blendtorch` (`client/blendtorch/`) as a wheel, and the wheels of pyzmq that
`addon_wheels.toml` pins. These are downloaded once into a cache (`.cache/wheels`, or BLENDTORCH_WHEEL_CACHE), after
which no network is needed. The same sources give the same bytes. Nothing but the cache and the zips is written.

Exit status: 0 done, 1 an error (the message says what to do), 2 bad usage.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent
MANIFEST = "blender_manifest.toml"
TIMEOUT_S = 300.0
# Blender's name of a platform: how the tags of the wheels for it end. One wheel of macOS serves both of its machines.
PLATFORMS = {
    "linux-x64": ("linux", "_x86_64"),
    "linux-arm64": ("linux", "_aarch64"),
    "macos-x64": ("macosx", "_universal2"),
    "macos-arm64": ("macosx", "_universal2"),
    "windows-x64": ("win", "_amd64"),
    "windows-arm64": ("win", "_arm64"),
}
# Not what makes an add-on or a package: caches, what editors leave behind, hidden files.
_LEFT_OUT = re.compile(r"__pycache__|.*\.py[co]|.*~|\..*")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip cannot tell an earlier time


class BuildError(Exception):
    """The add-on cannot be built; the message says what was seen and what to do."""


@dataclass(frozen=True)
class Variant:
    """One of the zips that are built: what `addon_wheels.toml` says of it.

    Attributes:
        name: Its name; all but "standard" are part of the zip's.
        blender_version_min: The oldest Blender it is for, such as "4.2.0".
        wheels: The sha256 of each wheel, by its file name.
    """

    name: str
    blender_version_min: str
    wheels: Mapping[str, str]

    def file_name(self, version: str, platform: str = "") -> str:
        """The zip's name; `platform` is Blender's name of one, or empty for all."""
        parts = ["blendtorch", version]
        parts += [self.name] if self.name != "standard" else []
        parts += [platform.replace("-", "_")] if platform else []
        return "-".join(parts) + ".zip"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Builds the Blender add-on, all that it needs inside.")
    parser.add_argument("--output", type=Path, default=REPO / "dist", metavar="DIR", help="(default: dist)")
    parser.add_argument("--split-platforms", action="store_true", help="small zips, one a platform")
    args = parser.parse_args(argv)
    try:
        build(args.output, split_platforms=args.split_platforms)
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    print("`blendtorch addon install --blender PATH` installs the one that fits that Blender.")
    return 0


def build(output: Path, *, split_platforms: bool = False, root: Path = REPO) -> list[Path]:
    """Builds the zips of all variants, and tells of each.

    Args:
        output: The folder they come into; zips of the same name are replaced.
        split_platforms: Whether there is one for each platform.
        root: The repository.

    Returns:
        The zips.

    Raises:
        BuildError: A wheel cannot be had or is not the pinned one, something cannot be read or written, or Blender's
            own tool refuses a zip, which is then not kept.
    """
    version = package_version(root)
    package = build_wheel(root, version)
    tools = list(validators(root))
    built = []
    for variant in read_variants(root / "addon_wheels.toml"):
        pyzmq = {name: wheel(name, sha256) for name, sha256 in variant.wheels.items()}
        for platform in PLATFORMS if split_platforms else [""]:
            chosen = {name: file for name, file in pyzmq.items() if not platform or serves(name, platform)}
            name = variant.file_name(version, platform)
            content = zip_bytes(addon_files(root, version, variant, platform, package, chosen))
            by = _write_validated(output, name, content, tools)
            print(f"{output / name}  {len(content) / 1e6:.2f} MB  {_validated(by)}")
            built.append(output / name)
    return built


def package_version(root: Path) -> str:
    """The version of the package `blendtorch`, which the add-on shares."""
    text = _read(root / "client" / "blendtorch" / "__init__.py").decode()
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if not found:
        raise BuildError('client/blendtorch/__init__.py tells no version; expected a line: __version__ = "1.2.3"')
    if not re.fullmatch(r"\d+\.\d+\.\d+", found[1]):
        raise BuildError(f"the version is {found[1]!r}; a Blender add-on needs one such as 1.2.3")
    return found[1]


def read_variants(lock: Path) -> list[Variant]:
    """The variants that the lock file tells of."""
    try:
        tables = tomllib.loads(_read(lock).decode())
        return [Variant(name, table["blender_version_min"], table["wheels"]) for name, table in tables.items()]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BuildError(f"{lock} cannot be understood: {type(error).__name__}: {error}") from None


def wheel_tags(name: str) -> tuple[str, str, str]:
    """The tags that a wheel's file name ends with: of the Python, of its ABI, of the platform."""
    python, abi, platform = name.removesuffix(".whl").rsplit("-", 3)[1:]
    return python, abi, platform


def serves(name: str, platform: str) -> bool:
    """Whether a wheel is for one of Blender's platforms."""
    start, end = PLATFORMS[platform]
    return any(start in tag.partition("_")[0] and tag.endswith(end) for tag in wheel_tags(name)[2].split("."))


# The wheels of pyzmq


def cache_folder() -> Path:
    """Where downloaded wheels are kept."""
    return Path(os.environ.get("BLENDTORCH_WHEEL_CACHE") or REPO / ".cache" / "wheels")


def wheel(name: str, sha256: str) -> bytes:
    """A pinned wheel, from the cache, or else from the index that pip is configured with.

    Raises:
        BuildError: It cannot be had, or its content is another one.
    """
    path = cache_folder() / name
    if not path.is_file():
        print(f"downloading {name}")
        _download(path)
    content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BuildError(
            f"{path} is not the file that addon_wheels.toml pins: its sha256 is {found}, expected {sha256}. Remove it, and "
            "it is downloaded again; if it is the same then, the index holds another file of that name: do not use it."
        )
    return content


def _download(path: Path) -> None:
    distribution, version, *_ = path.name.split("-")
    python, abi, platform = wheel_tags(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In a folder of its own first: what lies in the cache is whole.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python.removeprefix("cp")]
            command += ["--abi", abi, *(f"--platform={tag}" for tag in platform.split("."))]
            done = _run([*command, "--dest", folder, f"{distribution}=={version}"])
            got = Path(folder, path.name)
            if done.returncode or not got.is_file():
                said = done.stdout.strip() or f"it brought {', '.join(os.listdir(folder)) or 'nothing'}"
                raise BuildError(
                    f"pip could not download {path.name}: {said}\nThe network is needed once. Or get the file elsewhere "
                    f"and put it into {path.parent}, or name a folder that has it by BLENDTORCH_WHEEL_CACHE."
                )
            os.replace(got, path)
    except OSError as error:
        raise BuildError(
            f"cannot write to the cache {path.parent}: {error}. Name another by BLENDTORCH_WHEEL_CACHE."
        ) from None


# The package as a wheel


def build_wheel(root: Path, version: str) -> tuple[str, bytes]:
    """The package `blendtorch` as a wheel: its file name and content.

    It holds what the project's own build back end would put in. The version carries a digest of the content: Blender
    unpacks a wheel only when there is none of that version, so an add-on that is installed over one of the same version
    would go on with the old package.
    """
    project = tomllib.loads(_read(root / "pyproject.toml").decode())
    target = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = {}
    for package in target["packages"]:
        folder = root / package
        files |= {f"{folder.name}/{name}": content for name, content in _tree(folder)}
    files |= {inside: _read(root / outside) for outside, inside in target["force-include"].items()}

    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    version = f"{version}+src.{digest.hexdigest()[:12]}"
    info = f"blendtorch-{version}.dist-info"
    about = project["project"]
    metadata = f"Metadata-Version: 2.4\nName: blendtorch\nVersion: {version}\nSummary: {about['description']}\n"
    # Blender installs nothing that a wheel asks for. torch, which the training side needs, is not for Blender.
    metadata += (
        f"License-Expression: {about['license']}\nLicense-File: LICENSE\nRequires-Python: {about['requires-python']}\n"
    )
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: build_addon\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/licenses/LICENSE"] = _read(root / "LICENSE")
    record = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in sorted(files.items())]
    files[f"{info}/RECORD"] = ("".join(record) + f"{info}/RECORD,,\n").encode()
    return f"blendtorch-{version}-py3-none-any.whl", zip_bytes(files)


def _digest(content: bytes) -> str:
    """A file's digest as a wheel's RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


# The zip


def addon_files(
    root: Path,
    version: str,
    variant: Variant,
    platform: str,
    package: tuple[str, bytes],
    pyzmq: Mapping[str, bytes],
) -> dict[str, bytes]:
    """All that a zip holds, by name."""
    files = dict(_tree(root / "addon_blendtorch"))
    if "__init__.py" not in files or MANIFEST not in files:
        raise BuildError(f"{root / 'addon_blendtorch'} holds no add-on; expected __init__.py and {MANIFEST} in it")
    wheels = {f"wheels/{name}": content for name, content in [package, *pyzmq.items()]}
    added: dict[str, str | list[str]] = {"version": version, "blender_version_min": variant.blender_version_min}
    if platform:
        added["platforms"] = [platform]
    added["wheels"] = [f"./{name}" for name in sorted(wheels)]
    files[MANIFEST] = manifest(files[MANIFEST].decode(), added).encode()
    return files | wheels


def manifest(template: str, added: Mapping[str, str | list[str]]) -> str:
    """The manifest of a zip: the template, and before its first table what the build adds."""
    try:
        given = tomllib.loads(template)
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"addon_blendtorch/{MANIFEST} cannot be understood: {error}") from None
    if twice := sorted(set(given) & set(added)):
        raise BuildError(f"addon_blendtorch/{MANIFEST} sets {', '.join(twice)}, which the build adds. Remove it there.")
    head, bracket, tables = template.partition("\n[")
    # Strings and lists of strings are written in JSON as in TOML.
    lines = [
        f"{key} = {json.dumps(value, indent=4 if isinstance(value, list) else None)}" for key, value in added.items()
    ]
    return head.rstrip("\n") + "\n" + "\n".join(lines) + "\n" + bracket + tables


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files: sorted, without times, so that equal files make equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o100644 << 16
            # A wheel is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=9)
    return buffer.getvalue()


def _tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files below a folder, by their names from there with slashes."""
    if not folder.is_dir():
        raise BuildError(f"there is no folder {folder}; run this in a whole copy of the repository")
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _LEFT_OUT.fullmatch(name)]
        for name in names:
            if not _LEFT_OUT.fullmatch(name):
                path = Path(parent, name)
                yield path.relative_to(folder).as_posix(), _read(path)


def _write_validated(output: Path, name: str, content: bytes, tools: Iterable[tuple[str, list[str]]]) -> list[str]:
    """Has a zip validated, then puts it into the folder; returns by which tools."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".build-") as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            passed = [who for who, command in tools if validate(path, who, command)]
            os.replace(path, output / name)
    except OSError as error:
        raise BuildError(f"cannot write {output / name}: {error}. Name another folder by --output.") from None
    return passed


# Blender's own tool


def validators(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Blender's tools for extensions that are here: whose it is, and the command line to begin with.

    An executable is named by BLENDTORCH_BLENDER or on the PATH; of the bpy modules, those of this Python and of the
    repository's environments are found.
    """
    for blender in (os.environ.get("BLENDTORCH_BLENDER"), "blender"):
        if blender and (path := shutil.which(blender)) and _run([path, "--version"]).stdout.startswith("Blender"):
            yield path, [path, "--factory-startup", "--command", "extension"]
            break
    packages = [Path(folder) for folder in sys.path if folder]
    packages += [path for lib in ("lib/python3*", "Lib") for path in root.glob(f".venv*/{lib}/site-packages")]
    seen = set()
    for package in packages:
        for tool in sorted(package.glob("bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py")):
            version = tool.relative_to(package).parts[1]
            if version not in seen:
                seen.add(version)
                yield f"bpy {version}", [sys.executable, str(tool)]


def validate(path: Path, who: str, command: Sequence[str]) -> bool:
    """Has a zip validated by one of Blender's tools; True, or an error.

    Raises:
        BuildError: It is refused.
    """
    done = _run([*command, "validate", str(path)])
    if done.returncode:
        raise BuildError(f"{path.name} is refused by the extension tool of {who}:\n{done.stdout.strip()}")
    return True


def _validated(by: Sequence[str]) -> str:
    if by:
        return f"validated by the extension tool of {', '.join(by)}"
    return (
        "NOT validated: no Blender was found here. Name one by BLENDTORCH_BLENDER, or check it by "
        "`blender --command extension validate ZIP`"
    )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{command[0]} did not end within {TIMEOUT_S:.0f} s: {' '.join(command)}") from None
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BuildError(f"cannot read {path}: {error.strerror}. Is this a whole copy of the repository?") from None


if __name__ == "__main__":
    sys.exit(main())
