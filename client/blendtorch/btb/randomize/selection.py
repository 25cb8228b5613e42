"""What is selected in a view layer, which Blender forgets of all that is hidden."""

from collections.abc import Callable
from typing import Any

import bpy

from .action import Action
from .place import Place

_UNSELECTING = ("hide_viewport", "hide_select")


def keep_selection(owner: Any, attribute: str) -> Callable[[], None] | None:
    """Remembers what is selected, before an attribute of an object or collection is set. (What is active stays active.)

    Returns:
        What selects it again, once it can be; None if there is nothing to select.
    """
    if attribute not in _UNSELECTING or not isinstance(owner, bpy.types.Object | bpy.types.Collection):
        return None
    objects = [owner] if isinstance(owner, bpy.types.Object) else owner.all_objects
    selected = [
        (Place.of(obj), Place.of(scene), layer.name)
        for obj in objects
        for scene in bpy.data.scenes
        for layer in scene.view_layers
        if obj.select_get(view_layer=layer)
    ]
    return Action(_select, (selected,)) if selected else None


def is_in(obj: bpy.types.Object, layer: bpy.types.ViewLayer) -> bool:
    """Whether an object is in a view layer now."""
    obj.select_get(view_layer=layer)  # has Blender look what there is, which asking for the layer's objects does not
    return layer.objects.get(obj.name) == obj


def _select(selected: list[tuple[Place, Place, str]]) -> None:
    for obj_at, scene_at, name in selected:
        obj, scene = obj_at.find(), scene_at.find()
        layer = scene.view_layers.get(name) if scene is not None else None
        if obj is not None and layer is not None and is_in(obj, layer):
            obj.select_set(True, view_layer=layer)
