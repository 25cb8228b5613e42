"""What is known inside Blender of where samples come from, for recordings."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..recording.origin import identity_of
from ..wire import LaunchArguments
from . import compat


@dataclass(frozen=True)
class OpenedScene:
    """The scene at the time it was looked at: the .blend that it is.

    Attributes:
        path: The file; "" for Blender's default scene.
        stamp: Its size in bytes, and when it was changed last, in nanoseconds.
    """

    path: str
    stamp: tuple[int, int]

    @property
    def is_same(self) -> bool:
        """Whether the file has not been changed since."""
        return self.stamp == _stamp(self.path)

    @classmethod
    def now(cls) -> "OpenedScene | None":
        """The scene as it is now; None where it was changed and not saved, so that no file tells what it is.

        Without a window nobody but a script changes it, and the script tells what; so it is looked at before the script is.
        """
        # The bpy modules of 4.2 and 4.5 say of every scene that it is changed, also of one just opened.
        if not compat.is_background() and bpy.data.is_dirty:
            return None
        path = bpy.data.filepath
        stamp = _stamp(path)
        return None if stamp is None else cls(path, stamp)


def origin_of(args: LaunchArguments, opened: OpenedScene | None, script_args: list[str] | None) -> dict[str, Any]:
    """Where samples come from, under the names and in the form of `btt.BlenderLauncher.origin`.

    Args:
        args: What the launcher told this instance.
        opened: The scene as it was before the script ran.
        script_args: The script's own arguments; None where they are not known.
    """
    origin: dict[str, Any] = {
        "blender": compat.blender_version(),
        "seed": args.seed,
        "num_instances": args.num_instances,
    }
    if not compat.is_background() and not (opened and opened.path == bpy.data.filepath and opened.is_same):
        opened = OpenedScene.now()  # people open and save scenes in a window
    if opened is not None and opened.is_same:
        origin["scene"] = identity_of(opened.path or None)
    # In a window's own scripts and operators there is none.
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is not None and Path(script).is_file():
        origin["script"] = identity_of(script)
    if script_args is not None and args.num_instances == 1:
        origin["instance_args"] = script_args  # of several instances nobody here knows those of the others
    return origin


def _stamp(path: str) -> tuple[int, int] | None:
    if not path:
        return (0, 0)
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns
