"""An entry of the randomizer list to JSON and back. What its properties cannot show is kept as the JSON that it was."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import bpy

from blendtorch.btb import randomize
from blendtorch.btb.randomize.fields import to_plain_json
from blendtorch.errors import BlendTorchError

from .fields import COMMON, FIELDS
from .kinds import OTHER
from .numbers import keep_exact

_NOT_SHOWN = (TypeError, ValueError, KeyError, AttributeError, OverflowError)


def entry_to_json(entry: bpy.types.PropertyGroup) -> Any:
    """The JSON of an entry, as of `randomize.to_json`; of an unfinished one, too, which no randomizer can be made of."""
    before = json.loads(entry.raw or "{}")
    if entry.type != OTHER:
        return keep_exact(_read(entry), before)
    if not isinstance(before, Mapping):
        return before
    shown = {"label": entry.label, "mute": entry.mute}
    return {**before, **{name: value for name, value in shown.items() if value != _shown(before, name)}}


def entry_from_json(entry: bpy.types.PropertyGroup, data: Any) -> None:
    """Sets a new entry to what the JSON says, or, where the panel cannot show that, has it keep the JSON."""
    data = _with_defaults(data)
    entry.raw = json.dumps(data, ensure_ascii=False)
    entry.error = ""
    if not isinstance(data, Mapping) or not _write(entry, data):
        entry.type = OTHER
        if isinstance(data, Mapping):
            entry.label, entry.mute = _shown(data, "label"), _shown(data, "mute")


def set_defaults(entry: bpy.types.PropertyGroup) -> None:
    """Sets the fields that only entries of this type have to their defaults."""
    cls = randomize.TYPES.get(entry.type)
    for item in fields(cls) if cls is not None else ():
        if item.name not in COMMON and item.default is not MISSING:
            FIELDS[entry.type][item.name].write(entry, to_plain_json(item.default))


def _read(entry: bpy.types.PropertyGroup) -> dict[str, Any]:
    return {"type": entry.type, **{name: field.read(entry) for name, field in FIELDS[entry.type].items()}}


def _write(entry: bpy.types.PropertyGroup, data: Mapping[str, Any]) -> bool:
    """Sets the properties; returns whether they then say what `data` does."""
    known = FIELDS.get(data.get("type"))  # type: ignore[arg-type]
    if known is None or not set(data) <= {"type", *known}:
        return False
    try:
        entry.type = data["type"]
        for name, field in known.items():
            if name in data:
                field.write(entry, data[name])
        read = keep_exact(_read(entry), dict(data))
        return all(read[name] == value for name, value in data.items())
    except _NOT_SHOWN:
        return False


def _with_defaults(data: Any) -> Any:
    """JSON in which no field is missing, if a randomizer can be made of it."""
    try:
        return json.loads(json.dumps(randomize.to_json(randomize.from_json(data))))
    except (BlendTorchError, *_NOT_SHOWN):
        return data


def _shown(data: Mapping[str, Any], name: str) -> Any:
    value = data.get(name)
    expected = {"label": str, "mute": bool}[name]
    return value if isinstance(value, expected) else expected()
