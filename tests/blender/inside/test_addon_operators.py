"""What the add-on's other operators do, what puts an end to all, and that nothing is left then."""

import atexit
import contextlib
import threading

import bpy
import numpy as np
import pytest
from engine_turns import (
    EVENTS,
    SETUP,
    drain,
    expected,
    hook,
    leftovers,
    receive,
    registered,  # noqa: F401  (a fixture)
    set_up,
    small_scene,  # noqa: F401  (a fixture)
    wait_for,
)

import addon_blendtorch
from addon_blendtorch.engine import engine
from addon_blendtorch.preview import IMAGE_NAME
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.errors import SceneError
from blendtorch.labels.pictures import ids_to_rgb
from blendtorch.wire.sample_receiver import SampleReceiver


def test_polls_and_their_reasons(scene):
    with pytest.raises(RuntimeError, match="does not run"):
        bpy.ops.blendtorch.stream_stop()
    with pytest.raises(RuntimeError, match="Start the stream first"):
        bpy.ops.blendtorch.copy_client_snippet()
    with pytest.raises(RuntimeError, match="Nothing is randomized"):
        bpy.ops.blendtorch.randomize_reset()
    with pytest.raises(RuntimeError, match="No recording"):
        bpy.ops.blendtorch.record_stop()
    with pytest.raises(RuntimeError, match="Nothing runs"):
        bpy.ops.blendtorch.stop()
    bpy.ops.blendtorch.stream_start()
    with pytest.raises(RuntimeError, match="runs already"):
        bpy.ops.blendtorch.stream_start()
    with pytest.raises(RuntimeError, match="stop that first"):
        bpy.ops.blendtorch.randomize_once()


def test_esc_is_a_key_while_something_runs(scene):
    assert leftovers() == []
    bpy.ops.blendtorch.stream_start()
    keymap = bpy.context.window_manager.keyconfigs.addon.keymaps["Window"]
    assert [entry.type for entry in keymap.keymap_items if entry.idname == "blendtorch.stop"] == ["ESC"]
    assert set(EVENTS) <= set(leftovers())
    assert bpy.ops.blendtorch.stop() == {"FINISHED"}
    assert leftovers() == []
    assert not engine.state.running


def test_randomize_once_and_reset(scene):
    cube = bpy.data.objects["Cube"]
    before = cube.matrix_world.copy()
    locations = []
    for index in range(2):
        assert bpy.ops.blendtorch.randomize_once() == {"FINISHED"}
        assert engine.state.shown
        assert not engine.state.running
        locations.append(tuple(cube.location))
        with randomize.apply(SETUP.randomizers, seed=7, address=(index,), index=index):
            pass
    assert locations[0] != locations[1]
    assert bpy.ops.blendtorch.randomize_reset() == {"FINISHED"}
    bpy.context.view_layer.update()
    assert cube.matrix_world == before
    assert leftovers() == []
    for index, location in enumerate(locations):
        with randomize.apply(SETUP.randomizers, seed=7, address=(index,), index=index):
            assert tuple(cube.location) == location


def test_what_is_shown_is_not_saved_nor_streamed(scene, tmp_path):
    cube = bpy.data.objects["Cube"]
    before = tuple(cube.location)
    bpy.ops.blendtorch.randomize_once()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    assert tuple(cube.location) == before
    assert not engine.state.shown
    bpy.ops.blendtorch.randomize_once()
    bpy.ops.blendtorch.stream_start()
    assert tuple(cube.location) == before
    assert not engine.state.shown


def test_deleted_while_shown(scene):
    bpy.ops.blendtorch.randomize_once()
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    with contextlib.suppress(RuntimeError):  # that it cannot be put back may be said
        bpy.ops.blendtorch.randomize_reset()
    assert not engine.state.shown


def animate(scene):
    output = btb_setup.OutputSettings(
        width=80, height=64, samples=1, animate=True, frame_start=1, frame_end=4, labels=("ids",)
    )
    box = randomize.LocationInBox(
        randomize.Target("OBJECT", "Cube"), (-1.0, -1.0, -0.5), (1.0, 1.0, 0.5), per="episode"
    )
    set_up(scene, output=output, randomizers=(box,))


def test_nothing_of_an_episode_is_saved(scene, tmp_path):
    animate(scene)
    scene.frame_set(3)
    cube = bpy.data.objects["Cube"]
    before = tuple(cube.location)
    bpy.ops.blendtorch.stream_start()
    samples = receive(engine.endpoint.address, 2)
    file = tmp_path / "a.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    assert tuple(cube.location) == before
    assert scene.frame_current == 3
    samples += receive(engine.endpoint.address, 6)
    assert {index for index, _ in samples} >= {0, 1}
    bpy.ops.blendtorch.stop()
    assert tuple(cube.location) == before
    assert scene.frame_current == 3


def test_loading_a_file_stops(scene, tmp_path):
    file = tmp_path / "a.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    animate(scene)
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 2)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert not engine.state.running
    assert engine.hub is None
    assert leftovers() == []
    assert "another file" in engine.notice


def test_preview(scene):
    cube = bpy.data.objects["Cube"]
    before = tuple(cube.location)
    assert bpy.ops.blendtorch.preview() == {"FINISHED"}
    assert not engine.state.running
    assert leftovers() == []
    assert tuple(cube.location) == before
    image = bpy.data.images[IMAGE_NAME]
    assert tuple(image.size) == (3 * 80 + 2 * 4, 3 * 64 + 2 * 4)
    assert not image.is_dirty
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    sheet = (pixels.reshape(image.size[1], image.size[0], 4)[::-1, :, :3] * 255).round().astype(np.uint8)
    for number in (0, 4, 8):
        top, left = number // 3 * 68, number % 3 * 84
        tile = sheet[top : top + 64, left : left + 80]
        (same,) = expected(scene, number)
        labels = same["labels"]["instances"]
        color = ids_to_rgb(labels["id"])[0]
        x0, _, x1, y1 = labels["box"][0].astype(int)
        assert (tile[y1 - 1, x0:x1] == color).all()  # the lower edge, where no name stands


def test_preview_while_streaming(scene):
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 1)
    assert bpy.ops.blendtorch.preview() == {"FINISHED"}
    assert engine.state.stream
    assert not engine.state.preview
    assert len(receive(engine.endpoint.address, 2)) == 2


def test_preview_that_fails(scene):
    hook(scene, "def pre_frame(ctx):\n    if ctx.index == 3:\n        raise KeyError('no such thing')\n")
    with pytest.raises(RuntimeError, match="no such thing"):
        bpy.ops.blendtorch.preview()
    assert "no such thing" in engine.errors.by_name["preview"]
    assert leftovers() == []
    assert scene.blendtorch.randomizers[1].error


def test_unregister_while_running(scene):
    animate(scene)
    before = tuple(bpy.data.objects["Cube"].location)
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 2)
    addon_blendtorch.unregister()
    try:
        assert leftovers() == []
        assert not engine.state.running
        assert tuple(bpy.data.objects["Cube"].location) == before
    finally:
        addon_blendtorch.register()


def test_removed_scene(scene):
    other = bpy.data.scenes.new("Other")
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 1)
    bpy.context.window.scene = other
    bpy.data.scenes.remove(scene)
    receiver = SampleReceiver([engine.endpoint.address])
    try:
        wait_for(lambda: drain(receiver) or not engine.state.running)
    finally:
        receiver.close()
    assert "removed" in engine.errors.last


def test_end_of_python_closes_the_hub(scene):
    bpy.ops.blendtorch.stream_start()
    engine._at_exit()
    assert [thread for thread in threading.enumerate() if "blendtorch hub" in thread.name] == []
    atexit.unregister(engine._at_exit)
    engine.stop_all()


def test_workers_need_a_stream(scene):
    with pytest.raises(SceneError, match="Start the stream"):
        engine.add_workers(["tcp://127.0.0.1:9"])
