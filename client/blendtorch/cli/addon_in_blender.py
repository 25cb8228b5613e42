"""Runs inside a Blender that may have no blendtorch: installs the add-on, or tells of it, as a line of JSON.

Blender gets it as text, since what it is to install may be all of blendtorch that it has.

    look            tells of the add-on and of the packages that it brings
    install ZIP     installs a zip over what is there, enables it and saves the preferences
"""

import importlib
import json
import os
import sys
import tomllib

import bpy

MARK = "BLENDTORCH-ADDON "
ID = "blendtorch"
MANIFEST = "blender_manifest.toml"


def look() -> dict:
    """What is there.

    Returns:
        `addons` in any of the repositories, what the import of each of the `packages` gives, and the folder `unpacked`,
        into which Blender unpacks the wheels of all of its add-ons.
    """
    enabled = {addon.module for addon in bpy.context.preferences.addons}
    addons = []
    for repo in bpy.context.preferences.extensions.repos:
        folder = os.path.join(repo.directory, ID)
        if os.path.isfile(os.path.join(folder, MANIFEST)):
            is_enabled = f"bl_ext.{repo.module}.{ID}" in enabled
            addons.append({"folder": folder, "version": version_in(folder), "enabled": is_enabled})
    packages = {name: package(name) for name in ("blendtorch", "zmq")}
    return {"addons": addons, "packages": packages, "unpacked": bpy.utils.user_resource("EXTENSIONS", path=".local")}


def version_in(folder: str) -> str:
    """The version of the add-on in a folder."""
    with open(os.path.join(folder, MANIFEST), "rb") as file:
        return tomllib.load(file)["version"]


def package(name: str) -> dict:
    """A package's version and file, or why it cannot be imported."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"version": module.__version__, "file": module.__file__}


def install(path: str) -> dict:
    """Installs a zip; returns which version it `replaced`, if one, and the `folder`."""
    repo = repository()
    folder = os.path.join(repo.directory, ID)
    replaced = version_in(folder) if os.path.isfile(os.path.join(folder, MANIFEST)) else ""
    writable = nearest(repo.directory)
    if not (os.path.isdir(writable) and os.access(writable, os.W_OK)):
        raise RuntimeError(f"{writable} cannot be written to. Blender keeps add-ons in {repo.directory}")
    bpy.ops.extensions.package_install_files(
        filepath=path, repo=repo.module, enable_on_install=True, overwrite=True
    )  # raises RuntimeError with Blender's own words
    if f"bl_ext.{repo.module}.{ID}" not in bpy.context.preferences.addons:
        raise RuntimeError("it was installed, but Blender did not enable it")
    bpy.ops.wm.save_userpref()
    return {"replaced": replaced, "folder": folder}


def repository() -> "bpy.types.UserExtensionRepo":
    """The repository to install into: where it already is, else Blender's own for files, else any other for files."""
    local = [
        repo
        for repo in bpy.context.preferences.extensions.repos
        if repo.enabled and not repo.use_remote_url and repo.source == "USER"
    ]
    if not local:
        raise RuntimeError("there is no local repository: add one in Preferences > Get Extensions > Repositories")
    local.sort(key=lambda repo: repo.module != "user_default")
    return min(local, key=lambda repo: not os.path.isdir(os.path.join(repo.directory, ID)))


def nearest(path: str) -> str:
    """The path itself, or the nearest above it that is there."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def main(words: list[str]) -> None:
    """Does what is asked, and ends the process."""
    try:
        answer = look() if words[0] == "look" else install(words[1])
    except Exception as error:
        answer = {"error": str(error) if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}"}
    print(f"\n{MARK}{json.dumps(answer)}", flush=True)
    os._exit(0)  # with an add-on enabled Blender 4.2's module crashes at the interpreter's own exit, and 4.5's hangs


main(sys.argv[sys.argv.index("--") + 1 :])
