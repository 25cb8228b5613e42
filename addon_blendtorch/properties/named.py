"""Pointers to data-blocks whose names are kept, for when they are not in the file: three properties that belong together.

A pointer, the name that is shown and set, and the name that is kept behind it.
"""

from collections.abc import Callable

import bpy
from bpy.props import PointerProperty, StringProperty

Group = bpy.types.PropertyGroup


def named_pointer(type: type, pointer: str, kept_in: str, **more: object) -> object:
    """The pointer property `pointer`; the name of its target goes into the property `kept_in` when it is set."""

    def update(self: Group, context: bpy.types.Context) -> None:
        target = getattr(self, pointer)
        setattr(self, kept_in, target.name if target is not None else "")

    return PointerProperty(type=type, update=update, **more)


def shown_name(
    pointer: str | Callable[[Group], str], kept_in: str, make: Callable = StringProperty, **more: object
) -> object:
    """A text property: the present name of what a pointer points to, or else the name that is kept.

    Args:
        pointer: The name of the pointer's property, or what tells it of a group.
        kept_in: The property that keeps the name.
        make: Makes the property.
        more: Given to `make`.
    """

    def get(self: Group) -> str:
        target = getattr(self, pointer if isinstance(pointer, str) else pointer(self))
        return target.name if target is not None else getattr(self, kept_in)

    def put(self: Group, name: str) -> None:
        setattr(self, kept_in, name)

    return make(get=get, set=put, **more)


def kept_name() -> object:
    """The property that keeps a name."""
    return StringProperty(options={"HIDDEN"})


def is_deleted(target: bpy.types.ID) -> bool:
    """Whether it is an object that is in no collection any more: only what points to it keeps it in the file."""
    if not isinstance(target, bpy.types.Object):
        return False
    # Panels ask at each redraw, and `users_collection` looks through all objects of all collections.
    return not (target.visible_get() or target.users_collection)


def let_go_of_deleted(group: Group, pointer: str, shown: str) -> None:
    """Has a pointer to an object that is in no collection any more keep its name alone.

    Deleting an object in Blender removes it from its collections; a pointer would keep it in the file for ever.
    """
    target = getattr(group, pointer)
    if target is not None and is_deleted(target):
        name = getattr(group, shown)  # that of another one where another pointer counts, to a collection
        setattr(group, pointer, None)
        setattr(group, shown, name)
