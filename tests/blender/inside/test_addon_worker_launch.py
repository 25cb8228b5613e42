"""What keeps workers from being launched, and where they keep their logs."""

import json
import sys

import bpy
import pytest
from worker_launches import addon_preferences, small_scene, temporary_folder, work_until  # noqa: F401

import addon_blendtorch
from addon_blendtorch import workers
from addon_blendtorch.engine import engine
from addon_blendtorch.scene_copy import save_copy
from blendtorch.btb import setup as btb_setup
from blendtorch.errors import ConfigError, SceneError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")


class TestSettingsThatAreNotSaved:
    """The window makes samples by the panel's settings, workers as saved by those of the file: both into one stream."""

    @pytest.fixture(autouse=True)
    def saved(self, scene, tmp_path):
        scene.blendtorch.workers.source = "SAVED"
        self.file = str(tmp_path / "scene.blend")
        bpy.ops.wm.save_as_mainfile(filepath=self.file)
        assert bpy.ops.blendtorch.workers_launch.poll()

    def are_refused(self) -> bool:
        scene = bpy.context.scene
        if bpy.ops.blendtorch.workers_launch.poll():
            return False
        with pytest.raises(
            SceneError, match=r"changed since the file was saved.*Save the file, or choose As It Is Now"
        ):
            workers.launch(scene, as_saved=True)
        assert not engine.state.stream
        return True

    @pytest.mark.parametrize("change", ["seed = 6", "output.width = 32", "randomizers[0].box_low = (0, 0, 0)"])
    def test_what_samples_depend_on(self, scene, change):
        exec(f"scene.blendtorch.{change}")
        assert self.are_refused()
        bpy.ops.wm.save_mainfile()
        assert not self.are_refused()

    def test_what_is_for_the_window_alone_may_differ(self, scene):
        scene.blendtorch.workers.instances = 1
        scene.blendtorch.stream.queue_size = 3
        assert not self.are_refused()

    def test_a_copy_saves_nothing_in_the_file(self, scene, tmp_path):
        scene.blendtorch.seed = 6
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "copy.blend"), copy=True)
        assert json.loads(scene[btb_setup.KEY])["seed"] == 6  # as in the copy
        assert self.are_refused()
        save_copy(tmp_path / "of_workers.blend")
        assert self.are_refused()
        scene.blendtorch.seed = 5
        assert not self.are_refused()

    def test_a_script_saves_them_as_it_likes(self, scene):
        setup = btb_setup.SceneSetup(output=btb_setup.OutputSettings(labels=("semantic", "ids")))
        btb_setup.save(setup, scene)
        addon_blendtorch.unregister()  # its properties are not to be saved over the script's
        btb_setup.save(setup, scene)
        bpy.ops.wm.save_mainfile()
        addon_blendtorch.register()
        bpy.ops.wm.open_mainfile(filepath=self.file)
        assert bpy.context.scene.blendtorch.output.labels == {"ids", "semantic"}
        assert not self.are_refused()
        btb_setup.save(btb_setup.SceneSetup(seed=9), bpy.context.scene)  # which the file does not have yet
        bpy.context.scene.blendtorch.seed = 9
        assert self.are_refused()


def test_a_launch_that_fails_is_kept_for_the_panel_and_opens_no_stream(scene, preferences, tmp_path):
    (tmp_path / "file").write_text("")
    preferences.log_folder = str(tmp_path / "file" / "logs")
    for _ in range(2):  # what was forgotten is told again
        with pytest.raises(ConfigError, match="log folder"):
            workers.launch(scene)
        assert "The log folder" in engine.errors.by_name["workers"] == engine.errors.last
        assert not engine.state.running
        engine.note_started("workers", dict(engine.errors.by_name))
        assert engine.errors.by_name == {}
    engine.start_stream(scene)
    with pytest.raises(RuntimeError, match="log folder"):
        bpy.ops.blendtorch.workers_launch()
    assert engine.state.stream  # it ran before
    assert "The log folder" in engine.errors.by_name["workers"]


def test_a_launch_that_fails_late_closes_the_stream_that_it_has_opened(scene, tmp_path, temporary):
    scene.blendtorch.workers.source = "SAVED"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    (tmp_path / "scene.blend").unlink()
    with pytest.raises(RuntimeError, match="there is no scene"):
        bpy.ops.blendtorch.workers_launch()
    assert not engine.state.running
    assert engine.endpoint is None
    assert "scene.blend" in engine.errors.by_name["workers"]
    assert list(temporary.glob("blendtorch-*")) == []


def test_an_entry_that_is_unfinished_is_marked(scene):
    scene.blendtorch.randomizers.add().type = "Rotation"
    with pytest.raises(RuntimeError, match="Randomizer 2"):
        bpy.ops.blendtorch.workers_launch()
    assert "Randomizer 2" in scene.blendtorch.randomizers[1].error
    assert "Randomizer 2" in engine.errors.last
    assert engine.errors.traceback


def test_no_launch_overwrites_the_logs_of_another(scene, preferences, tmp_path):
    scene.blendtorch.workers.instances = 1
    preferences.log_folder = str(tmp_path / "logs")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "my scene.blend"))
    logs = []
    for _ in range(2):
        workers.launch(scene)
        work_until(lambda: engine.state.workers)
        logs.append(workers.states()[0].log_file)
        assert logs[-1].exists()
        workers.close()
        logs[-1].write_text(f"said by {len(logs)}")
    assert [log.read_text() for log in logs] == ["said by 1", "said by 2"]
    for log in logs:
        assert log.parent.parent == tmp_path / "logs"
        assert log.parent.name.startswith("my scene-")


def test_a_saved_file_without_settings_is_refused(scene, tmp_path):
    addon_blendtorch.unregister()
    bpy.ops.wm.read_factory_settings()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "plain.blend"))
    addon_blendtorch.register()
    bpy.context.scene.blendtorch.workers.source = "SAVED"
    assert not bpy.ops.blendtorch.workers_launch.poll()
    with pytest.raises(SceneError, match="Nothing was set up in the file"):
        workers.launch(bpy.context.scene, as_saved=True)
    assert not engine.state.stream
