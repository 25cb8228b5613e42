"""What puts one change back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Action:
    """A call that can be compared: two that would do the same are equal."""

    function: Callable[..., object]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        self.function(*self.arguments)
