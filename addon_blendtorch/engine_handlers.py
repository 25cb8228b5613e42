"""What is heard of Blender while something runs: undo and saving."""

from collections.abc import Callable
from typing import Any

import bpy

_EVENTS = ("undo_pre", "redo_pre", "save_pre")


class Handlers:
    """Handlers of Blender that call methods of the same names.

    Args:
        listener: Has the methods `undo_pre`, `redo_pre` and `save_pre`, without arguments.
    """

    def __init__(self, listener: Any) -> None:
        self._handlers = {event: self._handler(getattr(listener, event), event) for event in _EVENTS}
        self._called = ""
        self._wanted = False
        self._timer = self._unregister_later  # one object, by which Blender knows it

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
        timers = bpy.app.timers
        # Where no timer runs it stays, and does nothing.
        if self._called and not bpy.app.background and not timers.is_registered(self._timer):
            timers.register(self._timer, first_interval=0.0, persistent=True)

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
