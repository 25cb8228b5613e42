"""The add-on as it is shipped, in a window: installed from its zip, worked with by mouse and keys, watched from outside."""

import contextlib
import re
import socket
import time

import numpy as np

from blendtorch import btt

from .addon_window import AddonWindow
from .addon_work import ENGINE, SIZE, WORKERS, free_port, receive, receive_of_all, run_client, small, start, start_all
from .conftest import only_newest
from .traces import Traces
from .window import Rectangle

# Parts of the display for the pictures of docs/panel.md.
WINDOW = Rectangle(0, 0, 1060, 700)
PREVIEW = Rectangle(120, 140, 1040, 780)
MENU = Rectangle(620, 80, 440, 490)


def test_from_the_zip_to_batches(open_window, tmp_path):
    """What docs/panel.md tells a stranger to do; `make panel-screenshots` makes its pictures of it."""
    with open_window() as window:
        assert_bundled(window)
        window.open_tab()
        window.step("tab")
        window.picture("tab", WINDOW)
        traces = Traces(window)

        window.open_panel("Randomizers")
        window.add_randomizer("Rotation")
        window.step("randomizer")
        window.picture("randomizers")
        (entry,) = window.get("[(r.type, r.target_name) for r in bpy.context.scene.blendtorch.randomizers]")
        assert entry == ["Rotation", "Cube"]
        window.press(r"blendtorch\.preview\(")
        window.wait_for_preview()
        window.step("preview")
        window.picture("preview", PREVIEW)
        width, height = window.get("list(bpy.data.images['BlendTorch Preview'].size)")
        assert width >= 3 * 320
        assert height >= 3 * 240
        assert window.get(f"{ENGINE}.errors.last") == ""
        window.close_preview()

        window.open_panel("Output")
        window.step("output")
        window.picture("output")
        window.open_panel("Stream")
        port = free_port()
        window.fill(r"stream\.port", str(port))
        assert window.get("bpy.context.scene.blendtorch.stream.port") == port
        window.press("stream_start")
        window.wait_for(f"{ENGINE}.state.stream", 10)
        code = window.press_and_copy("copy_client_snippet")
        window.step("streaming")
        address = f"tcp://127.0.0.1:{port}"
        assert address in code
        assert "(8, 240, 320, 3)" in run_client(code)
        with contextlib.closing(iter(btt.StreamLoader(address, batch_size=4, timeoutms=60_000))) as loader:
            batches = [next(loader) for _ in range(5)]
            window.step("received")
            window.picture("stream")
        assert all(batch["image"].shape == (4, 240, 320, 3) for batch in batches)
        indices = np.concatenate([batch["btindex"] for batch in batches])
        assert len(set(indices.tolist())) == 20
        first = batches[0]["image"]
        assert (first[0] != first[1]).any()  # the cube turns
        assert all(batch["ids"].numpy().any() for batch in batches)

        window.open_panel("Recording")
        window.run(f"bpy.ops.wm.save_as_mainfile(filepath={str(tmp_path / 'cube.blend')!r})")  # which stops nothing
        window.run("bpy.context.scene.blendtorch.recording.num_samples = 24")
        window.press("record_start")
        window.wait_for(f"{ENGINE}.stats is not None and {ENGINE}.stats.recorded > 10", 60)
        window.step("recording")
        window.picture("recording")
        window.wait_for(f"not {ENGINE}.state.recording", 60)
        window.step("recorded")
        recording = btt.Recording(tmp_path / "recording")
        assert len(recording) == 24
        assert recording[0]["image"].shape == (240, 320, 3)

        window.open_panel("Workers")
        window.press("workers_launch")
        window.wait_for(f"sum(one.state == 'running' for one in {WORKERS}.states()) == 2", 90)
        receive_of_all(address, window.get(f"{ENGINE}.making.next_index"), shares=3)
        time.sleep(1)  # the panel's figures
        window.step("workers")
        window.picture("workers")
        window.press("workers_stop")
        window.step("workers-stopped")
        window.open_panel("Stream")
        window.press("stream_stop")
        window.step("stopped")
        traces.assert_none()
        assert window.close() == 0


@only_newest
def test_handing_over_the_file(open_window, provided, home, tmp_path, monkeypatch):
    """The saved file alone gives the samples that the window gives."""
    scene = tmp_path / "scene.blend"
    with open_window() as window:
        small(window, vary=True)
        shown = receive(start(window), 2)
        window.run(f"bpy.ops.wm.save_as_mainfile(filepath={str(scene)!r})")
        assert window.close() == 0
    monkeypatch.setenv("HOME", str(home))
    blender = provided.executable("blender-plain")
    with btt.stream(scene, blend_path=blender, instances=1, batch_size=4, num_batches=2, seed=0) as loader:
        streamed = list(loader)
    for one, other in zip(shown, streamed, strict=True):
        assert one["btindex"].tolist() == other["btindex"].tolist()
        np.testing.assert_array_equal(one["ids"], other["ids"])
        np.testing.assert_array_equal(one["image"], other["image"])


@only_newest
def test_escape_stops_everything(open_window, tmp_path):
    with open_window() as window:
        window.open_tab()
        traces = Traces(window)
        small(window, vary=True)
        address = start_all(window, tmp_path / "recording")
        receive(address, 2)
        window.step("all-run")
        window.focus_view()
        window.key("Escape")
        window.wait_for(f"not {ENGINE}.state.running", 30)
        window.step("escaped")
        traces.assert_none()
        assert window.close() == 0


@only_newest
def test_undo_while_it_streams(open_window):
    """An undo replaces all data; the stream goes on with the scene as it is then."""
    with open_window() as window:
        window.open_tab()
        small(window, vary=True)
        address = start(window)
        receive(address, 2)
        window.run("with view():\n    bpy.ops.transform.translate(value=(0, 0, 0.5))\n    bpy.ops.ed.undo_push()")
        receive(address, 2)
        window.focus_view()
        window.key("ctrl+z")
        batches = receive(address, 4)
        window.step("undone")
        assert all(batch["ids"].numpy().any() for batch in batches)
        assert window.get("list(bpy.data.objects['Cube'].rotation_euler)") == [0, 0, 0]
        window.key("ctrl+shift+z")
        receive(address, 2)
        window.step("redone")
        assert window.get(f"{ENGINE}.errors.last") == ""
        assert window.close() == 0


@only_newest
def test_undo_while_an_episode_plays(open_window):
    """No step of undo brings back what an episode has changed, however many edits there were in it."""
    with open_window() as window:
        window.open_tab()
        small(window)
        window.run(
            "o = s.output\no.animate, o.frame_start, o.frame_end = True, 1, 200\n"
            "with view():\n    bpy.ops.blendtorch.randomizer_add(type='LocationInBox')\n"
            "r = s.randomizers[0]\nr.per = 'episode'\nr.box_low, r.box_high = (5, 5, 5), (6, 6, 6)\n"
            "bpy.context.scene.frame_set(7)\nwith view():\n    bpy.ops.ed.undo_push()"
        )
        address = start(window)
        receive(address, 2)
        assert window.get("bpy.data.objects['Cube'].location.x") >= 5
        for _ in range(3):
            window.run(
                "with view():\n    bpy.ops.transform.resize(value=(2, 1, 1))\n    bpy.ops.ed.undo_push(message='scaled')"
            )
            receive(address, 1)
        window.focus_view()
        cube = "[bpy.context.scene.frame_current, *bpy.data.objects['Cube'].location]"
        for keys, scale in (("ctrl+z", 4), ("ctrl+z", 2), ("ctrl+shift+z", 4)):
            window.key(keys)
            window.wait_for(f"bpy.data.objects['Cube'].scale.x == {scale}", 10)
            receive(address, 1)
        window.step("undone")
        window.key("Escape")
        window.wait_for(f"not {ENGINE}.state.running", 10)
        assert window.get(cube) == [7, 0, 0, 0]
        assert window.get(f"{ENGINE}.errors.last") == ""
        assert window.close() == 0


@only_newest
def test_file_load_while_all_runs(open_window, tmp_path):
    with open_window() as window:
        window.open_tab()
        traces = Traces(window)
        small(window, vary=True)
        address = start_all(window, tmp_path / "recording")
        receive(address, 2)
        window.run(f"bpy.ops.wm.save_as_mainfile(filepath={str(tmp_path / 'saved.blend')!r})")
        receive(address, 2)  # saving stops nothing
        window.run(f"bpy.ops.wm.open_mainfile(filepath={str(tmp_path / 'saved.blend')!r})")
        window.wait_for(f"not {ENGINE}.state.running", 30)
        window.step("loaded")
        traces.assert_none()
        assert window.get("len(bpy.context.scene.blendtorch.randomizers)") == 1
        assert window.get("bpy.context.scene.blendtorch.output.width") == SIZE
        assert len(btt.Recording(tmp_path / "recording")) > 0
        receive(start(window), 2)  # and all works again
        assert window.close() == 0


@only_newest
def test_disable_while_all_runs(open_window, tmp_path):
    switch = "bpy.ops.preferences.addon_{}(module='bl_ext.user_default.blendtorch')"
    with open_window() as window:
        window.run(switch.format("disable"))
        traces = Traces(window)
        window.run(switch.format("enable"))
        window.open_tab()
        small(window, vary=True)
        receive(start_all(window, tmp_path / "recording"), 2)
        window.run(switch.format("disable"))
        window.step("disabled")
        traces.assert_none()
        assert window.get("hasattr(bpy.context.scene, 'blendtorch')") is False
        window.run(switch.format("enable"))
        window.open_tab()
        window.step("enabled-again")
        small(window)
        receive(start(window), 2)
        assert window.close() == 0


@only_newest
def test_quit_while_all_runs(open_window, tmp_path):
    with open_window() as window:
        small(window, vary=True)
        receive(start_all(window, tmp_path / "recording"), 2)
        assert window.close() == 0
    assert len(btt.Recording(tmp_path / "recording")) > 0


def test_several_windows(open_window):
    """Each window has a GPU context of its own, and any of them may be active when a sample is made."""
    with open_window() as window:
        window.open_tab()
        small(window, vary=True)
        address = start(window)
        receive(address, 1)
        window.run("with view():\n    bpy.ops.wm.window_new()")
        window.wait_for("len(bpy.context.window_manager.windows) == 2")
        window.step("two")
        batches = receive(address, 4)
        window.run(
            "w = bpy.context.window_manager.windows[1]\nwith bpy.context.temp_override(window=w):\n"
            "    bpy.ops.wm.window_close()"
        )
        window.focus()
        batches += receive(address, 4)
        window.step("one-again")
        assert window.get(f"{ENGINE}.errors.last") == ""
        assert all(batch["ids"].numpy().any(axis=(1, 2)).all() for batch in batches)
        assert all(batch["image"].numpy().std(axis=(1, 2, 3)).min() > 1 for batch in batches)
        assert window.close() == 0


@only_newest
def test_port_taken(open_window):
    with open_window() as window, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        window.open_tab()
        small(window)
        window.run(f"bpy.context.scene.blendtorch.stream.port = {port}")
        window.press("stream_start")
        window.wait_for(f"{ENGINE}.errors.last", 10)
        window.step("port-taken")
        window.key("Escape")  # the message at the pointer
        assert re.search(f"Port {port} .* is taken", window.get(f"{ENGINE}.errors.last"))
        assert window.close() == 0


@only_newest
def test_hook_that_raises(open_window):
    with open_window() as window:
        window.open_tab()
        small(window)
        window.run(
            "text = bpy.data.texts.new('hook')\ntext.write('def pre_frame(ctx):\\n    1 / 0\\n')\n"
            "with view():\n    bpy.ops.blendtorch.randomizer_add(type='Hook')\n"
            "bpy.context.scene.blendtorch.randomizers[0].text = text"
        )
        window.press("stream_start")
        window.wait_for(f"{ENGINE}.state.stream", 10)
        assert list(btt.StreamLoader(window.get(f"{ENGINE}.endpoint.address"), timeoutms=60_000)) == []  # it has ended
        window.wait_for(f"'division' in {ENGINE}.errors.last", 30)
        assert window.get(f"{ENGINE}.state.running") is False
        assert "division" in window.get("bpy.context.scene.blendtorch.randomizers[0].error")
        window.open_panel("Randomizers")
        window.step("marked")
        window.press("show_traceback")
        window.settle()
        window.step("traceback")
        assert window.get("any('ZeroDivisionError' in text.as_string() for text in bpy.data.texts)")
        assert window.close() == 0


@only_newest
def test_right_click_on_a_field(open_window):
    """Randomize with BlendTorch, on the cube's Z location in the tab Item."""
    with open_window() as window:
        window.open_tab("Item")
        window.click(*window.find(r"^location\[2\]"), button=3)
        window.key("Up")
        window.step("menu")
        window.picture("right-click", MENU)
        window.key("Return")
        window.open_tab()
        window.open_panel("Randomizers")
        window.step("added")
        entry = "bpy.context.scene.blendtorch.randomizers[0]"
        assert window.get(f"[{entry}.type, {entry}.target_name, {entry}.data_path, {entry}.index]") == [
            "Property",
            "Cube",
            "location",
            2,
        ]
        assert window.close() == 0


def assert_bundled(window: AddonWindow) -> None:
    """What is imported came with the zip."""
    window.run("import blendtorch, zmq")
    for module in ("blendtorch", "zmq"):
        assert "/extensions/.local/lib/" in window.get(f"{module}.__file__")
