"""A sample as the members of a shard."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import EncodeError
from ..wire.body import Buffer
from . import typed_json
from .description import FieldSchema
from .images import encode
from .npy import MAX_HEADER, npy_header
from .settings import RecordingSettings
from .shard_index import FIELD, JSON, MAX_FIELDS
from .shard_writer import Member
from .tar import MAX_NAME, MAX_SIZE


def members_of(key: str, sample: Mapping[str, Any], settings: RecordingSettings) -> list[Member]:
    """The members of one sample: one for each array, and one for the rest, which comes last.

    Raises:
        EncodeError: A field cannot be recorded, or not as its encoding wants; names it.
        ConfigError: A library for an encoding is missing; names it.
    """
    members: list[Member] = []
    rest: dict[str, Any] = {}
    for name, value in sample.items():
        if type(name) is not str or (name == typed_json.TYPES and not typed_json.is_array(value)):
            raise EncodeError(f"the field name {name!r} cannot be recorded. Choose another text.")
        if not typed_json.is_array(value):
            rest[name] = value
            continue
        try:
            members.append(_member(key, name, typed_json.as_array(value), settings))
        except EncodeError as error:
            raise EncodeError(f"field {name!r} {error}") from None
    if len(members) >= MAX_FIELDS:
        raise EncodeError(
            f"the sample has {len(members)} arrays, expected fewer than {MAX_FIELDS}. Put some in a dict."
        )
    names: dict[str, str] = {}
    for name, *_ in members:
        other = names.setdefault(name.lower(), name)
        if other != name:
            raise EncodeError(
                f"the fields {other[len(key) + 1 :]} and {name[len(key) + 1 :]} differ in upper and lower case alone, and "
                "are one to WebDataset. Choose other names."
            )
    text = typed_json.dumps(rest)
    members.append((f"{key}.{JSON}", [text], len(text)))
    return members


def schema_of(sample: Mapping[str, Any], settings: RecordingSettings) -> dict[str, FieldSchema]:
    """What the fields of a sample are."""
    schema = {}
    for name, value in sample.items():
        if typed_json.is_array(value):
            array = typed_json.as_array(value)
            schema[name] = FieldSchema(array.dtype.name, array.shape, settings.encode.get(name, "npy"))
        else:
            schema[name] = FieldSchema(type(value).__name__, None, "json")
    return schema


def _member(key: str, name: str, array: np.ndarray, settings: RecordingSettings) -> Member:
    encoding = settings.encode.get(name, "npy")
    full_name = f"{key}.{name}.{encoding}"
    if not FIELD.fullmatch(name) or len(full_name) > MAX_NAME:
        raise EncodeError(
            "is an array, and its name cannot be that of a file. Take letters, digits, '_' and '-', at most "
            f"{MAX_NAME - len(key) - 6}."
        )
    content: list[Buffer]
    if encoding == "npy":
        data = np.ascontiguousarray(array)
        flat = data.reshape(-1).view(np.uint8).data if data.size else b""
        content = [npy_header(data.dtype.name, array.shape), flat]
    else:
        content = [encode(array, encoding, settings.quality)]
    size = sum(len(part) for part in content)
    if size > MAX_SIZE - MAX_HEADER:
        raise EncodeError(f"has {size} bytes, more than a recording can hold ({MAX_SIZE}).")
    return full_name, content, size
