"""Settings of Blender that are changed for a while and put back, whatever happens in between."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self


class TemporarySettings:
    """A context that changes attributes and puts them back in reverse order at its end, also after an exception.

    ::

        with TemporarySettings() as change:
            change(scene.render, "filepath", "/tmp/picture.png")
            bpy.ops.render.render(write_still=True)

    What has the wanted value already is not assigned, for Blender takes any assignment as a change that must be evaluated.
    One value that cannot be put back (its owner was removed meanwhile) does not keep the others from it; the error is
    raised when all is done.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def __call__(self, owner: Any, name: str, value: Any) -> None:
        """Sets an attribute until the end of the context.

        Args:
            owner: A Blender struct, such as `scene.render`.
            name: Of its attribute.
            value: As one would assign it.

        Raises:
            AttributeError, TypeError: Blender does not take it.
        """
        before = _value(owner, name)
        if before == value:
            return
        self._stack.callback(setattr, owner, name, before)
        setattr(owner, name, value)

    def keep(self, owner: Any, first: Sequence[str] = ()) -> None:
        """Remembers all values of a struct that can be set, to be put back at the end.

        For structs where setting one value changes others, or decides which are allowed.

        Args:
            owner: A Blender struct, such as `scene.render.image_settings`. Structs inside it are not looked at.
            first: Names of what is to be put back first, in this order.
        """
        kinds = {prop.identifier: prop.type for prop in owner.bl_rna.properties if not prop.is_readonly}
        values = {name: _value(owner, name) for name, kind in kinds.items() if kind not in {"POINTER", "COLLECTION"}}
        ordered = {name: values[name] for name in first if name in values} | values

        def put_back() -> None:
            for name, value in ordered.items():
                # An enum reads as "" when its value is none of those offered; it cannot be set to that.
                unset = kinds[name] == "ENUM" and value == ""
                if _value(owner, name) != value and not unset:
                    setattr(owner, name, value)

        self.on_exit(put_back)

    def on_exit(self, action: Callable[[], object]) -> None:
        """Has something else done at the end, in its turn of the reverse order."""
        self._stack.callback(action)


def _value(owner: Any, name: str) -> Any:
    """A value that stays when the setting changes: Blender's arrays and vectors are views of it."""
    value = getattr(owner, name)
    return tuple(value) if hasattr(value, "__len__") and not isinstance(value, str | bytes | set) else value
