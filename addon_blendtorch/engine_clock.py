"""What keeps the engine going while something runs: one timer, the key Esc, and what is heard of Blender and Python."""

import atexit
from collections.abc import Callable

import bpy

from .engine_handlers import Handlers
from .escape_key import add_key, remove_key


class Clock:
    """Timer, key and handlers, which are there only while they are needed.

    Args:
        turn: Called by the timer; returns in how many seconds it is due again, or None when nothing runs.
        handlers: What is heard of Blender.
        at_exit: Called when Python ends while the clock runs.
    """

    def __init__(self, turn: Callable[[], float | None], handlers: Handlers, at_exit: Callable[[], None]) -> None:
        self._turn = turn
        self._handlers = handlers
        self._at_exit = at_exit
        self._runs = self._is_in_turn = False
        self._timer = self._tick  # Blender knows a timer by its object, and each `self._tick` is a new one

    def start(self) -> None:
        """Has turns made, as soon as Blender comes to it; also when they are being made already."""
        self._handlers.register()
        if not self._runs:
            self._runs = True
            atexit.register(self._at_exit)
            add_key()
        if not bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.register(self._timer, first_interval=0.0, persistent=True)

    def stop(self, keep_handlers: bool = False) -> None:
        """Removes all of it.

        Args:
            keep_handlers: Whether Blender's undo, save and load are still to be heard.
        """
        if keep_handlers:
            self._handlers.register()
        else:
            self._handlers.unregister()
        if self._runs:
            self._runs = False
            atexit.unregister(self._at_exit)
            remove_key()
        # Within a turn it ends by itself.
        if not self._is_in_turn and bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.unregister(self._timer)

    def _tick(self) -> float | None:
        self._is_in_turn = True
        try:
            return self._turn()
        finally:
            self._is_in_turn = False
