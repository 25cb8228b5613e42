"""What the engine hears of Blender as long as the add-on is enabled: that a file is loaded, and undo."""

import bpy
from bpy.app.handlers import persistent

from .engine import engine


@persistent
def _on_load(*args: object) -> None:
    engine.leave_file()


@persistent
def _on_undo(*args: object) -> None:
    engine.after_undo()


_HANDLERS = (("load_pre", _on_load), ("undo_post", _on_undo), ("redo_post", _on_undo))


def register() -> None:
    """Hears of loading and undo. What else the engine needs of Blender is there only while something runs."""
    for event, handler in _HANDLERS:
        getattr(bpy.app.handlers, event).append(handler)


def unregister() -> None:
    """Stops everything, before the add-on goes: no thread, socket, timer, handler, key or process is left."""
    for event, handler in _HANDLERS:
        getattr(bpy.app.handlers, event).remove(handler)
    engine.end()
