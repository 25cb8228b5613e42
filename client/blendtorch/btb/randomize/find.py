"""From targets to Blender's data blocks."""

import difflib
from collections.abc import Iterable
from typing import Any

import bpy

from ...errors import RandomizeError
from .context import Context
from .place import COLLECTIONS
from .target import Target

_SHOWN = 8


def blocks(ctx: Context, target: Target) -> list[Any]:
    """The data blocks that a target names: one, or the objects of a collection.

    Raises:
        RandomizeError: It is not there; the message says what is. Or it is in another scene.
    """
    if target.type == "OBJECT":
        return [object_named(ctx, target.name)]
    if target.type == "COLLECTION":
        return _members(ctx, target)
    return [_block(ctx, target)]


def objects(ctx: Context, target: Target) -> list[bpy.types.Object]:
    """The objects that a target stands for, in the order of their names.

    Raises:
        RandomizeError: There are none, or not in this scene.
    """
    if target.type == "OBJECT":
        return [object_named(ctx, target.name)]
    if target.type == "COLLECTION":
        return _members(ctx, target)
    if not target.name and ctx.camera is not None:
        return [ctx.camera]
    data = _block(ctx, target)
    found = [obj for obj in ctx.scene.objects if obj.data == data]
    if not found or data.name != target.name:
        like_it = _object_like(target)
        if like_it is None:
            raise RandomizeError(f'no object of the scene "{ctx.scene.name}" has the data of {target}')
        return [object_named(ctx, target.name)]
    return sorted(found, key=lambda obj: obj.name)


def materials(ctx: Context, target: Target) -> list[bpy.types.Material]:
    """The materials that a target stands for, each once.

    Raises:
        RandomizeError: There are none.
    """
    if target.type == "MATERIAL":
        return [_block(ctx, target)]
    slots = (slot.material for obj in objects(ctx, target) for slot in obj.material_slots)
    return _some(_each_once(slots), f"{target} has no material; give it one")


def lights(ctx: Context, target: Target) -> list[bpy.types.Light]:
    """The lights that a target stands for, each once.

    Raises:
        RandomizeError: There are none.
    """
    if target.type == "LIGHT":
        return [_block(ctx, target)]
    found = _each_once(obj.data for obj in objects(ctx, target) if obj.type == "LIGHT")
    return _some(found, f"{target} is no light" if target.type == "OBJECT" else f"{target} has no lights")


def object_named(ctx: Context, name: str) -> bpy.types.Object:
    """The object of a name.

    Raises:
        RandomizeError: It is not there, or in no collection of the scene; the message says what is.
    """
    found: bpy.types.Object = named("OBJECT", name)
    if ctx.scene.objects.get(name) != found:
        _check_in_scene(ctx, [found])
    return found


def named(kind: str, name: str) -> Any:
    """The data block of an ID type and name.

    Raises:
        RandomizeError: It is not there; the message says what is.
    """
    all_of_kind = getattr(bpy.data, COLLECTIONS.get(kind, ""), None)
    if all_of_kind is None:
        raise RandomizeError(f"this Blender has no data blocks of type {kind!r}; it has {', '.join(COLLECTIONS)}")
    found = all_of_kind.get(name)
    if found is None:
        word = Target(kind, name)
        raise RandomizeError(f"there is no {word}; {there_are(name, [block.name for block in all_of_kind])}")
    return found


def there_are(name: str, existing: Iterable[str]) -> str:
    """What there is instead, those like the name first."""
    names = list(existing)
    if not names:
        return "there is nothing of that kind"
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    shown = [*close, *(other for other in names if other not in close)][:_SHOWN]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return "there is " + ", ".join(f'"{other}"' for other in shown) + more


def _block(ctx: Context, target: Target) -> Any:
    if not target.name:
        return _in_use(ctx, target)
    obj = _object_like(target)
    if obj is None:
        return named(target.type, target.name)
    data = getattr(bpy.data, COLLECTIONS[target.type]).get(target.name)
    if data is None:
        return object_named(ctx, target.name).data
    # People see the names of objects; data of that name may be left over from an object that was removed.
    is_seen = data == obj.data or any(other.data == data for other in ctx.scene.objects)
    return data if is_seen or not _is_there(ctx, obj) else obj.data


def _object_like(target: Target) -> bpy.types.Object | None:
    """The light or camera whose object has the name of a target of that type."""
    obj = bpy.data.objects.get(target.name) if target.type in ("CAMERA", "LIGHT") else None
    return obj if obj is not None and obj.type == target.type else None


def _in_use(ctx: Context, target: Target) -> Any:
    scene = ctx.scene
    if target.type == "SCENE":
        return scene
    if target.type == "WORLD":
        if scene.world is None:
            raise RandomizeError(f'the scene "{scene.name}" has no world; add one in World Properties')
        return scene.world
    if ctx.camera is None:
        raise RandomizeError(f'the scene "{scene.name}" has no active camera; set one in Scene Properties')
    return ctx.camera.data


def _members(ctx: Context, target: Target) -> list[bpy.types.Object]:
    members = named("COLLECTION", target.name).all_objects
    found = sorted(members, key=lambda obj: (obj.name, obj.library.filepath if obj.library else ""))
    _check_in_scene(ctx, found)
    return _some(found, f"{target} has no objects")


def _check_in_scene(ctx: Context, objects: list[bpy.types.Object]) -> None:
    """Looks whether objects are there to be rendered; what was deleted stays in the file as long as something names it.

    Those in a collection that objects instance, or nodes, are: they are in no collection of the scene itself.
    """
    there = set(ctx.scene.objects)
    for obj in objects:
        if obj not in there and not _is_instanced(obj):
            raise RandomizeError(
                f'object "{obj.name}" is not in scene "{ctx.scene.name}": it was deleted, or is in another scene. Choose '
                "another one, or link it to a collection of this scene"
            )


def _is_there(ctx: Context, obj: bpy.types.Object) -> bool:
    return ctx.scene.objects.get(obj.name) == obj or _is_instanced(obj)


def _is_instanced(obj: bpy.types.Object) -> bool:
    holders = [collection for collection in bpy.data.collections if obj in collection.all_objects.values()]
    if not holders:
        return False
    users = bpy.data.user_map(subset=holders).values()
    return any(user.id_type in ("OBJECT", "NODETREE", "PARTICLE") for found in users for user in found)


def _each_once(found: Iterable[Any]) -> list[Any]:
    kept: list[Any] = []
    for block in found:
        if block is not None and block not in kept:
            kept.append(block)
    return kept


def _some(found: list[Any], otherwise: str) -> list[Any]:
    if not found:
        raise RandomizeError(otherwise)
    return found
