"""What is in a scene only for a sample while the user works: put back when an undo step brings it again.

Blender saves a step after each edit, without telling add-ons. Where an episode is underway, or *Randomize Once* shows a
sample, the step holds what randomizers have set. So the scene has a mark then, which the step holds, too.
"""

import secrets
from collections.abc import Callable

import bpy
from bpy.app.handlers import persistent

KEY = "blendtorch_applied"
"""The custom property of a scene that is the mark."""

# More than Blender has undo steps: by default 32, up to 256. Most episodes are in none of them.
_MAX_KEPT = 4096

_kept: dict[str, Callable[[], None]] = {}


def mark(scene: bpy.types.Scene, put_back: Callable[[], None]) -> None:
    """Marks that something is applied to a scene.

    Args:
        scene: The scene.
        put_back: Puts it back, once or more often; it refers to nothing of Blender's by address.
    """
    token = scene[KEY] = secrets.token_hex(8)
    _kept[token] = put_back
    if len(_kept) > _MAX_KEPT:
        del _kept[next(iter(_kept))]


def unmark(scene: bpy.types.Scene) -> None:
    """Removes the mark: what was applied is put back."""
    scene.pop(KEY, None)


@persistent
def _on_undo(*args: object) -> None:
    for scene in bpy.data.scenes:
        put_back = _kept.get(scene.get(KEY))
        unmark(scene)
        if put_back is not None:
            put_back()


@persistent
def _on_load(*args: object) -> None:
    _kept.clear()  # no undo reaches beyond it


_HANDLERS = (("undo_post", _on_undo), ("redo_post", _on_undo), ("load_post", _on_load))


def register() -> None:
    """Adds the handlers."""
    for event, handler in _HANDLERS:
        getattr(bpy.app.handlers, event).append(handler)


def unregister() -> None:
    """Removes them. Steps that hold something stay so."""
    for event, handler in _HANDLERS:
        getattr(bpy.app.handlers, event).remove(handler)
    _kept.clear()
