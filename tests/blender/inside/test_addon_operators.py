"""What the add-on's operators start and stop, turn by turn: in background no timer runs, so tests call `engine.step()`."""

import atexit
import contextlib
import os
import re
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest

import addon_blendtorch
from addon_blendtorch.engine import engine
from addon_blendtorch.preview import IMAGE_NAME
from addon_blendtorch.producer import Share
from addon_blendtorch.properties import from_setup
from addon_blendtorch.stream_operators import client_code
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.errors import SceneError
from blendtorch.labels.pictures import ids_to_rgb
from blendtorch.launch import LaunchInfo
from blendtorch.recording import Recording
from blendtorch.wire.sample_receiver import SampleReceiver

EVENTS = ("load_pre", "undo_pre", "undo_post", "redo_pre", "redo_post", "save_pre")


@pytest.fixture(autouse=True)
def _registered(_default_scene):
    addon_blendtorch.register()
    yield
    addon_blendtorch.unregister()
    assert leftovers() == []
    assert [thread.name for thread in threading.enumerate() if "blendtorch" in thread.name] == []


@pytest.fixture
def scene():
    """The default scene, set up: small Solid pictures, and a cube that is somewhere else in each."""
    scene = bpy.context.scene
    from_setup(scene, SETUP)
    return scene


BOX = randomize.LocationInBox(randomize.Target("OBJECT", "Cube"), (-1.0, -1.0, -0.5), (1.0, 1.0, 0.5))
SETUP = btb_setup.SceneSetup(
    seed=7, output=btb_setup.OutputSettings(width=80, height=64, samples=1), randomizers=(BOX,)
)


def set_up(scene, **changes):
    from_setup(scene, replace(SETUP, **changes))


def leftovers():
    """What is there only while something runs."""
    # The thread that looks at keys ends when the add-on goes.
    names = [thread.name for thread in threading.enumerate()]
    found = [name for name in names if "blendtorch" in name and name != "blendtorch gate"]
    found += [event for event in EVENTS for handler in getattr(bpy.app.handlers, event) if is_engines(handler)]
    if bpy.app.timers.is_registered(engine._clock._tick):
        found.append("timer")
    keymap = bpy.context.window_manager.keyconfigs.addon.keymaps.get("Window")
    found += [entry.idname for entry in keymap.keymap_items if "blendtorch" in entry.idname] if keymap else []
    return found


def is_engines(handler):
    return "engine_handlers" in getattr(handler, "__module__", "")


def wait_for(condition, timeout_s=20):
    """Makes turns until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {engine.errors} {engine.stats}"
        engine.step()
        time.sleep(0.005)


def receive(address, count, curve=None):
    """So many samples of a stream, in order, as (index, fields)."""
    receiver = SampleReceiver([address], curve=curve)
    samples = []
    try:

        def take():
            group = receiver.take(1)
            if group is not None:
                fields = {
                    name: np.copy(value) if isinstance(value, np.ndarray) else value
                    for name, value in group.view(0).items()
                }
                samples.append((int(group.index[0]), fields))
                group.release()
            return len(samples) >= count

        wait_for(take)
    finally:
        receiver.close()
    return samples


def expected(scene, index, setup=SETUP):
    maker = btb_setup.SampleMaker(setup, scene)
    samples = list(maker.samples(index))
    maker.close()
    return samples


def test_streams_the_samples_of_the_api(scene):
    assert bpy.ops.blendtorch.stream_start() == {"FINISHED"}
    assert engine.state.stream
    assert engine.state.running
    address = engine.endpoint.address
    assert address.startswith("tcp://127.0.0.1:")
    before = bpy.data.objects["Cube"].location.copy()
    samples = receive(address, 6)
    assert [index for index, _ in samples] == list(range(6))
    assert bpy.data.objects["Cube"].location == before
    engine.step()
    assert bpy.ops.blendtorch.stream_stop() == {"FINISHED"}
    assert not engine.state.running
    assert engine.hub is None
    assert leftovers() == []
    assert engine.stats.sent >= 6
    assert engine.last_error == ""
    for index, fields in samples:
        (same,) = expected(scene, index)
        np.testing.assert_array_equal(fields["ids"], same["ids"])
        np.testing.assert_array_equal(fields["depth"], same["depth"])
        assert np.abs(fields["image"].astype(int) - same["image"]).max() <= 2


def test_shares_of_indices(scene):
    bpy.ops.blendtorch.stream_start()
    engine.making.share = Share(1, 3, 5)
    samples = receive(engine.endpoint.address, 4)
    assert [index for index, _ in samples] == [7, 10, 13, 16]
    engine.remove_workers()
    more = receive(engine.endpoint.address, 3)
    indices = [index for index, _ in more]
    assert indices[0] > 16


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


def test_taken_port(scene):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        scene.blendtorch.stream.port = port
        with pytest.raises(RuntimeError, match=rf"Port {port} of 127.0.0.1 is taken.*set port 0"):
            bpy.ops.blendtorch.stream_start()
    assert f"Port {port}" in engine.last_error
    assert f"Port {port}" in engine.errors["stream"]
    assert not engine.state.running
    assert leftovers() == []
    assert engine.hub is None
    scene.blendtorch.stream.port = 0
    bpy.ops.blendtorch.stream_start()
    assert engine.last_error == ""
    assert "stream" not in engine.errors


def fail_to_start(scene):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        scene.blendtorch.stream.port = other.getsockname()[1]
        with pytest.raises(RuntimeError, match="is taken"):
            bpy.ops.blendtorch.stream_start()
    assert "is taken" in engine.errors["stream"]


def test_errors_are_forgotten_when_something_is_started(scene, tmp_path):
    fail_to_start(scene)
    scene.blendtorch.recording.folder = str(tmp_path)
    scene.blendtorch.recording.num_samples = 0
    bpy.ops.blendtorch.record_start()
    assert (engine.errors, engine.last_error, engine.traceback) == ({}, "", "")


def test_errors_are_forgotten_when_their_settings_change(scene):
    for change in (lambda: setattr(scene.blendtorch.stream, "port", 0), lambda: setattr(scene.blendtorch, "seed", 8)):
        fail_to_start(scene)
        engine.forget_outdated_errors(scene)  # as panels do when they are drawn
        scene.blendtorch.recording.num_samples += 1
        engine.forget_outdated_errors(scene)
        assert "is taken" in engine.last_error
        change()
        engine.forget_outdated_errors(scene)
        assert (engine.errors, engine.last_error, engine.traceback) == ({}, "", "")


def test_address_of_another_machine(scene):
    scene.blendtorch.stream.bind_addr = "192.0.2.7"
    with pytest.raises(RuntimeError, match=r"192\.0\.2\.7.*no address of this machine"):
        bpy.ops.blendtorch.stream_start()
    assert leftovers() == []


def test_client_code(scene):
    bpy.ops.blendtorch.stream_start()
    assert bpy.ops.blendtorch.copy_client_snippet() == {"FINISHED"}
    code = client_code()
    assert f"btt.StreamLoader({engine.endpoint.address!r}, batch_size=8)" in code
    compile(code, "snippet", "exec")


def test_keys_where_others_can_connect(scene):
    scene.blendtorch.stream.bind_addr = "0.0.0.0"
    bpy.ops.blendtorch.stream_start()
    code = client_code()
    file = Path(re.search(r"load_json\('(.*)'\)", code)[1])
    assert os.name != "posix" or file.stat().st_mode & 0o077 == 0
    info = LaunchInfo.load_json(file)
    assert info.curve.server_secret is None
    address = engine.endpoint.address.replace("0.0.0.0", "127.0.0.1")
    samples = receive(address, 2, curve=info.curve)
    assert [index for index, _ in samples] == [0, 1]
    bpy.ops.blendtorch.stream_stop()
    assert not file.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no ipc")
def test_ipc(scene):
    scene.blendtorch.stream.transport = "ipc"
    bpy.ops.blendtorch.stream_start()
    address = engine.endpoint.address
    assert address.startswith("ipc://")
    assert len(receive(address, 2)) == 2
    bpy.ops.blendtorch.stream_stop()
    assert not Path(address.removeprefix("ipc://")).parent.exists()


def test_settings_are_followed_while_streaming(scene):
    bpy.ops.blendtorch.stream_start()
    address = engine.endpoint.address
    assert receive(address, 1)[0][1]["image"].shape == (64, 80, 3)
    scene.blendtorch.output.width = 96
    engine._watch.be_due()
    engine.step()
    wide = receive(address, 6)[-1][1]
    assert wide["image"].shape == (64, 96, 3)
    box = randomize.Rotation(randomize.Target("OBJECT", "Nobody"))
    set_up(scene, randomizers=(BOX, box))
    engine._watch.be_due()
    engine.step()
    assert "Nobody" in engine.notice
    assert engine.state.stream


def test_missing_camera(scene):
    scene.camera = None
    with pytest.raises(RuntimeError, match="camera"):
        bpy.ops.blendtorch.stream_start()
    assert "camera" in engine.last_error
    assert leftovers() == []


def test_camera_that_goes_while_streaming(scene):
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 1)
    bpy.data.objects.remove(scene.camera)
    receiver = SampleReceiver([engine.endpoint.address])
    try:
        wait_for(lambda: drain(receiver) or not engine.state.running)
    finally:
        receiver.close()
    assert "camera" in engine.last_error
    assert leftovers() == []


def drain(receiver):
    group = receiver.take(1)
    if group is not None:
        group.release()
    return False


def hook(scene, code, **options):
    text = bpy.data.texts.new("hook.py")
    text.write(code)
    set_up(scene, randomizers=(BOX, randomize.Hook(text=text.name, **options)))


def test_hook_that_raises_stops(scene):
    hook(scene, "def pre_frame(ctx):\n    if ctx.index == 2:\n        raise KeyError('no such thing')\n")
    before = bpy.data.objects["Cube"].matrix_world.copy()
    bpy.ops.blendtorch.stream_start()
    receiver = SampleReceiver([engine.endpoint.address])
    try:
        wait_for(lambda: drain(receiver) or not engine.state.running)
    finally:
        receiver.close()
    assert engine.last_error.endswith("raised KeyError: 'no such thing'")
    assert scene.blendtorch.randomizers[1].error == engine.last_error
    assert "line 3" in engine.traceback
    assert [bool(entry.error) for entry in scene.blendtorch.randomizers] == [False, True]
    assert bpy.data.objects["Cube"].matrix_world == before
    assert leftovers() == []


def test_hook_that_raises_is_skipped(scene):
    hook(scene, "def pre_frame(ctx):\n    raise KeyError('no such thing')\n", on_error="skip")
    bpy.ops.blendtorch.stream_start()
    assert [index for index, _ in receive(engine.endpoint.address, 3)] == [0, 1, 2]
    assert engine.state.stream
    assert "no such thing" in engine.errors["randomize"]
    assert scene.blendtorch.randomizers[1].error
    bpy.ops.blendtorch.stream_stop()
    scene.blendtorch.randomizers[1].mute = True
    bpy.ops.blendtorch.stream_start()
    assert not scene.blendtorch.randomizers[1].error
    assert "randomize" not in engine.errors


def test_all_episodes(scene):
    output = btb_setup.OutputSettings(width=80, height=64, samples=1, episodes=3)
    set_up(scene, output=output)
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 3)
    wait_for(lambda: not engine.state.running)
    assert "All 3" in engine.notice
    assert leftovers() == []


def test_records_the_samples_of_the_api(scene, tmp_path):
    folder = tmp_path / "recording"
    scene.blendtorch.recording.folder = str(folder)
    scene.blendtorch.recording.num_samples = 5
    assert bpy.ops.blendtorch.record_start() == {"FINISHED"}
    assert engine.state.recording
    assert not engine.state.stream
    with pytest.raises(RuntimeError, match="runs already"):
        bpy.ops.blendtorch.record_start()
    wait_for(lambda: not engine.state.running)
    assert leftovers() == []
    assert engine.stats.recorded == 5
    assert "5 samples" in engine.notice
    recording = Recording(folder)
    assert [sample["btindex"] for sample in recording] == list(range(5))
    (same,) = expected(scene, 3)
    np.testing.assert_array_equal(recording[3]["ids"], same["ids"])
    # Asked for again there is nothing to do; asked for more it goes on.
    with pytest.raises(RuntimeError, match="has its 5 samples"):
        bpy.ops.blendtorch.record_start()
    assert leftovers() == []
    scene.blendtorch.recording.num_samples = 7
    bpy.ops.blendtorch.record_start()
    wait_for(lambda: not engine.state.running)
    assert sorted(sample["btindex"] for sample in Recording(folder)) == list(range(7))


def test_a_folder_holds_samples_of_one_seed_and_one_setup(scene, tmp_path):
    folder = tmp_path / "recording"
    scene.blendtorch.recording.folder = str(folder)
    scene.blendtorch.recording.num_samples = 2
    bpy.ops.blendtorch.record_start()
    wait_for(lambda: not engine.state.running)
    assert Recording(folder).metadata["seed"] == scene.blendtorch.seed
    scene.blendtorch.recording.num_samples = 4
    seed, scene.blendtorch.seed = scene.blendtorch.seed, scene.blendtorch.seed + 1
    with pytest.raises(RuntimeError, match="another stream: its seed is"):
        bpy.ops.blendtorch.record_start()
    scene.blendtorch.seed = seed
    scene.blendtorch.output.width += 1
    with pytest.raises(RuntimeError, match="what is set up was changed since it was made"):
        bpy.ops.blendtorch.record_start()
    scene.blendtorch.output.width -= 1
    assert leftovers() == []
    bpy.ops.blendtorch.record_start()
    wait_for(lambda: not engine.state.running)
    assert len(Recording(folder)) == 4


def test_folder_that_cannot_be_written_to(scene, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    scene.blendtorch.recording.folder = str(file)
    with pytest.raises(RuntimeError, match="file"):
        bpy.ops.blendtorch.record_start()
    assert engine.errors["recording"]
    assert leftovers() == []


def test_records_beside_the_stream(scene, tmp_path):
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    scene.blendtorch.recording.num_samples = 0
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 2)
    bpy.ops.blendtorch.record_start()
    receive(engine.endpoint.address, 3)
    bpy.ops.blendtorch.stream_stop()
    assert engine.state.recording
    wait_for(lambda: engine.hub.stats().recorded >= 5)
    assert bpy.ops.blendtorch.record_stop() == {"FINISHED"}
    assert leftovers() == []
    assert len(Recording(tmp_path / "recording")) >= 5


def test_what_waits_of_other_settings_is_not_recorded(scene, tmp_path, monkeypatch):
    scene.blendtorch.stream.queue_size = 1
    scene.blendtorch.recording.folder = str(tmp_path / "recording")
    scene.blendtorch.recording.num_samples = 6
    bpy.ops.blendtorch.stream_start()
    receiver = SampleReceiver([engine.endpoint.address])
    got = []

    def take():
        group = receiver.take(1)
        if group is not None:
            got.append((int(group.index[0]), np.array(group.view(0)["image"])))
            group.release()
        return group is not None

    try:
        wait_for(take)
        # As when the client has no room any more just after samples were asked for.
        with monkeypatch.context() as patch:
            patch.setattr(engine.hub, "wants_sample", lambda: len(engine.hub._pump.window) < 2)
            wait_for(lambda: len(engine.hub._pump.window) == 2)
        scene.blendtorch.seed = 8
        assert bpy.ops.blendtorch.record_start() == {"FINISHED"}
        wait_for(lambda: (take(), not engine.state.recording)[1])
    finally:
        receiver.close()
    found = list(Recording(tmp_path / "recording"))
    assert len(found) == 6
    other = replace(SETUP, seed=8)
    for sample in found:
        [made] = expected(scene, int(sample["btindex"]), other)
        np.testing.assert_array_equal(sample["depth"], made["depth"])
    indices = [index for index, _ in got]
    assert indices == list(range(len(got)))  # none is left out, none comes twice


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
    assert [left for left in leftovers() if left != "load_pre"] == []
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
    assert "no such thing" in engine.errors["preview"]
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
    assert "removed" in engine.last_error


def test_end_of_python_closes_the_hub(scene):
    bpy.ops.blendtorch.stream_start()
    engine._at_exit()
    assert [thread for thread in threading.enumerate() if "blendtorch hub" in thread.name] == []
    atexit.unregister(engine._at_exit)
    engine.stop_all()


def test_workers_need_a_stream(scene):
    with pytest.raises(SceneError, match="Start the stream"):
        engine.add_workers(["tcp://127.0.0.1:9"])
