"""A copy of the file as it is now, unsaved changes included, that works from another folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from blendtorch.btb import setup as btb_setup
from blendtorch.errors import SceneError

from .properties import to_setup_unfinished


def save_copy(file: Path) -> None:
    """Saves the file as it is now, without taking the copy for the file that is open.

    Paths relative to the open file (textures, libraries, folders of randomizers) lead to the same files from the copy.

    Raises:
        SceneError: It cannot be written; the message says why.
    """
    with _complete_settings():
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True, check_existing=False, relative_remap=True)
        except RuntimeError as error:
            raise SceneError(
                f"a copy of the file cannot be saved as {file}: {str(error).strip()} Is there room in the folder for "
                "temporary files? (Preferences > File Paths > Temporary Files)"
            ) from None


@contextmanager
def _complete_settings() -> Iterator[None]:
    """Within, saving writes the settings of all scenes, and no path in them that is relative to the open file.

    Blender remaps its own paths alone. And in a file that nothing was changed in no settings are saved, but workers need
    some.
    """
    before: dict[str, str | None] = {}

    @bpy.app.handlers.persistent
    def rewrite(*_: Any) -> None:
        # After the add-on's own handler, which has just written what the panels show.
        for scene in bpy.data.scenes:
            if scene.library is None:
                before[scene.name] = scene.get(btb_setup.KEY)
                if before[scene.name] is None:
                    btb_setup.save(to_setup_unfinished(scene), scene)
                scene[btb_setup.KEY] = _without_relative_paths(scene[btb_setup.KEY])

    bpy.app.handlers.save_pre.append(rewrite)
    try:
        yield
    finally:
        bpy.app.handlers.save_pre.remove(rewrite)
        for name, text in before.items():
            if text is None:
                del bpy.data.scenes[name][btb_setup.KEY]
            else:
                bpy.data.scenes[name][btb_setup.KEY] = text


def _without_relative_paths(text: Any) -> Any:
    try:
        setup = json.loads(text)
    except (TypeError, ValueError):
        return text  # whoever reads it tells what is wrong with it
    return json.dumps(_absolute(setup))


def _absolute(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: one if key in ("label", "name") else _absolute(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    if isinstance(value, str) and value.startswith("//"):
        return bpy.path.abspath(value)
    return value
