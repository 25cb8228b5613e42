"""The engine's timer, and what undo and redo bring back while it works."""

import time

import bpy
import pytest
from engine_turns import hook, receive, registered, set_up, small_scene, wait_for  # noqa: F401

from addon_blendtorch import applied
from addon_blendtorch.engine import engine
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.recording import Recording
from blendtorch.wire.sample_receiver import SampleReceiver


@pytest.fixture(autouse=True)
def _undo():
    edit = bpy.context.preferences.edit
    before, edit.use_global_undo = edit.use_global_undo, True
    yield
    edit.use_global_undo = before


def is_ticking():
    return bpy.app.timers.is_registered(engine._clock._timer)


def push(message):
    """An edit of the user's: a step of undo."""
    assert bpy.ops.ed.undo_push(message=message) == {"FINISHED"}


def cube():
    return bpy.data.objects["Cube"]


def test_there_is_one_timer_while_something_runs(scene, tmp_path):
    assert not is_ticking()
    bpy.ops.blendtorch.stream_start()
    assert is_ticking()
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    bpy.ops.blendtorch.record_start()
    # Blender knows timers by their object: unregistering what a second one was made of would leave one.
    bpy.app.timers.unregister(engine._clock._timer)
    assert not is_ticking()
    engine._wake()
    assert is_ticking()
    bpy.ops.blendtorch.stop()
    assert not is_ticking()


def play(scene, **options):
    """Streams episodes of four frames in which the cube is somewhere else, from the user's frame 7 on."""
    output = btb_setup.OutputSettings(width=80, height=64, samples=1, animate=True, frame_start=1, frame_end=4)
    box = randomize.LocationInBox(
        randomize.Target("OBJECT", "Cube"), (5.0, 5.0, 5.0), (6.0, 6.0, 6.0), per="episode", **options
    )
    set_up(scene, output=output, randomizers=(box,))
    scene.frame_set(7)
    push("set up")
    bpy.ops.blendtorch.stream_start()


@pytest.mark.parametrize("then", ["goes on", "stops"])
def test_no_undo_brings_back_the_middle_of_an_episode(scene, then):
    play(scene)
    receive(engine.endpoint.address, 2)
    wait_for(lambda: cube().location.x >= 5)  # an episode is underway
    assert applied.KEY in scene
    bpy.data.objects["Light"].location.x = 1
    push("edited in the middle of it")
    receive(engine.endpoint.address, 8)
    bpy.data.objects["Light"].location.x = 2
    push("edited in another one")
    if then == "stops":
        bpy.ops.blendtorch.stop()
    for step, operator, light_x in ((1, "undo", 1), (2, "redo", 2), (3, "undo", 1)):
        getattr(bpy.ops.ed, operator)()
        scene = bpy.context.scene
        assert tuple(cube().location) == (0, 0, 0), step
        assert scene.frame_current == 7
        assert bpy.data.objects["Light"].location.x == light_x
        assert applied.KEY not in scene
    if then == "goes on":
        receive(engine.endpoint.address, 8)
        bpy.ops.blendtorch.stop()
    assert tuple(cube().location) == (0, 0, 0)
    assert bpy.context.scene.frame_current == 7
    assert engine.errors.by_name == {}


def test_no_mark_stays_and_none_is_saved(scene, tmp_path):
    play(scene)
    receive(engine.endpoint.address, 2)
    wait_for(lambda: applied.KEY in scene)
    file = str(tmp_path / "a.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file, copy=True)
    assert applied.KEY not in scene
    receive(engine.endpoint.address, 6)
    bpy.ops.blendtorch.stop()
    assert applied.KEY not in scene
    bpy.ops.wm.open_mainfile(filepath=file)
    assert applied.KEY not in bpy.context.scene


@pytest.mark.parametrize("by", ["reset", "record"])
def test_no_undo_brings_back_what_was_shown(scene, tmp_path, by):
    push("set up")
    bpy.ops.blendtorch.randomize_once()
    push("Randomize Once")
    assert tuple(cube().location) != (0, 0, 0)
    if by == "reset":
        bpy.ops.blendtorch.randomize_reset()
        push("Reset")
    else:  # which puts it back without a step of undo
        scene.blendtorch.recording.folder = str(tmp_path / "recording")
        scene.blendtorch.recording.num_samples = 2
        bpy.ops.blendtorch.record_start()
        wait_for(lambda: not engine.state.recording)
        assert len(Recording(tmp_path / "recording")) == 2
    bpy.data.objects["Light"].location.x = 1
    push("edited")
    bpy.ops.ed.undo()
    assert tuple(cube().location) == (0, 0, 0)
    assert not engine.state.shown
    bpy.ops.ed.undo()
    assert tuple(cube().location) == (0, 0, 0)
    bpy.ops.ed.redo()
    assert tuple(cube().location) == (0, 0, 0)


def test_stopping_the_stream_of_a_recording_that_is_complete(scene, tmp_path):
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    scene.blendtorch.recording.num_samples = 2
    bpy.ops.blendtorch.record_start()
    bpy.ops.blendtorch.stream_start()
    while engine.hub.stats().recording:  # without the engine's looking at it
        engine.making.make(0.01)
    assert bpy.ops.blendtorch.stream_stop() == {"FINISHED"}
    assert not engine.state.running
    assert engine.errors.by_name == {}


def test_another_file_begins_without_errors_and_figures(scene, tmp_path):
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    scene.blendtorch.recording.num_samples = 2
    bpy.ops.blendtorch.record_start()
    wait_for(lambda: not engine.state.recording)
    assert engine.stats.recorded == 2
    scene.blendtorch.output.cameras.add().name = "Nope"
    with pytest.raises(RuntimeError, match="Nope"):
        bpy.ops.blendtorch.stream_start()
    assert engine.errors.by_name
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert (engine.errors.by_name, engine.errors.last, engine.stats, engine.notice) == ({}, "", None, "")


@pytest.mark.parametrize("when", ["pre_frame", "post_frame"])
def test_no_hook_ends_blender(scene, tmp_path, when):
    hook(scene, f"import sys\ndef {when}(ctx):\n    sys.exit(3)\n")
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    bpy.ops.blendtorch.record_start()
    wait_for(lambda: not engine.state.running)
    assert "SystemExit" in engine.errors.last


def test_the_queue_is_that_of_the_stream_also_when_a_recording_came_first(scene, tmp_path):
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    bpy.ops.blendtorch.record_start()
    scene.blendtorch.stream.queue_size = 2
    bpy.ops.blendtorch.stream_start()
    receiver = SampleReceiver([engine.endpoint.address], queue_size=1)  # which nobody takes from
    try:
        wait_for(lambda: receiver.take(0) is None and engine.hub.stats().clients and not engine.hub.wants_sample())
        for _ in range(20):
            engine.step()
            time.sleep(0.01)
        assert 0 < engine.hub.stats().waiting < 6  # and not the 10 of when the recording began
    finally:
        receiver.close()
