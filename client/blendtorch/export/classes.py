"""What classes are called, and which of them an export has."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from ..errors import ConfigError

WithoutClass = Literal["auto", "skip", "keep"]
WITHOUT_CLASS = 0
"""The class id of instances that have no class."""
OBJECT = "object"
"""What those are called where they are exported."""

_LARGEST_ID = 2**32 - 1


def class_names(metadata: Mapping[str, Any]) -> dict[int, str]:
    """The names that a recording gives to classes.

    Args:
        metadata: `Recording.metadata`. Its entry "classes", if it has one, maps class ids, in JSON as texts, to names.

    Returns:
        Class id to name, ordered by id.

    Raises:
        ConfigError: (a ValueError) "classes" is something else.
    """
    classes = metadata.get("classes") or {}
    if not isinstance(classes, Mapping):
        raise ConfigError(f'metadata: expected "classes" to map class ids to names, got {classes!r}')
    names = {}
    for class_id, name in classes.items():
        text = str(class_id)
        if not (text.isascii() and text.isdigit() and int(text) <= _LARGEST_ID):
            raise ConfigError(f'metadata: expected "classes" to map class ids to names, got the id {class_id!r}')
        if not isinstance(name, str) or not name:
            raise ConfigError(f'metadata: expected a name for class {text} in "classes", got {name!r}')
        names[int(text)] = name
    return dict(sorted(names.items()))


def class_name(class_id: int, names: Mapping[int, str]) -> str:
    """What a class is called: by its name if it has one, "object" for what has no class, else "class_7"."""
    if class_id in names:
        return names[class_id]
    return OBJECT if class_id == WITHOUT_CLASS else f"class_{class_id}"


def exported_classes(
    seen: Iterable[int], names: Mapping[int, str], without_class: WithoutClass = "auto"
) -> dict[int, str]:
    """Decide which classes an export has.

    All that have a name or were seen. What has no class is left out, as the floor and the lamps usually are; where nothing
    has a class all of it is of the one class "object".

    Args:
        seen: Class ids of the instances of the whole recording.
        names: As `class_names` returns them.
        without_class: What happens to class id 0: "skip", "keep" it as class "object", or "auto": keep it if there are no
            classes at all. A recording that gives class 0 a name keeps it in any case.

    Returns:
        Class id to name, ordered by id; each name once (a second "cube" becomes "cube_7" with its id).

    Raises:
        ConfigError: (a ValueError) Another value of `without_class`.
    """
    checked_without_class(without_class)
    ids = {int(class_id) for class_id in seen} | set(names)
    classed = ids - {WITHOUT_CLASS}
    keep = without_class == "keep" or WITHOUT_CLASS in names or (without_class == "auto" and not classed)
    found: dict[int, str] = {}
    for class_id in sorted(ids if keep else classed):
        name = class_name(class_id, names)
        found[class_id] = f"{name}_{class_id}" if name in found.values() else name
    return found


def checked_without_class(without_class: str) -> None:
    """Check the option, before anything is written.

    Raises:
        ConfigError: (a ValueError) It is no `WithoutClass`.
    """
    if without_class not in get_args(WithoutClass):
        raise ConfigError(f"without_class: expected one of {', '.join(get_args(WithoutClass))}, got {without_class!r}")
