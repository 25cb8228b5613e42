"""What an enum offers now, which Blender tells of a property's owner alone."""

from typing import Any

import bpy

_NO_ITEM = "\1"


def offers(owner: Any, attribute: str, item: str) -> bool:
    """Whether an enum has an item of this identifier now."""
    named = bpy.types.UILayout.enum_item_name(owner, attribute, item)
    return bool(named) or item in items_of(owner, attribute)  # those of add-ons may have icons for names


def items_of(owner: Any, attribute: str) -> tuple[str, ...]:
    """The identifiers of an enum's items as they are now, in order.

    Of items that are computed (engines, looks, menus of nodes), `bl_rna.properties[attribute].enum_items` has a
    stand-in alone. All of them are in the error for an item that there is not, which is why one is assigned here.
    Where Blender lets nothing be assigned, as while a panel is drawn, what `enum_items` has is all that can be told.

    Args:
        owner: A data block or a struct of one.
        attribute: Its enum, of one choice or of several.
    """
    rna = owner.bl_rna.properties[attribute]
    try:
        setattr(owner, attribute, {_NO_ITEM} if rna.is_enum_flag else _NO_ITEM)
    except (AttributeError, TypeError, ValueError) as error:
        listed = str(error).partition(" not found in (")[2].removesuffix(")")  # 'ONE', 'TWO'
        if listed:
            return tuple(listed[1:-1].split("', '"))
    return tuple(rna.enum_items.keys())
