"""Copies of objects that belong together, and refer to each other and not to the originals."""

from collections.abc import Sequence

import bpy
import numpy as np


def copy_objects(originals: Sequence[bpy.types.Object], offset: np.ndarray) -> dict[str, bpy.types.Object]:
    """Copies objects; meshes and materials are shared.

    Parents, rigid-body and object constraints, modifiers and drivers that refer to one of them refer to its copy.

    Args:
        originals: The objects.
        offset: By how much the copies lie beside them, (3,) metres.

    Returns:
        The copies, by the names of the originals.
    """
    copies = {obj: obj.copy() for obj in originals}
    for obj, copied in copies.items():
        # Blender itself has linked it to the collections of physics.
        for collection in set(obj.users_collection) - set(copied.users_collection):
            collection.objects.link(copied)
        if obj.parent not in copies:
            copied.location = np.add(obj.location, offset)
        drivers = copied.animation_data.drivers if copied.animation_data else []
        variables = [variable for curve in drivers for variable in curve.driver.variables]
        targets = [target for variable in variables for target in variable.targets]
        for owner in [copied, copied.rigid_body_constraint, *copied.constraints, *copied.modifiers, *targets]:
            if owner is not None:
                _refer_to(owner, copies)
    return {obj.name: copied for obj, copied in copies.items()}


def _refer_to(owner: bpy.types.bpy_struct, copies: dict[bpy.types.Object, bpy.types.Object]) -> None:
    """Has all properties that refer to an original refer to its copy."""
    for prop in owner.bl_rna.properties:
        if prop.type == "POINTER" and not prop.is_readonly and (value := getattr(owner, prop.identifier)) in copies:
            inverse = owner.matrix_parent_inverse.copy() if prop.identifier == "parent" else None
            setattr(owner, prop.identifier, copies[value])
            if inverse is not None:
                owner.matrix_parent_inverse = inverse
