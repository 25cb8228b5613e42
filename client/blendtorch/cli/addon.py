"""`blendtorch addon install`: puts the add-on into a Blender, without opening it."""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BlenderNotFoundError, ConfigError, InstanceError
from .addon_zip import AddonZip, choose_zip, read_zip

if TYPE_CHECKING:
    from ..launch.finder import Blender

TIMEOUT_S = 300.0
_INSIDE = Path(__file__).with_name("addon_in_blender.py")
_MARK = "BLENDTORCH-ADDON "


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser("addon", help="install the BlendTorch add-on into a Blender")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    install = commands.add_parser(
        "install",
        help="install and enable the add-on, over an older one if there is one",
        description="Installs the add-on for this user and enables it. Blender needs no network for that. Close its "
        "windows first: what runs goes on with the old add-on until it is started again.",
    )
    install.add_argument(
        "zip",
        type=Path,
        nargs="?",
        metavar="ZIP",
        help="the add-on (default: the one in the folder dist here that fits the Blender)",
    )
    install.add_argument(
        "--blender",
        metavar="PATH",
        help="a blender executable, a folder that holds one, or a Python that has bpy (default: BLENDTORCH_BLENDER, or "
        "`blender` on the PATH)",
    )
    install.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Installs the add-on; returns the exit status."""
    blender = choose_blender(args.blender)
    if args.zip is None:
        addon = choose_zip(Path("dist"), blender)
    else:
        addon = read_zip(args.zip)
        if problem := addon.problem(blender):
            other = "blendtorch-X.Y.Z-abi3.zip is for Blender 5.1 and later on newer Pythons, blendtorch-X.Y.Z.zip else"
            raise ConfigError(f"{addon.path} does not fit {blender.path}: {problem}. Take another one: {other}.")
    print(f"{blender.path}: Blender {blender.version_string}, Python {blender.python} ({blender.origin})")
    done = install(blender, addon)
    before = f", over version {done['replaced']}" if done["replaced"] else ""
    print(f"installed and enabled version {addon.version}{before}: {done['folder']}")
    _verify(blender)
    return 0


def choose_blender(path: str | None) -> "Blender":
    """The first Blender that can take the add-on, of those that a launch would try; it need not have blendtorch.

    Raises:
        BlenderNotFoundError: There is none; the message lists all that were tried.
    """
    from ..launch.finder import OLDEST_BLENDER, find_all

    tried = []
    for found in find_all(path):
        problem = found.problem
        if found.version >= OLDEST_BLENDER:
            if path or os.environ.get("BLENDTORCH_BLENDER") or not found.is_python:
                return found
            problem = "it has no window for the panel; it gets the add-on where it is named alone"
        tried.append(f"  {found.path} ({found.origin}): {problem}")
    oldest = ".".join(map(str, OLDEST_BLENDER))
    raise BlenderNotFoundError(
        "no Blender was found to install into. Tried:\n"
        + "\n".join(tried)
        + f"\nName a Blender {oldest} or newer by --blender PATH, or the environment variable BLENDTORCH_BLENDER."
    )


def install(blender: "Blender", addon: AddonZip) -> dict:
    """Has a Blender install a zip, enable it, and save its preferences.

    Returns:
        `replaced`: the version that was there before, or an empty string; `folder`: where it is now.

    Raises:
        InstanceError: Blender refused.
    """
    return ask(blender, "install", os.path.abspath(addon.path))


def ask(blender: "Blender", *words: str) -> dict:
    """Runs `addon_in_blender` in a Blender, as the user's own preferences set it up; returns its answer.

    Raises:
        InstanceError: It failed, or gave no answer.
    """
    source = _INSIDE.read_text(encoding="utf-8")
    if blender.is_python:
        command = [blender.path, "-c", source, "--", *words]
    else:
        command = [blender.path, "--background", "--python-expr", source, "--", *words]
    # Blender keeps its temporary files in a folder that it does not remove here.
    with tempfile.TemporaryDirectory(prefix="blendtorch-") as folder:
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "TMPDIR": folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise InstanceError(
                f"{blender.path} did not answer within {TIMEOUT_S:.0f} s; end it and try again"
            ) from None
    lines = done.stdout.splitlines()
    answer = next((line for line in lines if line.startswith(_MARK)), None)
    said = "\n".join(line for line in lines if line and not line.startswith(_MARK))
    if answer is None:
        raise InstanceError(f"{blender.path} gave no answer, and ended with {done.returncode}. It printed:\n{said}")
    found = json.loads(answer.removeprefix(_MARK))
    if problem := found.get("error"):
        printed = f"\nIt printed:\n{said}" if said else ""
        raise InstanceError(f"{blender.path} did not take the add-on: {problem.strip()}{printed}")
    return found


def _verify(blender: "Blender") -> None:
    """Starts Blender anew, and tells what it has then."""
    packages = ask(blender, "look")["packages"]
    for name, package in packages.items():
        if problem := package.get("error"):
            raise InstanceError(
                f"after the installation {blender.path} cannot import {name}: {problem}. Remove the add-on in Blender's "
                "Preferences > Add-ons, install it again, and report this if it stays."
            )
        print(f"in Blender: {name} {package['version']}, {package['file']}")
    if blender.is_python:
        print(
            "A bpy module starts without add-ons: its scripts can import blendtorch; the panel is for Blender's window."
        )
    else:
        print("In Blender's 3D viewport press N: the panel is in the tab BlendTorch.")
