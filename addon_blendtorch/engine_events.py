"""What the engine does before the user's saving, undo and redo while it runs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine


class Events:
    """Called by the handlers of these names.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def save_pre(self) -> None:
        """No file holds what is only for a sample."""
        self._engine.put_back()

    def undo_pre(self) -> None:
        """Blender's data will be replaced by that of before."""
        if self._engine.state.environment:  # it holds on to objects that are gone then
            self._engine.notice = "The environment was stopped, for something was undone or redone."
        self._engine.stop_job()
        self._engine.put_back()

    def redo_pre(self) -> None:
        """As `undo_pre`."""
        self.undo_pre()
