"""All classes of the add-on: what people see of them has a tooltip, and what they may search for is in a menu."""

from collections.abc import Iterator

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch import list_operators, menu

VIEW = bpy.types.VIEW3D_MT_view


@pytest.fixture(autouse=True)
def _registered(_default_scene):
    addon_blendtorch.register()
    yield
    addon_blendtorch.unregister()


def registered(base: type) -> Iterator[type]:
    """The add-on's classes of a kind that Blender knows now."""
    for cls in base.__subclasses__():
        if cls.__module__.startswith("addon_blendtorch.") and cls.is_registered:
            yield cls
        yield from registered(cls)


def rna_of(cls: type) -> bpy.types.Struct:
    """What Blender knows of a class; of an operator its own properties, in place of those of all operators."""
    if not issubclass(cls, bpy.types.Operator):
        return cls.bl_rna
    module, _, name = cls.bl_idname.partition(".")
    return getattr(getattr(bpy.ops, module), name).get_rna_type()


def shown_properties(cls: type) -> list[bpy.types.Property]:
    """Those that people may see."""
    properties = rna_of(cls).properties
    return [
        prop for prop in properties if prop.identifier != "rna_type" and not prop.is_hidden and not is_of_groups(prop)
    ]


def is_of_groups(prop: bpy.types.Property) -> bool:
    """Whether it holds property groups: Blender shows the tooltips of what is in them."""
    return prop.type in ("POINTER", "COLLECTION") and prop.fixed_type.base == bpy.types.PropertyGroup.bl_rna


def texts(cls: type) -> dict[str, str]:
    """What tooltips say of an operator, of properties and of the items of enums, by what they are of."""
    found = {cls.__name__: rna_of(cls).description} if issubclass(cls, bpy.types.Operator) else {}
    for prop in shown_properties(cls):
        found[f"{cls.__name__}.{prop.identifier}"] = prop.description
        for item in prop.enum_items if prop.type == "ENUM" else ():
            found[f"{cls.__name__}.{prop.identifier}.{item.identifier}"] = item.description
    return found


@pytest.mark.parametrize("base", [bpy.types.Operator, bpy.types.PropertyGroup], ids=lambda base: base.__name__)
def test_everything_has_a_tooltip(base):
    found = {}
    for cls in registered(base):
        found |= texts(cls)
    assert len(found) > 20
    assert [name for name, text in found.items() if not text.strip()] == []


def draws() -> list[str]:
    """The modules that draw into the viewport's menu *View*, in order."""
    return [draw.__module__ for draw in VIEW.draw._draw_funcs]


def test_the_menu_is_the_last_one_of_view_and_goes_with_the_add_on():
    assert draws()[-1] == menu.__name__
    assert bpy.types.VIEW3D_MT_blendtorch.bl_label == "BlendTorch"
    addon_blendtorch.unregister()
    try:
        assert menu.__name__ not in draws()
        assert not hasattr(bpy.types, "VIEW3D_MT_blendtorch")
    finally:
        addon_blendtorch.register()


def test_the_menu_has_all_operators_that_need_nothing_else():
    expected = [
        cls.bl_idname
        for cls in registered(bpy.types.Operator)
        if not shown_properties(cls)
        and "INTERNAL" not in cls.bl_options
        and cls.__module__ != list_operators.__name__  # they are about the row that is chosen
    ]
    assert sorted(name for group in menu.GROUPS for name in group) == sorted(expected)
