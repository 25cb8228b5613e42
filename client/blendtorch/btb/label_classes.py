"""Class ids of objects: from a custom property, from the collections they are in, or of their own."""

from collections.abc import Mapping
from typing import Any

import bpy

from ..errors import ConfigError, SceneError

_LARGEST = 2**32 - 1


Classes = str | Mapping[Any, int]


class ClassFinder:
    """Tells the class of what is drawn.

    Args:
        classes: The name of a custom property of objects that holds their class id; or class ids by collections (or their
            names), whose objects (those of collections inside, too) are of that class, and by objects; where several are
            about an object, the first one counts. For an instance the object that is shown is asked first, then what
            shows it. 0 is what has no class.

    Raises:
        ConfigError: A class id is not an integer of 0 .. 2^32 - 1, or a key is none of those.
    """

    def __init__(self, classes: Classes) -> None:
        if not isinstance(classes, str | Mapping):
            raise ConfigError(
                f"classes is {classes!r}, expected the name of a custom property, or a dict of collections (or their "
                "names) or objects and their class ids."
            )
        self._property = classes if isinstance(classes, str) else None
        # By name, for what Blender's undo does to data blocks: the kind, the name, the library, and the class id.
        self._entries: list[tuple[str, str, str | None, int]] = []
        if not isinstance(classes, str):
            for key, class_id in classes.items():
                if not _is_id(class_id):
                    raise ConfigError(f"the class id of {key!r} is {class_id!r}, expected an integer, 0 or more.")
                self._entries.append((*_named(key), class_id))
        self._by_name: dict[str, int] = {}

    def begin_frame(self) -> None:
        """Looks at the collections and objects anew.

        Raises:
            SceneError: There is none of that name.
        """
        self._by_name = {}
        for kind, name, library, class_id in self._entries:
            blocks = getattr(bpy.data, kind)
            found = blocks.get(name) if library is None else blocks.get((name, library))
            if found is None:
                raise SceneError(
                    f"there is no {kind[:-1]} {name!r}, which classes names. The file has: "
                    f"{', '.join(sorted(blocks.keys())[:100]) or 'none'}."
                )
            for obj in found.all_objects if kind == "collections" else [found]:
                self._by_name.setdefault(obj.name_full, class_id)

    def class_of(self, instance: bpy.types.DepsgraphObjectInstance) -> int:
        """The class id of an instance, valid until the depsgraph's iterator goes on.

        Raises:
            SceneError: The custom property is not an integer of 0 .. 2^32 - 1.
        """
        found = self._of_object(instance.object.original)
        if found is None and instance.is_instance:
            found = self._of_object(instance.parent.original)
        return 0 if found is None else found

    def _of_object(self, obj: bpy.types.Object) -> int | None:
        if self._property is None:
            return self._by_name.get(obj.name_full)
        class_id = obj.get(self._property)
        if class_id is not None and not _is_id(class_id):
            raise SceneError(
                f"custom property {self._property!r} of object {obj.name!r} is {class_id!r}, expected an integer, 0 or "
                "more."
            )
        return class_id


def _named(key: object) -> tuple[str, str, str | None]:
    """What a key of classes is about: where in `bpy.data`, name and library."""
    if isinstance(key, str):
        return "collections", key, None
    if not isinstance(key, bpy.types.Object | bpy.types.Collection):
        raise ConfigError(f"classes has {key!r}, expected the name of a collection, a collection or an object.")
    library = None if key.library is None else key.library.filepath
    return "objects" if isinstance(key, bpy.types.Object) else "collections", key.name, library


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
