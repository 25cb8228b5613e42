"""What a new entry of the list is aimed at, and where it begins: at what the user is looking at."""

import bpy

from .properties.kinds import KINDS, target_pointer

_AROUND_M = 1.0


def aim(entry: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Aims a new entry at the active object, its material or its data, as its kind takes it.

    Boxes and spheres begin where the object is, the box a metre to each side.
    """
    targets = KINDS[entry.type].targets
    active = context.view_layer.objects.active if context.view_layer else None
    if entry.type == "Scale":
        entry.distribution.low, entry.distribution.high = (0.5,) * 4, (1.5,) * 4
    if not targets:
        return
    if entry.type == "LookAt":
        entry.target_type = "CAMERA"  # the one that renders
        if active is not None and active.type not in ("CAMERA", "LIGHT"):
            entry.at_object = active
        return
    kind, target = _choose(targets, active)
    entry.target_type = kind
    if target is not None:
        setattr(entry, target_pointer(kind), target)
    if active is not None and entry.type in ("LocationInBox", "LocationInSphere"):
        place = active.matrix_world.translation
        entry.box_low = [one - _AROUND_M for one in place]
        entry.box_high = [one + _AROUND_M for one in place]
        entry.center = place


def _choose(targets: tuple[str, ...], active: bpy.types.Object | None) -> tuple[str, bpy.types.ID | None]:
    if targets[0] == "WORLD":
        return "WORLD", None  # the scene's
    if active is None:
        return targets[0], None
    if active.type in targets and active.type in ("CAMERA", "LIGHT"):
        return active.type, active.data
    if targets[0] == "MATERIAL" and active.active_material is not None:
        return "MATERIAL", active.active_material
    if targets[0] == "LIGHT":
        lights = sorted((one.data for one in bpy.context.scene.objects if one.type == "LIGHT"), key=lambda it: it.name)
        return "LIGHT", lights[0] if lights else None
    return ("OBJECT", active) if "OBJECT" in targets else (targets[0], None)
