"""What the add-on records, beside a stream and alone."""

from dataclasses import replace

import bpy
import numpy as np
import pytest
from engine_turns import (
    SETUP,
    expected,
    leftovers,
    receive,
    registered,  # noqa: F401  (a fixture)
    small_scene,  # noqa: F401  (a fixture)
    wait_for,
)

from addon_blendtorch.engine import engine
from blendtorch.recording import Recording
from blendtorch.wire.sample_receiver import SampleReceiver


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
    assert engine.errors.by_name["recording"]
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
