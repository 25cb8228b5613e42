"""Hooks: what they are given, where they are, and what is said when they raise."""

import bpy
import numpy as np
import pytest
from randomize_scenes import (
    CUBE,
    apply,
    default_cube,  # noqa: F401  (a fixture)
    place,
    text,
)

from blendtorch.btb import randomize
from blendtorch.errors import RandomizeError


def test_a_hook_is_given_what_it_needs(cube):
    hook = text("""
seen = []
def pre_frame(ctx):
    seen.append((ctx.seed, ctx.index, ctx.frame, ctx.episode, ctx.scene.name, ctx.camera.name, dict(ctx.sample)))
    ctx.change(ctx.scene.objects["Cube"], "location", (ctx.rng.random(), 2, 3))
    ctx.change(ctx.scene.objects["Cube"], '["new"]', 1)
def post_frame(ctx):
    ctx.sample["seen"] = seen
    ctx.sample["frame"] = ctx.frame
""")
    sample = {"image": 1}
    with randomize.apply([hook], seed=5, address=(3,), index=3, frame=7, episode=2) as changes:
        assert cube.location.x == np.float32(np.random.default_rng([5, 3]).random())
        assert cube["new"] == 1
        changes.post_frame(sample)
    assert sample["seen"][-1] == (5, 3, 7, 2, "Scene", "Camera", {})
    assert sample["frame"] == 7
    assert "new" not in cube
    with apply([hook], frame=1) as changes:
        changes.post_frame(sample, frame=9)
    assert sample["frame"] == 9
    assert len(sample["seen"]) == 2  # the text was run once


def test_a_hook_that_was_changed_is_run_anew(cube):
    hook = text("def pre_frame(ctx): ctx.change(ctx.scene.objects['Cube'], 'location', (1, 1, 1))")
    assert place([hook]) == (1, 1, 1)
    text("def pre_frame(ctx): ctx.change(ctx.scene.objects['Cube'], 'location', (2, 2, 2))")
    assert place([hook]) == (2, 2, 2)


def test_a_hook_in_a_file(tmp_path):
    file = tmp_path / "hook.py"
    file.write_text("def pre_frame(ctx): ctx.change(ctx.scene.objects['Cube'], 'location', (1, 1, 1))")
    assert place([randomize.Hook(str(file))]) == (1, 1, 1)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert place([randomize.Hook("//hook.py")]) == (1, 1, 1)


@pytest.mark.parametrize("when", ["pre_frame", "post_frame"])
def test_a_hook_that_raises_shows_its_line(cube, when):
    hook = text(f"def {when}(ctx):\n    nothing = 0\n    return 1 / nothing\n")
    with pytest.raises(RandomizeError, match="ZeroDivisionError") as caught:
        with apply([randomize.LocationInBox(CUBE), hook]) as changes:
            changes.post_frame({})
    assert tuple(cube.location) == (0, 0, 0)
    assert caught.value.number == 1
    for part in (f"{when} of the hook", "line 3", "return 1 / nothing", "mine.py"):
        assert part in caught.value.traceback + str(caught.value)
    assert "hook.py" not in caught.value.traceback  # where it was called from is of no use to its author


def test_a_hook_that_raises_and_is_skipped(cube):
    text("def pre_frame(ctx):\n    ctx.change(ctx.scene, 'frame_end', 9)\n    1 / 0\ndef post_frame(ctx):\n    1 / 0\n")
    problems = []
    end = bpy.context.scene.frame_end
    hook = randomize.Hook("mine.py", on_error="skip")
    with apply([hook], on_problem=lambda number, error: problems.append(error)) as changes:
        assert bpy.context.scene.frame_end == end
        changes.post_frame({})  # what failed before is not asked again
    assert len(problems) == 1
    text("def post_frame(ctx):\n    1 / 0\n")
    with apply([hook], on_problem=lambda number, error: problems.append(error)) as changes:
        changes.post_frame({})
    assert len(problems) == 2
