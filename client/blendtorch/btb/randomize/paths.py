"""Data paths such as `modifiers["Bevel"].width`: to the struct and the property that they name."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

import bpy

from ...errors import RandomizeError
from .. import compat
from .find import there_are

_TOKEN = re.compile(r"""\.?([A-Za-z_]\w*)|\[(-?\d+)\]|(\["(?:[^"\\]|\\.)*"\]|\['(?:[^'\\]|\\.)*'\])""")


class Named(NamedTuple):
    """What a data path names.

    Attributes:
        owner: The data block or struct.
        attribute: Of it; `["name"]` for a custom property.
        component: If the path ends with one, such as 2 of `location[2]`; else None.
    """

    owner: Any
    attribute: str
    component: int | None


def resolve(block: bpy.types.ID, path: str) -> Named:
    """Looks up what a path names.

    Args:
        block: The data block that it begins at.
        path: Relative to it.

    Raises:
        RandomizeError: It is not there; the message says how far the path leads, and what there is.
    """
    if path.startswith("bpy."):
        raise RandomizeError(f"the data path {path!r} begins with bpy; it begins after the data block: `location`")
    tokens = _split(compat.geometry_input_path(path))
    if not tokens:
        raise RandomizeError(f'{path!r} is no data path; expected one such as `location` or `modifiers["Bevel"].width`')
    component = None
    if len(tokens) > 1 and tokens[-1][1:-1].lstrip("-").isdigit() and not _is_collection(block, tokens[:-1]):
        component = int(tokens[-1][1:-1])
        tokens = tokens[:-1]
    owner = _walk(block, tokens[:-1])
    last = tokens[-1].lstrip(".")
    if last.startswith("["):
        _custom(block, owner, last, path)
    elif last not in owner.bl_rna.properties:
        raise RandomizeError(_missing(block, owner, last))
    return Named(owner, last, component)


@lru_cache(maxsize=1024)
def _split(path: str) -> tuple[str, ...]:
    tokens = [match.group() for match in _TOKEN.finditer(path)]
    return tuple(tokens) if "".join(tokens) == path else ()


def _is_collection(block: bpy.types.ID, tokens: tuple[str, ...]) -> bool:
    owner = _walk(block, tokens[:-1])
    prop = owner.bl_rna.properties.get(tokens[-1].lstrip("."))
    return prop is not None and prop.type == "COLLECTION"


def _walk(block: bpy.types.ID, tokens: tuple[str, ...]) -> Any:
    """The struct that tokens lead to."""
    if not tokens:
        return block
    try:
        found = block.path_resolve("".join(tokens))
    except ValueError:
        found = None
    if isinstance(found, bpy.types.bpy_struct):
        return found
    before = _walk_any(block, tokens[:-1])
    if found is None:
        raise RandomizeError(_missing(block, before, tokens[-1].lstrip(".")))
    raise RandomizeError(f"`{''.join(tokens)}` of {_named(block)} is {found!r}, which has no properties of its own")


def _walk_any(block: bpy.types.ID, tokens: tuple[str, ...]) -> Any:
    """What tokens lead to, collections too; complains at the first that leads nowhere."""
    found: Any = block
    for i in range(len(tokens)):
        before = found
        try:
            found = block.path_resolve("".join(tokens[: i + 1]))
        except ValueError:
            raise RandomizeError(_missing(block, before, tokens[i].lstrip("."))) from None
        if found is None:
            raise RandomizeError(f"`{''.join(tokens[: i + 1])}` of {_named(block)} is empty")
    return found


def _custom(block: bpy.types.ID, owner: Any, token: str, path: str) -> None:
    key = bpy.utils.unescape_identifier(token[2:-2])
    try:
        keys = [name for name in owner.keys() if name != "_RNA_UI"]  # noqa: SIM118 (structs do not iterate)
    except TypeError:
        raise RandomizeError(f"`{path}` of {_named(block)}: that struct has no custom properties") from None
    if key not in keys:
        raise RandomizeError(f'{_named(block)} has no custom property "{key}"; {there_are(key, keys)}')


def _missing(block: bpy.types.ID, before: Any, token: str) -> str:
    where = _named(block) if before == block else f"{_words(before)} of {_named(block)}"
    if not token.startswith("["):
        names = [prop.identifier for prop in before.bl_rna.properties] if hasattr(before, "bl_rna") else dir(before)
        return f"{where} has no `{token}`; {there_are(token, names)}"
    if hasattr(before, "keys") and not isinstance(before, bpy.types.ID):
        return f"{where} has no {token}; {there_are(token[2:-2], before.keys())}"
    return f"{where} has no {token}"


def _words(struct: Any) -> str:
    kind = struct.bl_rna.name if hasattr(struct, "bl_rna") else "what the path leads to"
    name = getattr(struct, "name", "")
    return f'{kind} "{name}"' if name else str(kind)


def _named(block: bpy.types.ID) -> str:
    return f'{block.id_type.lower()} "{block.name}"'
