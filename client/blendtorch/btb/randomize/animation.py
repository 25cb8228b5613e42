"""Keyframes and drivers that are silent for a while."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from .. import compat
from .action import Action
from .place import Place

_Curve = tuple[str, int]
"""Data path and component."""


@contextmanager
def silenced(properties: Iterable[tuple[Place, str]]) -> Iterator[None]:
    """Mutes what animates properties, without having Blender evaluate anything anew.

    Args:
        properties: Where the struct is, and its attribute; `["name"]` for a custom property.
    """
    muted = [(block, _mute(block.find(), paths)) for block, paths in _by_block(properties).items()]
    try:
        yield
    finally:
        for block, curves in muted:
            # Looked up anew: what renders may have called handlers of the user's.
            _set_mute(block.find(), curves, False)


def silence_drivers(owner: Any, attribute: str) -> Callable[[], None] | None:
    """Mutes the drivers of a property, which else compute it anew whenever anything of its data block changes.

    Returns:
        What unmutes them; None if there is nothing to mute.
    """
    data = getattr(owner, "id_data", None) and getattr(owner.id_data, "animation_data", None)
    if not data or not data.drivers:
        return None
    for block, paths in _by_block([(Place.of(owner), attribute)]).items():
        curves = _mute(block.find(), paths, only_drivers=True)
        if curves:
            _tag(block)
            return Action(_unmute_drivers, (block, curves))
    return None


def _unmute_drivers(block: Place, curves: set[_Curve]) -> None:
    _set_mute(block.find(), curves, False, only_drivers=True)
    _tag(block)


def _tag(block: Place) -> None:
    """Has 4.2 learn which drivers are silent, where no value changes with it."""
    found = block.find()
    if found is not None:
        found.update_tag()


def _by_block(properties: Iterable[tuple[Place, str]]) -> dict[Place, set[str]]:
    """The data paths of properties by the data block, or embedded one, that they begin at."""
    found: dict[Place, set[str]] = {}
    for place, attribute in properties:
        if place.held is None:
            dot = "." if place.path and not attribute.startswith("[") else ""
            found.setdefault(place.block, set()).add(f"{place.path}{dot}{attribute}")
    return found


def _mute(block: bpy.types.ID | None, paths: set[str], *, only_drivers: bool = False) -> set[_Curve]:
    """Mutes the curves of paths that are not muted; returns which ones."""
    curves = {
        (curve.data_path, curve.array_index)
        for collection in _collections(block, only_drivers)
        for curve in collection
        if curve.data_path in paths and not curve.mute
    }
    _set_mute(block, curves, True, only_drivers)
    return curves


def _set_mute(block: bpy.types.ID | None, curves: set[_Curve], mute: bool, only_drivers: bool = False) -> None:
    if not curves:
        return
    for collection in _collections(block, only_drivers):
        # Not one by one: by attribute Blender takes it as a change, and evaluates all that is animated.
        wanted = [mute if (curve.data_path, curve.array_index) in curves else curve.mute for curve in collection]
        collection.foreach_set("mute", wanted)


def _collections(
    block: bpy.types.ID | None, only_drivers: bool
) -> "list[bpy.types.bpy_prop_collection[bpy.types.FCurve]]":
    data = getattr(block, "animation_data", None)
    if data is None:
        return []
    return [data.drivers] if only_drivers else compat.animation_curves(data)
