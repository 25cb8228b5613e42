"""What the add-on streams, and what is said when it cannot."""

import os
import re
import socket
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from engine_turns import (
    BOX,
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

from addon_blendtorch.engine import engine
from addon_blendtorch.producer import Share
from addon_blendtorch.stream_operators import client_code
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.launch import LaunchInfo
from blendtorch.wire.sample_receiver import SampleReceiver


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
    assert engine.errors.last == ""
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


def test_taken_port(scene):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        scene.blendtorch.stream.port = port
        with pytest.raises(RuntimeError, match=rf"Port {port} of 127.0.0.1 is taken.*set port 0"):
            bpy.ops.blendtorch.stream_start()
    assert f"Port {port}" in engine.errors.last
    assert f"Port {port}" in engine.errors.by_name["stream"]
    assert not engine.state.running
    assert leftovers() == []
    assert engine.hub is None
    scene.blendtorch.stream.port = 0
    bpy.ops.blendtorch.stream_start()
    assert engine.errors.last == ""
    assert "stream" not in engine.errors.by_name


def fail_to_start(scene):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        scene.blendtorch.stream.port = other.getsockname()[1]
        with pytest.raises(RuntimeError, match="is taken"):
            bpy.ops.blendtorch.stream_start()
    assert "is taken" in engine.errors.by_name["stream"]


def test_errors_are_forgotten_when_something_is_started(scene, tmp_path):
    fail_to_start(scene)
    scene.blendtorch.recording.folder = str(tmp_path)
    scene.blendtorch.recording.num_samples = 0
    bpy.ops.blendtorch.record_start()
    assert (engine.errors.by_name, engine.errors.last, engine.errors.traceback) == ({}, "", "")


def test_errors_are_not_shown_when_their_settings_have_changed(scene):
    for change in (lambda: setattr(scene.blendtorch.stream, "port", 0), lambda: setattr(scene.blendtorch, "seed", 8)):
        fail_to_start(scene)
        scene.blendtorch.recording.num_samples += 1
        assert "is taken" in engine.errors.of(scene)["stream"]
        change()
        assert engine.errors.of(scene) == {}


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
    assert "camera" in engine.errors.last
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
    assert "camera" in engine.errors.last
    assert leftovers() == []


def test_hook_that_raises_stops(scene):
    hook(scene, "def pre_frame(ctx):\n    if ctx.index == 2:\n        raise KeyError('no such thing')\n")
    before = bpy.data.objects["Cube"].matrix_world.copy()
    bpy.ops.blendtorch.stream_start()
    receiver = SampleReceiver([engine.endpoint.address])
    try:
        wait_for(lambda: drain(receiver) or not engine.state.running)
    finally:
        receiver.close()
    assert engine.errors.last.endswith("raised KeyError: 'no such thing'")
    assert scene.blendtorch.randomizers[1].error == engine.errors.last
    assert "line 3" in engine.errors.traceback
    assert [bool(entry.error) for entry in scene.blendtorch.randomizers] == [False, True]
    assert bpy.data.objects["Cube"].matrix_world == before
    assert leftovers() == []


def test_hook_that_raises_is_skipped(scene):
    hook(scene, "def pre_frame(ctx):\n    raise KeyError('no such thing')\n", on_error="skip")
    bpy.ops.blendtorch.stream_start()
    assert [index for index, _ in receive(engine.endpoint.address, 3)] == [0, 1, 2]
    assert engine.state.stream
    assert "no such thing" in engine.errors.by_name["randomize"]
    assert scene.blendtorch.randomizers[1].error
    bpy.ops.blendtorch.stream_stop()
    scene.blendtorch.randomizers[1].mute = True
    bpy.ops.blendtorch.stream_start()
    assert not scene.blendtorch.randomizers[1].error
    assert "randomize" not in engine.errors.by_name


def test_all_episodes(scene):
    output = btb_setup.OutputSettings(width=80, height=64, samples=1, episodes=3)
    set_up(scene, output=output)
    bpy.ops.blendtorch.stream_start()
    receive(engine.endpoint.address, 3)
    wait_for(lambda: not engine.state.running)
    assert "All 3" in engine.notice
    assert leftovers() == []
