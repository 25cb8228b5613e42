"""Checks of a settings dataclass by its annotations, and its way to JSON and back. No bpy here.

A *settings dataclass* is frozen, and each of its fields is plain: numbers, strings, bools, None, tuples of these, and
other settings dataclasses. As JSON it is an object with the names of its fields; tuples become lists.
"""

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ...errors import ConfigError


def check_fields(settings: Any) -> None:
    """Makes the values of a frozen dataclass plain, and refuses those that its annotations do not allow.

    Lists and arrays become tuples, numpy's numbers Python's.

    Args:
        settings: The dataclass, in its `__post_init__`.

    Raises:
        ConfigError: A value is of another type than is annotated, or a number is not finite.
    """
    name = type(settings).__name__
    cls: Any = type(settings)
    for field, hint in _hints(cls).items():
        value = plain(getattr(settings, field))
        if not _fits(value, hint):
            raise ConfigError(f"{name}: {field} is {value!r}; expected {_words(hint)}")
        object.__setattr__(settings, field, value)


def plain(value: Any) -> Any:
    """The value with tuples in place of lists, ranges and arrays, and Python's numbers in place of numpy's."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return tuple(plain(item) for item in value)
    return value


def is_number(value: Any) -> bool:
    """Whether it is a finite number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def fields_to_json(settings: Any) -> dict[str, Any]:
    """All fields by name, tuples as lists."""
    return {field.name: to_plain_json(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def to_plain_json(value: Any) -> Any:
    """The value of a field as JSON has it: settings dataclasses as they say themselves, tuples as lists."""
    if hasattr(value, "to_json"):
        return value.to_json()
    return [to_plain_json(item) for item in value] if isinstance(value, tuple) else value


def from_fields(cls: type, fields: Mapping[str, Any], what: str) -> Any:
    """The dataclass of these fields.

    Args:
        cls: The dataclass.
        fields: Values by name, settings dataclasses already made.
        what: It in words, for errors.

    Raises:
        ConfigError: A field is unknown, missing, or its value not allowed.
    """
    known = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := sorted(set(fields) - set(known)):
        raise ConfigError(
            f"{what} has no {_listed(unknown)}; it has {_listed(known)}. Was it saved by a newer version?"
        )
    needed = [
        n for n, f in known.items() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in needed if name not in fields]:
        raise ConfigError(f"{what} lacks {_listed(missing)}")
    return cls(**fields)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _fits(value: Any, hint: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _is_plain(value)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is typing.Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if args[-1] is Ellipsis:
            return all(_fits(item, args[0]) for item in value)
        return len(value) == len(args) and all(_fits(item, arg) for item, arg in zip(value, args, strict=True))
    if hint is float:
        return is_number(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | str) or is_number(value)


def _words(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(arg) for arg in args)
    if origin is typing.Literal:
        return " or ".join(repr(arg) for arg in args)
    if origin is tuple:
        inner = _words(args[0])
        return f"several times {inner}" if args[-1] is Ellipsis else f"{len(args)} times {inner}"
    words = {float: "a finite number", int: "a whole number", str: "a text", bool: "true or false", type(None): "none"}
    return words.get(hint) or f"a {getattr(hint, '__name__', hint)}"


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
