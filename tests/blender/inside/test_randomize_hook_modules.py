"""The module that the text of a hook is run as."""

import sys

import bpy
import pytest
from randomize_scenes import apply, place, text

from blendtorch.errors import RandomizeError

DATACLASS = """
from __future__ import annotations
import typing
from dataclasses import dataclass, fields

@dataclass(frozen=True)
class Place:
    x: float
    where: typing.ClassVar[int] = 3

def pre_frame(ctx):
    assert [field.name for field in fields(Place)] == ["x"]
    assert typing.get_type_hints(Place)["x"] is float
    ctx.change(ctx.scene.objects["Cube"], "location", (Place(4.0).x,) * 3)
"""


def test_dataclasses_with_postponed_annotations():
    assert place([text(DATACLASS)]) == (4, 4, 4)


def test_there_is_one_module_for_a_text_however_often_it_changes():
    before = set(sys.modules)
    for i in range(5):
        assert place([text(f"{DATACLASS}# {i}", "often.py")]) == (4, 4, 4)
    (name,) = set(sys.modules) - before
    assert "often.py" in name
    assert name not in ("often", "often.py")  # nothing that could be imported


def test_a_text_that_does_not_run_and_then_does():
    hook = text(DATACLASS, "again.py")
    assert place([hook]) == (4, 4, 4)
    text("1 / 0", "again.py")
    with pytest.raises(RandomizeError, match="ZeroDivisionError"):
        apply([hook])
    text(DATACLASS, "again.py")
    assert place([hook]) == (4, 4, 4)
    assert tuple(bpy.data.objects["Cube"].location) == (0, 0, 0)
