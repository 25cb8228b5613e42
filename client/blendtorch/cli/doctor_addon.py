"""What `blendtorch doctor` says of the add-on in each Blender: whether it is there, enabled, whole and of this version."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import InstanceError
from .addon import ask
from .doctor_checks import Line, Status

if TYPE_CHECKING:
    from ..launch.finder import Blender

NAME = "add-on"


def check_addons(blender: str | None) -> Iterator[Line]:
    """A line on each Blender that was found and is not too old."""
    from ..launch.finder import OLDEST_BLENDER, find_all

    for found in find_all(blender):
        if found.version < OLDEST_BLENDER:
            continue
        try:
            answer = ask(found, "look")
        except InstanceError as error:
            yield Line(Status.WARNING, NAME, str(error), "Start that Blender by hand, and see what it says.")
        else:
            yield describe_addon(found, answer)


def describe_addon(blender: "Blender", answer: dict) -> Line:
    """The line on what `addon_in_blender` found in a Blender."""
    install = f"blendtorch addon install --blender {blender.path}"
    addon = next(iter(sorted(answer["addons"], key=lambda one: not one["enabled"])), None)
    package = answer["packages"]["blendtorch"]
    if addon is None:
        seen = f"not in {blender.path}"
        if blender.is_python:
            return Line(Status.OK, NAME, f"{seen}, a bpy module; none needed, as it has no window")
        if "error" not in package:
            return Line(Status.WARNING, NAME, f"{seen}, which can serve without", f"For the panel: {install} ZIP")
        return Line(Status.WARNING, NAME, seen, f"Install it: {install} ZIP")

    seen = f"{addon['version']} in {addon['folder']} ({blender.path})"
    if not addon["enabled"] and not blender.is_python:
        fix = f"Enable BlendTorch in Blender's Preferences > Add-ons, or {install} ZIP"
        return Line(Status.WARNING, NAME, f"{seen}, not enabled", fix)
    for name, one in answer["packages"].items():
        if problem := one.get("error"):
            fix = f"Install it again, over what is there: {install} ZIP"
            return Line(Status.WARNING, NAME, f"{seen}, but {name} cannot be imported: {problem}", fix)
        if not one["file"].startswith(answer["unpacked"] + os.sep):
            fix = f"The add-on's own {name} is hidden by that one: remove it, or keep both of the same version."
            return Line(Status.WARNING, NAME, f"{seen}, but {name} {one['version']} comes from {one['file']}", fix)
    if addon["version"] != __version__:
        fix = f"The same version at both ends: pip install blendtorch=={addon['version']}, or {install} ZIP"
        return Line(Status.WARNING, NAME, f"{seen}, this client is {__version__}", fix)
    versions = ", ".join(f"{name} {one['version']}" for name, one in answer["packages"].items())
    state = "installed (a bpy module starts without add-ons)" if blender.is_python else "enabled"
    return Line(Status.OK, NAME, f"{seen}, {state}, brings {versions}")
