"""The engine's timer, and what undo and redo bring back while it works."""

import contextlib
import gc
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


def into_an_episode():
    """Makes samples until one is underway."""
    for _ in range(9):
        if applied.is_marked():
            break
        engine.making.producer.next()
    assert cube().location.x >= 5


def play(scene, more=()):
    """Streams episodes of four frames in which the cube is somewhere else, from the user's frame 7 on."""
    output = btb_setup.OutputSettings(width=80, height=64, samples=1, animate=True, frame_start=1, frame_end=4)
    box = randomize.LocationInBox(randomize.Target("OBJECT", "Cube"), (5.0, 5.0, 5.0), (6.0, 6.0, 6.0), per="episode")
    set_up(scene, output=output, randomizers=(box, *more))
    scene.frame_set(7)
    push("set up")
    bpy.ops.blendtorch.stream_start()


def test_no_undo_between_edits_of_what_is_varied_brings_it_back(scene):
    """Undo leaves data blocks alone that are the same in both steps."""
    push("set up")
    bpy.ops.blendtorch.randomize_once()
    push("Randomize Once")
    for scale in (2, 3, 4):
        cube().scale.x = scale
        push(f"scaled to {scale}")
    for operator, scale in (("undo", 3), ("undo", 2), ("redo", 3), ("redo", 4), ("undo", 3)):
        getattr(bpy.ops.ed, operator)()
        assert (tuple(cube().location), cube().scale.x) == ((0, 0, 0), scale)
        assert not applied.is_marked()
    assert not engine.state.shown


def test_no_undo_between_edits_in_one_episode_brings_it_back(scene):
    play(scene)
    receive(engine.endpoint.address, 2)
    into_an_episode()
    for scale in (2, 3, 4):
        cube().scale.x = scale
        push(f"scaled to {scale}")
    for operator, scale in (("undo", 3), ("undo", 2), ("redo", 3)):
        getattr(bpy.ops.ed, operator)()
        assert (tuple(cube().location), cube().scale.x) == ((0, 0, 0), scale)
        assert bpy.context.scene.frame_current == 7
    bpy.ops.blendtorch.stop()
    assert tuple(cube().location) == (0, 0, 0)


def test_a_copy_of_the_scene_has_no_part_in_it(scene):
    bpy.ops.blendtorch.randomize_once()
    scene.copy()
    push("copied")
    bpy.ops.blendtorch.randomize_reset()
    cube().location = (9, 9, 9)
    push("moved")
    bpy.data.objects["Light"].location.x = 1
    push("edited")
    bpy.ops.ed.undo()
    assert tuple(cube().location) == (9, 9, 9)


def test_episodes_of_one_scene_have_one_mark(scene):
    play(scene)
    kept = len(applied._kept)
    receive(engine.endpoint.address, 20)
    assert len(applied._kept) == kept + 1
    bpy.data.objects["Cube"].location.z = 1  # in the middle of one: lost
    bpy.ops.blendtorch.stop()
    cube().location = (0, 0, 3)
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 20)
    assert len(applied._kept) == kept + 2


def test_episodes_that_are_over_hold_no_samples(scene):
    text = bpy.data.texts.new("hook.py")
    text.write(
        "def pre_frame(ctx):\n    ctx.on_restore(lambda: None)  # so that each episode is kept\n"
        "def post_frame(ctx):\n    ctx.sample['mine'] = 1\n"
    )
    play(scene, more=(randomize.Hook(text=text.name, per="episode"),))
    receive(engine.endpoint.address, 40)
    bpy.ops.blendtorch.stop()
    alive = [one for one in gc.get_objects() if isinstance(one, dict) and {"image", "mine"} <= one.keys()]
    assert len(alive) < 4, len(alive)


def test_what_cannot_be_put_back_is_told(scene):
    hook(
        scene,
        "def pre_frame(ctx):\n    done = []\n    def once():\n        assert not done\n        done.append(1)\n"
        "    ctx.on_restore(once)\n",
    )
    push("set up")
    bpy.ops.blendtorch.randomize_once()
    push("Randomize Once")
    bpy.data.objects["Light"].location.x = 1
    push("edited")
    bpy.ops.ed.undo()
    assert tuple(cube().location) == (0, 0, 0)
    assert "could not put back" in engine.errors.by_name["randomize"]


def test_a_file_that_blender_saved_for_recovery_is_told_of(scene, tmp_path):
    bpy.ops.blendtorch.randomize_once()
    engine._handlers.unregister()  # Blender does not tell of such saving
    file = str(tmp_path / "recovered.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file, copy=True)
    bpy.ops.blendtorch.randomize_reset()
    bpy.ops.wm.open_mainfile(filepath=file)
    assert not applied.is_marked()
    assert "for recovery" in bpy.context.scene.blendtorch.problems
    assert tuple(cube().location) != (0, 0, 0)


def test_after_workers_of_a_stream_that_was_stopped_a_recording_begins_at_the_first(scene, tmp_path):
    bpy.ops.blendtorch.stream_start()
    engine.making.share_with(1, 0)
    engine._workers = True
    receive(engine.endpoint.address, 4)
    bpy.ops.blendtorch.stream_stop()
    engine.remove_workers()
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    scene.blendtorch.recording.num_samples = 3
    bpy.ops.blendtorch.record_start()
    wait_for(lambda: not engine.state.recording)
    assert [sample["btindex"] for sample in Recording(tmp_path / "recording")] == [0, 1, 2]


@pytest.mark.parametrize("then", ["goes on", "stops"])
def test_no_undo_brings_back_the_middle_of_an_episode(scene, then):
    play(scene)
    receive(engine.endpoint.address, 2)
    into_an_episode()
    assert applied.is_marked()
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
        assert not applied.is_marked()
    if then == "goes on":
        receive(engine.endpoint.address, 8)
        bpy.ops.blendtorch.stop()
    assert tuple(cube().location) == (0, 0, 0)
    assert bpy.context.scene.frame_current == 7
    assert engine.errors.by_name == {}


def test_no_mark_stays_and_none_is_saved(scene, tmp_path):
    play(scene)
    receive(engine.endpoint.address, 2)
    into_an_episode()
    file = str(tmp_path / "a.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file, copy=True)
    assert not applied.is_marked()
    receive(engine.endpoint.address, 6)
    bpy.ops.blendtorch.stop()
    assert not applied.is_marked()
    bpy.ops.wm.open_mainfile(filepath=file)
    assert not applied.is_marked()


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


HOOKS = {
    "pre_frame": "import sys\ndef pre_frame(ctx):\n    sys.exit(3)\n",
    "post_frame": "import sys\ndef post_frame(ctx):\n    sys.exit(3)\n",
    "module": "import sys\nsys.exit(3)\n",
}


@pytest.mark.parametrize("where", HOOKS)
@pytest.mark.parametrize("operator", ["randomize_once", "stream_start", "record_start", "preview", "workers_launch"])
def test_no_hook_ends_blender(scene, tmp_path, where, operator):
    hook(scene, HOOKS[where])
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    if where == "module":
        with pytest.raises(RuntimeError, match="SystemExit"):
            getattr(bpy.ops.blendtorch, operator)()
        return
    if operator in ("stream_start", "workers_launch") or (operator, where) == ("randomize_once", "post_frame"):
        return  # no sample is made yet
    with contextlib.suppress(RuntimeError):
        getattr(bpy.ops.blendtorch, operator)()
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


def test_the_last_episode_is_the_last_although_nobody_asks_for_more(scene, tmp_path):
    output = btb_setup.OutputSettings(width=80, height=64, samples=1, episodes=2)
    set_up(scene, output=output)
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    bpy.ops.blendtorch.record_start()
    wait_for(engine.hub.wants_sample)
    producer = engine.making.producer
    engine.hub.put(*producer.next())
    assert not producer.is_over
    engine.hub.put(*producer.next())
    assert producer.is_over
    wait_for(lambda: not engine.state.running)
    assert "All 2" in engine.notice
