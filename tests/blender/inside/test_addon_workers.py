"""Headless workers that the panel launches: real ones, whose samples reach a recording of this Blender."""

import json
import os
import signal
import subprocess
import sys
import time

import bpy
import pytest
from worker_launches import all_run, indices, names, small_scene, temporary_folder, work_until, worker_processes  # noqa: F401

import addon_blendtorch
from addon_blendtorch import workers
from addon_blendtorch.engine import engine
from addon_blendtorch.scene_copy import save_copy
from blendtorch.btb import setup as btb_setup
from blendtorch.errors import MissingFileError, SceneError
from blendtorch.recording import Recording
from blendtorch.wire.owned_folder import remove_leftovers
from tests.blenders import REPO

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")


def test_window_and_workers_share_the_indices(scene, tmp_path):
    recording = scene.blendtorch.recording
    folder = recording.folder
    assert bpy.ops.blendtorch.workers_launch() == {"FINISHED"}
    assert names() == ["starting", "starting"]
    assert engine.state.stream  # it was opened
    assert not bpy.ops.blendtorch.workers_launch.poll()
    work_until(all_run)
    recording.folder, recording.num_samples = str(tmp_path / "before"), 0
    engine.start_recording(scene)
    work_until(lambda: all(one.images for one in workers.states()))  # their first takes seconds on a busy machine
    engine.stop_recording()
    recording.folder, recording.num_samples = folder, 300
    engine.start_recording(scene)
    work_until(lambda: not engine.state.recording)
    found = indices(tmp_path)
    assert len(found) == 300 == len(set(found))  # none twice
    assert {index % 3 for index in found} == {0, 1, 2}
    assert bpy.ops.blendtorch.workers_stop() == {"FINISHED"}
    work_until(lambda: not workers.is_ending())
    assert names() == ["stopped", "stopped"]
    assert worker_processes() == []
    assert engine.state.stream  # the window goes on alone, after what the workers have made
    assert engine.making.share.count == 1
    assert engine.making.share.first > max(found)


def test_the_saved_file_has_what_was_saved(scene, tmp_path):
    scene.blendtorch.workers.source = "SAVED"
    assert not bpy.ops.blendtorch.workers_launch.poll()
    with pytest.raises(MissingFileError, match="never saved"):
        workers.launch(scene, as_saved=True)
    assert not engine.state.stream
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert bpy.ops.blendtorch.workers_launch() == {"FINISHED"}
    work_until(all_run)
    workers.close()
    assert worker_processes() == []


def test_why_workers_died_is_said_in_words_with_the_log(scene, tmp_path):
    addon_blendtorch.unregister()
    bpy.ops.wm.read_factory_settings()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "plain.blend"))
    addon_blendtorch.register()
    btb_setup.save(btb_setup.SceneSetup(), bpy.context.scene)  # as if it were in the file
    workers.launch(bpy.context.scene, as_saved=True)
    work_until(lambda: names() == ["died", "died"])
    work_until(lambda: not workers.poll())
    # Of the launch when it was not over yet, otherwise of the worker.
    assert "there are no BlendTorch settings" in workers.error() + workers.states()[0].detail
    log = workers.states()[0].log_file
    assert log.exists()
    assert bpy.ops.blendtorch.workers_log(number=0) == {"FINISHED"}
    text = bpy.data.texts["BlendTorch worker 0"].as_string()
    assert str(log) in text
    assert engine.state.stream  # the window alone goes on
    assert worker_processes() == []


def test_workers_make_the_scene_that_they_are_launched_from(scene, tmp_path):
    # The file opens with the scene of its first window.
    other = bpy.data.scenes.new("Other")
    other.camera = bpy.data.objects["Camera"]
    other.blendtorch.output.width, other.blendtorch.output.height = 48, 32
    other.blendtorch.output.samples = other.blendtorch.workers.instances = 1
    other.blendtorch.recording.folder = str(tmp_path / "recording")
    other.blendtorch.recording.num_samples = 0
    other.collection.objects.link(bpy.data.objects["Camera"])
    workers.launch(other)
    work_until(lambda: engine.state.workers)
    with pytest.raises(SceneError, match="samples of another scene"):
        engine.start_recording(scene)
    engine.start_recording(other)
    work_until(lambda: engine.hub.stats().workers_per_s)
    engine.stop_recording()
    engine.stop_all()
    found = list(Recording(tmp_path / "recording"))
    assert {int(sample["btindex"]) % 2 for sample in found} == {0, 1}
    assert {sample["image"].shape for sample in found} == {(32, 48, 3)}


def test_a_recording_and_workers_are_of_the_same_settings(scene):
    engine.start_recording(scene)
    scene.blendtorch.seed = 6
    with pytest.raises(SceneError, match="changed since the recording began"):
        workers.launch(scene)
    assert bpy.ops.blendtorch.stream_start() == {"FINISHED"}  # which goes by those of the recording
    assert engine.making.producer.setup.seed == 5
    engine.stop_recording()
    workers.launch(scene)
    assert engine.making.producer.setup.seed == 6
    scene.blendtorch.seed = 7
    with pytest.raises(SceneError, match="changed since the workers began"):
        engine.start_recording(scene)
    assert engine.state.stream


def test_a_worker_that_is_killed_is_shown_and_comes_back(scene):
    workers.launch(scene)
    work_until(all_run)
    engine.start_recording(scene)  # takes what comes
    work_until(lambda: all(one.images > 5 for one in workers.states()))
    before = workers.states()[1].images
    os.kill(workers._run.workers._launcher.launch_info.pids[1], signal.SIGKILL)
    work_until(lambda: workers.states()[1].restarts == 1)
    assert "SIGKILL" in workers.states()[1].detail
    work_until(lambda: all_run() and workers.states()[1].images > before)
    assert workers.states()[0].restarts == 0
    engine.stop_all()
    assert not workers.is_running()
    work_until(lambda: not workers.is_ending())


def test_workers_end_with_their_episodes(scene, tmp_path):
    scene.blendtorch.output.episodes = 30
    scene.blendtorch.recording.num_samples = 0
    engine.start_recording(scene)
    workers.launch(scene)
    work_until(lambda: names() == ["ended", "ended"])
    work_until(lambda: not engine.state.running)
    assert workers.error() == ""
    assert engine.notice == "All 30 episodes are made."
    assert sorted(indices(tmp_path)) == list(range(30))


def test_what_stopped_workers_have_not_made_is_told_and_made_when_it_is_recorded_on(scene, tmp_path):
    scene.blendtorch.output.episodes = 60
    scene.blendtorch.recording.num_samples = 0
    engine.start_recording(scene)
    workers.launch(scene)
    work_until(lambda: engine.making.next_index > 6)  # the window, of its own share
    workers.stop()
    work_until(lambda: not engine.state.running)
    assert "Some may be missing" in engine.notice
    work_until(lambda: not workers.is_ending())
    assert len(indices(tmp_path)) < 60
    engine.start_recording(scene)
    work_until(lambda: not engine.state.running)
    assert engine.notice == "All 60 episodes are made."
    assert sorted(indices(tmp_path)) == list(range(60))


def test_workers_end_with_the_stream(scene):
    workers.launch(scene)
    work_until(all_run)
    engine.stop_stream()
    work_until(lambda: names() == ["stopped", "stopped"])
    assert worker_processes() == []
    assert not engine.state.running


def test_stopping_while_they_start_takes_no_time(scene):
    workers.launch(scene)
    started = time.monotonic()
    workers.stop()
    assert time.monotonic() - started < 0.5
    assert not workers.is_running()
    work_until(lambda: not workers.is_ending())
    assert names() == ["stopped", "stopped"]
    assert workers.error() == ""
    assert worker_processes() == []


def test_loading_a_file_ends_them(scene):
    workers.launch(scene)
    work_until(all_run)
    bpy.ops.wm.read_factory_settings()
    assert workers.states() == []
    work_until(lambda: not workers.is_ending())
    assert worker_processes() == []
    assert not engine.state.running


def test_disabling_the_addon_ends_them(scene):
    workers.launch(scene)
    work_until(all_run)
    addon_blendtorch.unregister()
    assert worker_processes() == []
    assert not bpy.app.timers.is_registered(workers._tick)
    addon_blendtorch.register()


def test_a_copy_finds_what_is_beside_the_file(scene, tmp_path):
    (tmp_path / "there").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "there" / "scene.blend"))
    image = bpy.data.images.new("picture", 4, 4)
    image.source, image.filepath, image.use_fake_user = "FILE", "//picture.png", True
    bpy.ops.blendtorch.randomizer_add(type="WorldImage")
    scene.blendtorch.randomizers[1].folder = "//hdri"
    scene.blendtorch.randomizers[1].label = "//not a path"
    bpy.ops.wm.save_mainfile()
    before = scene[btb_setup.KEY]
    copy = tmp_path / "elsewhere" / "copy.blend"
    copy.parent.mkdir()
    save_copy(copy)
    assert bpy.data.filepath == str(tmp_path / "there" / "scene.blend")
    assert scene[btb_setup.KEY] == before
    script = (
        f"import bpy, json, os; bpy.ops.wm.open_mainfile(filepath={str(copy)!r});"
        f"data = json.loads(bpy.data.scenes['Scene'][{btb_setup.KEY!r}])['randomizers'][1];"
        "picture = bpy.path.abspath(bpy.data.images['picture'].filepath);"
        "print(json.dumps(['FOUND', data['folder'], data['label'], picture]));"
        "import sys; sys.stdout.flush(); os._exit(0)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60).stdout
    line = next(line for line in output.splitlines() if line.startswith('["FOUND"'))
    folder, label, picture = json.loads(line)[1:]
    assert os.path.normpath(folder) == str(tmp_path / "there" / "hdri")
    assert label == "//not a path"
    assert os.path.normpath(picture) == str(tmp_path / "there" / "picture.png")


def test_a_copy_has_settings_where_nothing_was_set_up(tmp_path):
    addon_blendtorch.unregister()
    bpy.ops.wm.read_factory_settings()
    addon_blendtorch.register()
    assert btb_setup.KEY not in bpy.context.scene
    save_copy(tmp_path / "copy.blend")
    assert btb_setup.KEY not in bpy.context.scene
    with pytest.raises(SceneError, match="cannot be saved"):
        save_copy(tmp_path / "nowhere" / "copy.blend")


def test_they_end_when_blender_is_killed(tmp_path, temporary):
    script = tmp_path / "parent.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(REPO)!r})\n"
        "import tempfile, time, bpy, addon_blendtorch\n"
        f"tempfile.tempdir = {str(temporary)!r}\n"
        "addon_blendtorch.register()\n"
        "from addon_blendtorch import workers\n"
        "from addon_blendtorch.engine import engine\n"
        "output = bpy.context.scene.blendtorch.output\n"
        "output.width = output.height = 64\n"
        "workers.launch(bpy.context.scene)\n"
        "while not engine.state.workers:\n"
        "    workers.poll(); time.sleep(0.05)\n"
        "print('READY', flush=True)\n"
        "time.sleep(100)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert any(line.startswith("READY") for line in parent.stdout)
        assert len(worker_processes()) >= 2
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while worker_processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert worker_processes() == []
    # The copy of the file goes, at the latest, with the next launch on this machine.
    remove_leftovers(temporary)
