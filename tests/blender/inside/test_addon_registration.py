"""The add-on comes and goes without leaving anything behind, and its preferences work without being there."""

import os
import threading

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch import preferences
from addon_blendtorch.engine import engine
from addon_blendtorch.installation import check_folder, check_installation
from addon_blendtorch.preferences import (
    BlendTorchPreferences,
    DefaultPreferences,
    cache_folder,
    get_preferences,
    log_folder,
)
from addon_blendtorch.stream_operators import client_code
from blendtorch.cli.doctor_checks import Status
from blendtorch.errors import ConfigError


def seen() -> dict[str, object]:
    """All that an add-on can leave behind."""
    menus = {
        name: [getattr(draw, "__module__", "") for draw in cls.draw._draw_funcs]
        for name in dir(bpy.types)
        if hasattr(getattr(cls := getattr(bpy.types, name), "draw", None), "_draw_funcs")
    }
    return {
        "handlers": {
            name: [repr(handler) for handler in getattr(bpy.app.handlers, name)]
            for name in dir(bpy.app.handlers)
            if isinstance(getattr(bpy.app.handlers, name), list)
        },
        "classes": {name for name in dir(bpy.types) if "blendtorch" in name.lower()},
        "operators": set(dir(bpy.ops.blendtorch)),
        "properties": {
            (cls.__name__, name)
            for cls in (bpy.types.Scene, bpy.types.WindowManager, bpy.types.Object, bpy.types.Screen)
            for name in dir(cls)
            if "blendtorch" in name
        },
        "menus": {name: found for name, found in menus.items() if any("blendtorch" in module for module in found)},
        "keys": {
            (config.name, keymap.name, item.idname)
            for config in bpy.context.window_manager.keyconfigs
            for keymap in config.keymaps
            for item in keymap.keymap_items
            if item.idname.startswith("blendtorch.")
        },
        "threads": {thread.name for thread in threading.enumerate()},
    }


def test_register_and_unregister_leave_nothing_behind():
    before = seen()
    for _ in range(3):
        addon_blendtorch.register()
        during = seen()
        assert during["handlers"] != before["handlers"]
        assert ("Scene", "blendtorch") in during["properties"]
        assert "check_installation" in during["operators"]
        bpy.context.scene.blendtorch.seed = 5
        bpy.context.scene.blendtorch.randomizers.add()
        addon_blendtorch.unregister()
        assert seen() == before
    assert not hasattr(bpy.context.scene, "blendtorch")


def test_what_was_set_up_survives_the_add_on_being_off():
    scene = bpy.context.scene
    addon_blendtorch.register()
    scene.blendtorch.seed = 5
    addon_blendtorch.unregister()
    addon_blendtorch.register()
    try:
        assert scene.blendtorch.seed == 5
    finally:
        addon_blendtorch.unregister()


@pytest.fixture
def addon():
    addon_blendtorch.register()
    yield
    addon_blendtorch.unregister()


@pytest.fixture
def entry(addon):
    """The add-on enabled in the preferences."""
    item = bpy.context.preferences.addons.new()
    item.module = addon_blendtorch.__name__
    yield item.preferences
    bpy.context.preferences.addons.remove(item)


def test_without_preferences_their_defaults_count(addon):
    assert get_preferences() == DefaultPreferences()
    assert (cache_folder(), log_folder()) == (None, None)


def test_preferences_are_those_of_the_add_on_and_their_defaults_are_the_same(entry):
    found = get_preferences()
    assert isinstance(found, BlendTorchPreferences)
    names = set(BlendTorchPreferences.__annotations__)
    assert {name: getattr(found, name) for name in names} == vars(DefaultPreferences())
    for prop in found.bl_rna.properties:
        assert prop.description or prop.identifier not in names


def test_folders_are_made(entry, tmp_path):
    entry.log_folder = str(tmp_path / "a" / "logs")
    assert log_folder() == tmp_path / "a" / "logs"
    assert log_folder().is_dir()
    (tmp_path / "file").write_text("")
    entry.cache_folder = str(tmp_path / "file" / "cache")
    with pytest.raises(ConfigError, match=r"cache folder .* cannot be made"):
        cache_folder()


def test_sockets_and_keys_are_in_the_cache_folder(entry, tmp_path):
    entry.cache_folder = str(tmp_path / "cache")
    settings = bpy.context.scene.blendtorch
    settings.stream.transport = "ipc"
    assert bpy.ops.blendtorch.stream_start() == {"FINISHED"}
    assert engine.endpoint.address.startswith(f"ipc://{tmp_path / 'cache'}")
    bpy.ops.blendtorch.stream_stop()
    settings.stream.transport, settings.stream.bind_addr = "tcp", "0.0.0.0"
    bpy.ops.blendtorch.stream_start()
    assert str(tmp_path / "cache") in client_code()
    bpy.ops.blendtorch.stream_stop()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_folder_that_cannot_be_written_to_is_told(entry, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    entry.cache_folder = str(tmp_path / "cache")
    bpy.context.scene.blendtorch.stream.transport = "ipc"
    with pytest.raises(RuntimeError, match="Choose another Cache Folder"):
        bpy.ops.blendtorch.stream_start()


def test_the_check_of_the_installation_says_what_is_there(addon):
    assert bpy.ops.blendtorch.check_installation() == {"FINISHED"}
    lines = {line.name: line for line in bpy.context.window_manager.blendtorch.check_lines}
    expected = {
        "Blender",
        "BlendTorch",
        "ZeroMQ",
        "numpy",
        "tcp sockets",
        "ipc sockets",
        "GPU",
        "cache folder",
        "log folder",
    }
    assert expected <= set(lines)
    assert all(line.fix or line.status == "OK" for line in lines.values())
    assert lines["tcp sockets"].status == "OK"
    assert "blendtorch" in lines["BlendTorch"].seen
    assert "pyzmq" in lines["ZeroMQ"].seen
    assert lines["GPU"].status in ("OK", "WARNING")


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    (line,) = check_folder("cache folder", str(tmp_path / "file" / "cache"))
    assert line.status is Status.FAILED
    assert "preferences" in line.fix
    (line,) = check_folder("cache folder", str(tmp_path / "new"))
    assert line.status is Status.OK


def test_a_check_that_crashes_is_a_line(monkeypatch):
    def crash():
        raise OSError("broken")
        yield

    monkeypatch.setattr("addon_blendtorch.installation.check_gpu", crash)
    lines = {line.name: line for line in check_installation({})}
    assert lines["GPU"].status is Status.FAILED
    assert "broken" in lines["GPU"].seen


def test_new_scenes_begin_with_the_addresses_of_the_preferences(entry):
    entry.bind_addr, entry.port = "127.0.0.2", 12345
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    if preferences.get_preferences() == DefaultPreferences():
        pytest.skip("this Blender forgot the preferences")
    stream = bpy.context.scene.blendtorch.stream
    assert (stream.bind_addr, stream.port) == ("127.0.0.2", 12345)
