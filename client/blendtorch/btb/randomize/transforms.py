"""Placing and turning objects in the world, whatever they are parented to."""

import bpy
import numpy as np
from mathutils import Euler, Matrix, Quaternion, Vector
from numpy.typing import ArrayLike

from ...errors import RandomizeError
from .context import Context

# Ways of being parented in which the parent's matrix says all.
_BY_MATRIX = ("OBJECT", "ARMATURE")


def world_matrix(ctx: Context, obj: bpy.types.Object) -> Matrix:
    """Where an object is now (4x4, world from object), also when it has just been changed."""
    if _stands_alone(obj):
        return obj.matrix_basis  # at hand without evaluation
    with ctx.shown(obj) as evaluated:
        if evaluated is not None:
            return evaluated.matrix_world.copy()
    # Not in the view layer: nobody computes its constraints and drivers.
    if obj.parent is None or obj.parent_type not in _BY_MATRIX:
        return obj.matrix_basis if obj.parent is None else obj.matrix_world
    return world_matrix(ctx, obj.parent) @ obj.matrix_parent_inverse @ obj.matrix_basis


def set_location(ctx: Context, obj: bpy.types.Object, point_world: ArrayLike) -> None:
    """Sets the location so that, constraints apart, the object's origin is there.

    Args:
        ctx: Of the randomizer.
        obj: Any object.
        point_world: (3,) metres, world.
    """
    location = Vector(np.asarray(point_world, dtype=np.float64))
    if obj.parent is not None:
        location = _inverse(obj, _parent_space(ctx, obj)) @ location
    ctx.change(obj, "location", tuple(location - obj.delta_location))


def set_rotation(ctx: Context, obj: bpy.types.Object, rotation_world: Euler | Quaternion) -> None:
    """Sets the rotation, in the object's own mode of rotation, so that, constraints apart, it is this in the world."""
    if isinstance(rotation_world, Euler):
        plain = obj.parent is None and not any(obj.delta_rotation_euler)
        if plain and obj.rotation_mode == rotation_world.order:
            ctx.change(obj, "rotation_euler", tuple(rotation_world))  # as drawn, whole turns included
            return
        rotation_world = rotation_world.to_quaternion()
    rotation = rotation_world
    if obj.parent is not None:
        rotation = _parent_space(ctx, obj).to_quaternion().inverted() @ rotation
    mode = obj.rotation_mode
    if mode == "QUATERNION":
        ctx.change(obj, "rotation_quaternion", tuple(obj.delta_rotation_quaternion.inverted() @ rotation))
    elif mode == "AXIS_ANGLE":
        axis, angle = rotation.to_axis_angle()
        ctx.change(obj, "rotation_axis_angle", (angle, *axis))
    else:
        rotation = obj.delta_rotation_euler.to_quaternion().inverted() @ rotation
        ctx.change(obj, "rotation_euler", tuple(rotation.to_euler(mode)))


def _stands_alone(obj: bpy.types.Object) -> bool:
    return obj.parent is None and not obj.constraints and obj.rigid_body is None and obj.animation_data is None


def _parent_space(ctx: Context, obj: bpy.types.Object) -> Matrix:
    """World from the space that the object's own location is in."""
    if obj.parent_type in _BY_MATRIX:
        return world_matrix(ctx, obj.parent) @ obj.matrix_parent_inverse
    # Bones and vertices: where it is, without what it adds itself.
    return world_matrix(ctx, obj) @ _inverse(obj, obj.matrix_basis)


def _inverse(obj: bpy.types.Object, matrix: Matrix) -> Matrix:
    try:
        return matrix.inverted()
    except ValueError:
        raise RandomizeError(
            f'object "{obj.name}" cannot be placed: it, or what it is parented to, has no extent along some axis (scale 0)'
        ) from None
