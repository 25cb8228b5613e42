"""Numbers between JSON, which has 64 bits of them, and Blender's properties, which have 32. No bpy here."""

from collections.abc import Mapping
from typing import Any

import numpy as np

INT_MAX = 2**31 - 1  # of an IntProperty


def short(value: float) -> float:
    """The shortest decimal that Blender rounds to this value: 0.1 where a property of 32 bits gives 0.10000000149."""
    return float(str(np.float32(value)))


def keep_exact(value: Any, before: Any) -> Any:
    """Values as they are now, but with the exact numbers of before where Blender has merely rounded them.

    Args:
        value: JSON made of properties.
        before: The JSON from which the properties were set, whatever has become of them since.

    Returns:
        `value`, with those numbers of `before` that properties show as the numbers of `value`.
    """
    if isinstance(value, Mapping) and isinstance(before, Mapping):
        return {name: keep_exact(item, before[name]) if name in before else item for name, item in value.items()}
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [keep_exact(item, old) for item, old in zip(value, before, strict=True)]
    if not _is_number(before):
        return value
    # A number given once is for all components.
    if isinstance(value, list) and value and all(_is_number(item) and _same(item, before) for item in value):
        return before
    return before if _is_number(value) and _same(value, before) else value


def _same(value: float, before: float) -> bool:
    if isinstance(value, int):
        return value == min(before, INT_MAX)
    with np.errstate(over="ignore"):
        return bool(np.float32(value) == np.float32(before))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
