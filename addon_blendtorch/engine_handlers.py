"""What is heard of Blender while something runs: loading, undo and saving."""

from collections.abc import Callable
from typing import Any

import bpy

_EVENTS = ("load_pre", "undo_pre", "undo_post", "redo_pre", "redo_post", "save_pre")


class Handlers:
    """Handlers of Blender that call methods of the same names.

    Args:
        listener: Has the methods `load_pre`, `undo_pre`, `undo_post`, `redo_pre`, `redo_post` and `save_pre`, without
            arguments.
    """

    def __init__(self, listener: Any) -> None:
        self._handlers = {event: self._handler(getattr(listener, event), event) for event in _EVENTS}
        self._called = ""
        self._wanted = False

    def register(self) -> None:
        """Has the methods called."""
        self._wanted = True
        for event, handler in self._handlers.items():
            registered = getattr(bpy.app.handlers, event)
            if handler not in registered:
                registered.append(handler)

    def unregister(self) -> None:
        """Has them called no longer. One that is being called goes later: Blender would pass over the next in its list."""
        self._wanted = False
        for event, handler in self._handlers.items():
            registered = getattr(bpy.app.handlers, event)
            if handler in registered and event != self._called:
                registered.remove(handler)
        if self._called and not bpy.app.background:  # where no timer runs it stays, and does nothing
            bpy.app.timers.register(self._unregister_later, first_interval=0.0, persistent=True)

    def _unregister_later(self) -> None:
        if not self._wanted:
            self.unregister()

    def _handler(self, method: Callable[[], None], event: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            self._called = event
            try:
                method()
            finally:
                self._called = ""

        return handler
