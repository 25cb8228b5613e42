"""The property group of a scene, `scene.blendtorch`, and the one of the window manager, `wm.blendtorch`."""

import json

import bpy
from bpy.props import CollectionProperty, EnumProperty, IntProperty, PointerProperty, StringProperty

from blendtorch.btb import setup as btb_setup

from .convert import from_setup, to_setup_unfinished
from .output import OutputProperties
from .randomizer import RandomizerProperties
from .settings import RecordingProperties, StreamProperties, WorkerProperties


def _get_json(self: bpy.types.PropertyGroup) -> str:
    return json.dumps(btb_setup.to_json(to_setup_unfinished(self.id_data)))


def _set_json(self: bpy.types.PropertyGroup, text: str) -> None:
    try:
        setup, problems = btb_setup.from_json(json.loads(text))
    except ValueError as error:
        self.problems = f"These are no settings of BlendTorch: {error}"
        return
    from_setup(self.id_data, setup)
    self.problems = "\n".join(problems)


class SceneProperties(bpy.types.PropertyGroup):
    """All that the panel sets up for a scene."""

    seed: IntProperty(
        name="Seed",
        description="Number that picks the sequence of all random values: the same seed gives the same samples",
        min=0,
        default=0,
    )
    stream: PointerProperty(type=StreamProperties)
    output: PointerProperty(type=OutputProperties)
    randomizers: CollectionProperty(type=RandomizerProperties)
    recording: PointerProperty(type=RecordingProperties)
    workers: PointerProperty(type=WorkerProperties)

    # All of it as JSON text, which is what presets hold.
    settings_json: StringProperty(options={"HIDDEN", "SKIP_SAVE"}, get=_get_json, set=_set_json)

    # Of the panel alone.
    randomizer_index: IntProperty(name="Randomizer", description="Chosen entry of the list", min=0)
    problems: StringProperty(
        options={"SKIP_SAVE", "HIDDEN"}
    )  # lines: what was not understood when settings were loaded
    # How the settings of this scene were loaded and saved; see convert.py and saved.py.
    loaded: StringProperty(
        default="{}", options={"HIDDEN"}
    )  # JSON: the numbers as they were, before Blender rounded them
    unknown: StringProperty(default="{}", options={"HIDDEN"})  # JSON: what a newer version saved
    saved_digest: StringProperty(options={"HIDDEN"})  # of the JSON that these properties were last written to


class CheckLine(bpy.types.PropertyGroup):
    """One line of what "Check Installation" found; `name` is what was looked at."""

    status: EnumProperty(
        name="Status",
        description="How it came out",
        items=(
            ("OK", "OK", "All is well"),
            ("WARNING", "Warning", "BlendTorch works, with something that could be better"),
            ("FAILED", "Failed", "A part of BlendTorch does not work"),
        ),
    )
    seen: StringProperty(name="Seen", description="What was seen")
    fix: StringProperty(name="What to Do", description="What to do about it; empty: nothing")


class RuntimeProperties(bpy.types.PropertyGroup):
    """What the window shows, and no file keeps."""

    check_lines: CollectionProperty(type=CheckLine)


CLASSES = (SceneProperties, CheckLine, RuntimeProperties)
