"""What has gone wrong is shown as long as it may be so still, and in words, whatever has failed."""

import shutil

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch.engine import engine
from addon_blendtorch.engine_errors import Errors
from addon_blendtorch.panels.messages import BLENDTORCH_PT_messages
from blendtorch.errors import RandomizeError, SceneError

TAKEN = SceneError("it is taken.")


@pytest.fixture(autouse=True)
def _registered(_default_scene):
    addon_blendtorch.register()
    yield
    addon_blendtorch.unregister()


@pytest.fixture
def scene():
    scene = bpy.context.scene
    bpy.ops.blendtorch.randomizer_add(type="LocationInBox")
    bpy.ops.blendtorch.camera_add()
    return scene


def failed(name: str, scene) -> Errors:
    """The errors after something was started in vain."""
    errors = Errors()
    errors.forget(name, scene)
    errors.note(name, TAKEN)
    return errors


CHANGES = {
    "seed": lambda settings: setattr(settings, "seed", 8),
    "its own settings": lambda settings: setattr(settings.stream, "port", 1),
    "output": lambda settings: settings.output.cameras.clear(),
    "output's flags": lambda settings: setattr(settings.output, "labels", {"flow"}),
    "randomizers": lambda settings: settings.randomizers.clear(),
    "a randomizer": lambda settings: setattr(settings.randomizers[0], "box_low", (0, 0, 0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("name", ["stream", "workers"])
def test_an_error_is_not_shown_when_settings_were_changed_since_it_came(scene, name, change):
    errors = failed("stream", scene)
    if name == "workers":
        errors.tell(name, "they are gone.")
    shown = dict(errors.by_name)
    assert errors.of(scene) == shown
    change(scene.blendtorch)  # before anything was drawn, or after, makes no difference
    if name == "workers" and change is CHANGES["its own settings"]:
        scene.blendtorch.workers.instances += 1
    assert errors.of(scene) == {}
    assert errors.by_name == shown  # drawing changes nothing


def test_an_error_is_shown_while_what_it_comes_from_is_the_same(scene):
    errors = failed("stream", scene)
    settings = scene.blendtorch
    settings.recording.num_samples += 1
    settings.randomizer_index = settings.output.camera_index = 1  # another row is clicked on
    settings.randomizers[0].error = "marked"
    assert errors.of(scene) == {"stream": "it is taken."}
    settings.seed += 1
    assert errors.of(scene) == {}
    assert errors.of(bpy.data.scenes.new("other")) == {"stream": "it is taken."}
    errors.note("stream", TAKEN)
    assert errors.of(scene) == {"stream": "it is taken."}


def test_an_error_of_a_randomizer_is_of_the_scene_that_is_marked(scene):
    errors = Errors()
    errors.mark(scene.session_uid, RandomizeError("gone.", 0))
    assert errors.of(scene) == {"randomize": "gone."}
    scene.blendtorch.randomizers[0].target_object = None
    assert errors.of(scene) == {}


def test_drawing_the_messages_changes_nothing(scene):
    scene.blendtorch.stream.bind_addr = "192.0.2.7"
    with pytest.raises(RuntimeError, match="no address of this machine"):
        bpy.ops.blendtorch.stream_start()
    errors, engine.notice = dict(engine.errors.by_name), ""
    scene.blendtorch.stream.bind_addr = "127.0.0.1"
    assert not BLENDTORCH_PT_messages.poll(bpy.context)  # though it was never drawn before
    assert engine.errors.by_name == errors
    scene.blendtorch.stream.bind_addr = "192.0.2.7"
    assert BLENDTORCH_PT_messages.poll(bpy.context)
    scene.blendtorch.stream.bind_addr = "127.0.0.1"
    bpy.ops.blendtorch.stream_start()
    bpy.ops.blendtorch.stream_stop()
    assert engine.errors.by_name == {}


def test_a_file_with_keys_that_cannot_be_written_is_told(scene):
    scene.blendtorch.stream.bind_addr = "0.0.0.0"
    bpy.ops.blendtorch.stream_start()
    bpy.ops.blendtorch.copy_client_snippet()
    shutil.rmtree(engine.endpoint.folder.path)
    with pytest.raises(RuntimeError, match=r"launch_info.json cannot be written: .*Choose another Cache Folder"):
        bpy.ops.blendtorch.copy_client_snippet()
    bpy.ops.blendtorch.stream_stop()


@pytest.mark.parametrize(
    ("operator", "method", "start"),
    [
        ("stream_stop", "stop_stream", "stream_start"),
        ("record_stop", "stop_recording", "record_start"),
        ("randomize_reset", "reset", "randomize_once"),
    ],
)
def test_what_stops_tells_errors_as_what_starts_does(scene, monkeypatch, tmp_path, operator, method, start):
    def fail() -> None:
        trace = "Traceback (most recent call last):\n  File 'hook.py', line 3"
        raise RandomizeError(f"the hook has failed\n{trace}", 0, trace)

    scene.blendtorch.recording.folder = str(tmp_path)
    getattr(bpy.ops.blendtorch, start)()
    with monkeypatch.context() as patch:
        patch.setattr(engine, method, fail)
        with pytest.raises(RuntimeError, match="the hook has failed") as raised:
            getattr(bpy.ops.blendtorch, operator)()
    assert "hook.py" not in str(raised.value)
    engine.stop_all()
