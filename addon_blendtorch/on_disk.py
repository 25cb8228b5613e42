"""What is set up in the file as it was saved last, which workers open that are launched *As Saved*."""

import bpy
from bpy.app.handlers import persistent

from blendtorch.btb import setup as btb_setup
from blendtorch.btb.setup import SceneSetup, UnknownRandomizer

from .producer import what_is_made
from .properties import to_setup_unfinished

# By the names of its scenes; None until it is looked at. The JSON that the scenes have is not always what is on disk:
# copies that are saved, undo and scripts change it.
_on_disk: dict[str, SceneSetup | None] | None = None


def problem_as_saved(scene: bpy.types.Scene) -> str:
    """Why workers cannot open the file as it was saved, in words; "" if they can."""
    if not bpy.data.filepath:
        return "The file was never saved: save it, or choose As It Is Now."
    saved = _saved_setup(scene)
    if saved is None:  # saving writes it where something was set up
        return "Nothing was set up in the file that is saved: change a setting and save it, or choose As It Is Now."
    if what_is_made(saved) != what_is_made(to_setup_unfinished(scene)):
        return (
            "The settings were changed since the file was saved: its workers would make other samples than this window. "
            "Save the file, or choose As It Is Now."
        )
    return ""


def _saved_setup(scene: bpy.types.Scene) -> SceneSetup | None:
    """What is set up for a scene in the file on disk; None if nothing is."""
    if _on_disk is None:
        _note_on_disk()
    saved = _on_disk.get(scene.name)
    if saved is not None and any(isinstance(one, UnknownRandomizer) for one in saved.randomizers):
        # Read anew, for a script may have registered them after the file was loaded.
        saved = btb_setup.from_json(btb_setup.to_json(saved))[0]
    return saved


def _note_on_disk() -> None:
    global _on_disk
    _on_disk = {scene.name: btb_setup.load(scene)[0] for scene in bpy.data.scenes if scene.library is None}


@persistent
def _load_post(*_: object) -> None:
    _note_on_disk()


@persistent
def _save_post(file: str, *_: object) -> None:
    if file == bpy.data.filepath:  # a copy leaves the file as it is
        _note_on_disk()


def register() -> None:
    """Hears of what is loaded and saved."""
    global _on_disk
    _on_disk = None  # while Blender enables add-ons it hides the file from them
    bpy.app.handlers.load_post.append(_load_post)
    bpy.app.handlers.save_post.append(_save_post)


def unregister() -> None:
    """Hears of it no longer."""
    bpy.app.handlers.save_post.remove(_save_post)
    bpy.app.handlers.load_post.remove(_load_post)
