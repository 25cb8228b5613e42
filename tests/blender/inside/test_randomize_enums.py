"""Enums whose items Blender computes: engines, looks, menus of nodes, those of add-ons."""

from pathlib import Path

import bpy
import pytest
from randomize_scenes import CUBE, apply

from blendtorch.btb import compat, randomize
from blendtorch.btb.randomize import Choice, Constant, Property, Target
from blendtorch.btb.randomize.enums import items_of, offers

SCENE = Target("SCENE")
DOCS = Path(__file__).parents[3] / "docs/randomize.md"


def message(entry):
    (error,) = randomize.check([entry])
    return str(error)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("view_settings.look", "AgX - Punchy"),
        ("view_settings.view_transform", "Standard"),
        ("display_settings.display_device", "Display P3"),
        ("render.engine", "CYCLES"),
        ("render.engine", "BLENDER_WORKBENCH"),
        ("render.engine", compat.eevee_engine()),
    ],
)
def test_computed_items_are_set_and_put_back(path, value):
    scene = bpy.context.scene
    if path == "render.engine":
        scene.render.engine = "CYCLES" if value != "CYCLES" else "BLENDER_WORKBENCH"
    before = scene.path_resolve(path)
    entry = Property(SCENE, path, Choice((value,)))
    assert randomize.check([entry]) == []
    with apply([entry]):
        assert scene.path_resolve(path) == value != before
    assert scene.path_resolve(path) == before


def test_the_line_in_the_docs():
    (line,) = (line for line in DOCS.read_text().splitlines() if '"view_settings.look"' in line)
    entry = eval(line, {"Property": Property, "Target": Target, "Choice": Choice})
    assert randomize.check([entry]) == []
    with apply([entry]):
        assert bpy.context.scene.view_settings.look in entry.distribution.values


def test_what_there_is_not_is_named_with_what_there_is():
    words = message(Property(SCENE, "view_settings.look", Choice(("AgX - Punchi",))))
    assert 'there is no "AgX - Punchi"; there is "AgX - Punchy", ' in words
    words = message(Property(SCENE, "render.engine", Choice(("CYCLE",))))
    assert 'there is no "CYCLE"; there is "CYCLES", ' in words
    # What is computed depends on the rest of the scene.
    bpy.context.scene.view_settings.view_transform = "Standard"
    assert "there is no" in message(Property(SCENE, "view_settings.look", Choice(("AgX - Punchy",))))


def test_several_choices_at_once():
    entry = Property(SCENE, "tool_settings.snap_elements", Constant(("VERTEX", "SIDE")))
    assert 'there is no "SIDE"' in message(entry)


@pytest.fixture
def icons():
    """An enum of an add-on: computed, and with icons for names."""
    items = [("P", "", "", "CUBE", 0), ("Q", "", "", "SPHERE", 1)]
    bpy.types.Object.icon = bpy.props.EnumProperty(items=lambda _self, _context: items)
    yield
    del bpy.types.Object.icon


def test_items_without_names(icons):
    cube = bpy.data.objects["Cube"]
    with apply([Property(CUBE, "icon", Choice(("Q",)))]):
        assert cube.icon == "Q"
    assert cube.icon == "P"
    assert 'there is no "R"; there is "P", "Q"' in message(Property(CUBE, "icon", Choice(("R",))))


def test_menus_of_nodes():
    group = bpy.data.node_groups.new("Group", "GeometryNodeTree")
    menu = group.nodes.new("GeometryNodeMenuSwitch").inputs[0]
    assert items_of(menu, "default_value") == ("A", "B")
    path = 'nodes["Menu Switch"].inputs[0].default_value'
    with apply([Property(Target("NODETREE", "Group"), path, Choice(("B",)))]):
        assert menu.default_value == "B"
    assert 'there is no "C"' in message(Property(Target("NODETREE", "Group"), path, Choice(("C",))))


def test_asking_changes_nothing(icons):
    scene, cube = bpy.context.scene, bpy.data.objects["Cube"]
    for owner, attribute in ((scene.view_settings, "look"), (cube, "icon"), (scene.tool_settings, "snap_elements")):
        before = getattr(owner, attribute)
        items = items_of(owner, attribute)
        assert len(items) > 1
        assert all(offers(owner, attribute, item) for item in items)
        assert not offers(owner, attribute, "none of them")
        assert getattr(owner, attribute) == before
