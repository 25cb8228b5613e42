"""Signals: named moments at which callbacks are called."""

from collections.abc import Callable
from typing import Any


class Signal:
    """An ordered list of callbacks, each with arguments bound when it was added."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def add(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Adds a callback, called as `callback(*args_of_invoke, *args, **kwargs)`.

        Returns:
            A handle to pass to `remove`.

        Raises:
            TypeError: `callback` cannot be called.
        """
        if not callable(callback):
            raise TypeError(f"a signal takes a function, got {callback!r}. Pass the function itself, not its result.")

        def slot(*invoke_args: Any, **invoke_kwargs: Any) -> Any:
            return callback(*invoke_args, *args, **invoke_kwargs, **kwargs)

        self._slots.append(slot)
        return slot

    def remove(self, handle: Callable[..., Any]) -> None:
        """Removes what `add` returned.

        Raises:
            ValueError: It was not added, or was removed already.
        """
        if handle not in self._slots:
            raise ValueError("this handle is not of this signal, or was removed already. Pass what `add` returned.")
        self._slots.remove(handle)

    def invoke(self, *args: Any, **kwargs: Any) -> None:
        """Calls the callbacks in the order in which they were added; their exceptions pass through.

        Callbacks may add and remove callbacks; that takes effect at the next `invoke`.
        """
        for slot in tuple(self._slots):
            slot(*args, **kwargs)

    def __len__(self) -> int:
        return len(self._slots)
