"""Class ids of objects, from a custom property or from the collections they are in."""

from collections.abc import Mapping

import bpy

from ..errors import ConfigError, SceneError

_LARGEST = 2**32 - 1


class ClassFinder:
    """Tells the class of what is drawn.

    Args:
        classes: The name of a custom property of objects that holds their class id; or class ids by the names of
            collections, whose objects (those of collections inside, too) are of that class; where an object is in
            several, the first one counts. For an instance the object that is shown is asked first, then what
            shows it. 0 is what has no class.

    Raises:
        ConfigError: A class id is not an integer of 0 .. 2^32 - 1.
    """

    def __init__(self, classes: str | Mapping[str, int]) -> None:
        if not isinstance(classes, str | Mapping):
            raise ConfigError(
                f"classes is {classes!r}, expected the name of a custom property, or a dict of the names of collections "
                "and their class ids."
            )
        if not isinstance(classes, str):
            for name, class_id in classes.items():
                if not _is_id(class_id):
                    raise ConfigError(f"the class id of {name!r} is {class_id!r}, expected an integer, 0 or more.")
        self._classes = classes
        self._by_name: dict[str, int] = {}

    def begin_frame(self) -> None:
        """Looks at the collections anew.

        Raises:
            SceneError: There is no collection of that name.
        """
        if isinstance(self._classes, str):
            return
        self._by_name = {}
        for name, class_id in self._classes.items():
            collection = bpy.data.collections.get(name)
            if collection is None:
                raise SceneError(
                    f"there is no collection {name!r}, which classes names. The file has: "
                    f"{', '.join(sorted(bpy.data.collections.keys())) or 'none'}."
                )
            for obj in collection.all_objects:
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
        if not isinstance(self._classes, str):
            return self._by_name.get(obj.name_full)
        class_id = obj.get(self._classes)
        if class_id is not None and not _is_id(class_id):
            raise SceneError(
                f"custom property {self._classes!r} of object {obj.name!r} is {class_id!r}, expected an integer, 0 or more."
            )
        return class_id


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
