"""The panel's environment: a text is served to a client, stepped and in real time, and what ends it leaves nothing."""

import contextlib
import os
import socket
import sys
import time
from pathlib import Path

import bpy
import pytest
from engine_turns import leftovers, registered, small_scene, wait_for  # noqa: F401  (fixtures)
from environment_client import COUNTING, Client, set_text

import addon_blendtorch
from addon_blendtorch import environment
from addon_blendtorch.engine import engine
from blendtorch.wire import Kind
from blendtorch.wire.receivers import host_id


@pytest.fixture(autouse=True)
def _undo():
    edit = bpy.context.preferences.edit
    before, edit.use_global_undo = edit.use_global_undo, True
    yield
    edit.use_global_undo = before


def start() -> str:
    """Starts what the panel is set to by its operator; gives the address."""
    assert bpy.ops.blendtorch.environment_start() == {"FINISHED"}
    return environment.figures().address


def turn_for_a_while() -> None:
    end = time.monotonic() + 0.3
    wait_for(lambda: time.monotonic() > end)


def times_closed() -> int:
    return bpy.context.scene.get("closed", 0)


def assert_nothing_is_left(address: str) -> None:
    assert not engine.state.running
    assert environment.figures() is None
    assert leftovers() == []
    assert [name for name in sys.modules if name.startswith("_blendtorch_environment")] == []
    host, port = address.removeprefix("tcp://").split(":")
    end = time.monotonic() + 5
    while True:  # ZeroMQ frees it by and by
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) != 0:
                return
        assert time.monotonic() < end, f"somebody listens at {address}"
        time.sleep(0.01)


@contextlib.contextmanager
def opened(code: str = COUNTING, **settings: object):
    """A client that has opened the environment of a text."""
    set_text(code, **settings)
    with Client(start()) as client:
        client.open()
        yield client


def test_stepped_episodes_and_what_the_panel_tells():
    set_text(COUNTING)
    address = start()
    assert address.startswith("tcp://127.0.0.1:")
    assert not environment.figures().has_client
    with Client(address) as client:
        said = client.open()
        assert (said["num_agents"], said["max_episode_steps"], said["real_time"]) == (1, 3, False)
        assert environment.figures().has_client
        assert client.reset().body["observations"][0].tolist() == [[1.0]]
        replies = [client.step(0.5).body for _ in range(3)]
        assert [reply["observations"][0].tolist() for reply in replies] == [[[2.0]], [[3.0]], [[4.0]]]
        assert [bool(reply["truncated"][0]) for reply in replies] == [False, False, True]
        assert bpy.data.objects["Cube"].location.x == 1.5
        figures = environment.figures()
        assert (figures.episodes, figures.running_return, figures.last_return) == (1, 6.0, 6.0)
        client.reset()
        client.step()
        wait_for(lambda: environment.figures().steps_per_s > 0)
        figures = environment.figures()
        assert (figures.episodes, figures.running_return, figures.last_return) == (1, 2.0, 6.0)
        frame = bpy.context.scene.frame_current
        for _ in range(20):
            engine.step()
        assert bpy.context.scene.frame_current == frame  # time stands still
        client.ask("close")
        assert not environment.figures().has_client
        assert environment.figures().last_return == 6.0
    turn_for_a_while()  # of two at a time the second one is never heard
    with Client(address) as client:  # which begins anew
        client.open()
        assert environment.figures().episodes == 0
        assert bpy.ops.blendtorch.environment_stop() == {"FINISHED"}
        assert client.farewell().kind == Kind.END
    assert times_closed() == 1
    assert engine.errors.by_name == {}
    assert_nothing_is_left(address)


def test_real_time():
    bpy.context.scene.render.fps = 100
    with opened(COUNTING.replace("= 3", "= None"), real_time=True) as client:
        assert client.open()["real_time"] is True
        client.reset()
        wait_for(lambda: bpy.context.scene.frame_current > 5)  # and nobody asks for it
        said = client.step().body
        assert (
            said["infos"]["lag_steps"] >= 4 if isinstance(said["infos"], dict) else said["infos"][0]["lag_steps"] >= 4
        )
        assert client.open(real_time=False)["real_time"] is False  # the client has the last word


@pytest.mark.parametrize(
    ("added", "class_name"),
    [
        ("", ""),
        ("if __name__ == '__main__':\n    btb.env.run(Counting)\n", ""),
        ("btb.env.run(Counting)\nbpy.context.scene['behind'] = True\n", ""),
        ("btb.env.run(Counting())\n", ""),
        ("def make():\n    return Counting()\nclass Other(Counting): pass\nbtb.env.run(make)\n", ""),
        ("class Other(Counting):\n    max_episode_steps = 0\n", "Counting"),
        ("from dataclasses import dataclass\n@dataclass\nclass Settings:\n    speed: float = 1\n", ""),
        ("from blendtorch.btb.envs.cartpole import CartPole\n", ""),  # its own counts
    ],
)
def test_which_environment_a_text_defines(added, class_name):
    with opened(COUNTING + added, class_name=class_name) as client:
        assert client.open()["max_episode_steps"] == 3
    assert bpy.context.scene.get("behind", "'behind'" not in added)


def test_a_text_that_asks_for_real_time():
    with opened(COUNTING + "btb.env.run(Counting, real_time=True)\n") as client:
        assert client.open()["real_time"] is True


def test_many_agents_of_a_class_that_is_imported():
    with opened("from blendtorch.btb.envs.cartpole import CartPole") as client:
        assert client.open()["max_episode_steps"] == 500
        assert client.reset().kind == Kind.REPLY
        assert client.step(1.0).body["observations"][0].shape == (1, 4)
        assert environment.figures().running_return == 1


def test_a_client_of_this_machine_has_a_mailbox_as_long_as_it_runs():
    set_text(COUNTING)
    with Client(start()) as client:
        said = client.ask("open", autoreset="Disabled", real_time=None, host=host_id()).body
        path = Path(said["mailbox"]["path"])
        assert path.exists()
        environment.stop()
        assert not path.parent.exists()


@pytest.mark.parametrize(
    ("code", "class_name", "message"),
    [
        ("import bpy\n", "", "defines no class, expected a class that inherits from btb.env.BaseEnv"),
        ("class Mine: pass\n", "", "defines only Mine, expected"),
        (COUNTING + "class Other(Counting): pass\n", "", "has 2 environments, Counting, Other, expected one"),
        (COUNTING, "Wrong", "has nothing of that name.* It has Counting"),
        (COUNTING, "np", "has <module 'numpy'.*> of that name"),
        (COUNTING + "btb.env.run(Counting)\nbtb.env.run(Counting)\n", "", "calls btb.env.run 2 times"),
        (COUNTING + "btb.env.run(lambda: 3)\n", "", "makes a int, expected a BaseEnv"),
        ("this is no Python\n", "", 'the text "environment.py" raised SyntaxError'),
        ("1 / 0\n", "", 'the text "environment.py" raised ZeroDivisionError'),
        ("raise SystemExit(3)\n", "", 'the text "environment.py" raised SystemExit'),
        (COUNTING.replace('"Cube"', '"Cone"'), "", r'Counting\(\) of the text "environment.py" raised KeyError'),
        (COUNTING.replace("max_episode_steps = 3", "max_episode_steps = 0"), "", "max_episode_steps is 0"),
    ],
)
def test_texts_that_cannot_be_served(code, class_name, message):
    set_text(code, class_name=class_name)
    with pytest.raises(RuntimeError, match=f"(?s){message}"):
        bpy.ops.blendtorch.environment_start()
    assert not engine.state.running
    assert leftovers() == []
    assert [name for name in sys.modules if name.startswith("_blendtorch_environment")] == []
    assert "environment" in engine.errors.of(bpy.context.scene)
    assert bpy.ops.blendtorch.show_traceback() == {"FINISHED"}
    bpy.context.scene.blendtorch_environment.class_name = "Another"  # what is set up now may go well
    assert "environment" not in engine.errors.of(bpy.context.scene)


def test_no_text_is_chosen():
    with pytest.raises(RuntimeError, match="no text is chosen, expected one"):
        bpy.ops.blendtorch.environment_start()


@pytest.mark.parametrize("call", ["reset", "step"])
def test_what_the_script_raises_is_told_in_the_panel_and_to_the_client(call):
    code = COUNTING.replace(f"def {call}(self", "def fails(self", 1)
    code += f"\n    def {call}(self, *given):\n        if 'off' not in bpy.context.scene: 1 / 0\n"
    code += "        return self.fails(*given)\n"
    with opened(code) as client:
        answer = client.reset()
        if call == "step":
            answer = client.step()
        assert answer.kind == Kind.ERROR
        assert "division by zero" in answer.body["error"]
        assert "1 / 0" in answer.body["traceback"]
        engine.step()
        assert "the environment raised ZeroDivisionError" in engine.errors.by_name["environment"]
        assert engine.errors.last in engine.errors.of(bpy.context.scene).values()
        assert bpy.ops.blendtorch.show_traceback() == {"FINISHED"}
        assert "if 'off' not in bpy.context.scene: 1 / 0" in bpy.data.texts["BlendTorch traceback"].as_string()
        bpy.context.scene["off"] = True  # and all goes on
        assert client.reset().kind == Kind.REPLY
        assert client.step().kind == Kind.REPLY
    environment.stop()
    start()
    assert engine.errors.by_name == {}


def test_a_script_that_exits_ends_the_environment_and_not_blender():
    with opened(COUNTING.replace("self.advance()", "raise SystemExit(4)")) as client:
        address = environment.figures().address
        client.reset()
        answer = client.step()
        assert answer.kind == Kind.ERROR
        assert "SystemExit" in answer.body["error"]
    wait_for(lambda: not engine.state.running)
    assert "SystemExit: 4" in engine.errors.by_name["environment"]
    assert times_closed() == 1
    assert_nothing_is_left(address)


def test_close_that_raises_is_told():
    with opened(COUNTING.replace("def close(self):", "def close(self):\n        1 / 0")):
        address = environment.figures().address
    assert bpy.ops.blendtorch.environment_stop() == {"FINISHED"}
    assert "close() of the environment raised ZeroDivisionError" in engine.errors.by_name["environment"]
    assert_nothing_is_left(address)


def test_samples_and_an_environment_exclude_each_other(scene, tmp_path):
    set_text(COUNTING)
    bpy.ops.blendtorch.stream_start()
    with pytest.raises(RuntimeError, match=r"samples of the scene are being made, .* Stop that first"):
        bpy.ops.blendtorch.environment_start()
    assert engine.state.stream
    bpy.ops.blendtorch.stream_stop()
    start()
    scene.blendtorch.recording.folder = str(tmp_path)
    for name in ("stream_start", "record_start", "preview", "workers_launch"):
        with pytest.raises(RuntimeError, match=r"an environment runs, .* Stop it first"):
            getattr(bpy.ops.blendtorch, name)()
    with pytest.raises(RuntimeError, match="An environment runs: stop it first"):
        bpy.ops.blendtorch.randomize_once()
    with pytest.raises(RuntimeError, match="An environment runs already"):
        bpy.ops.blendtorch.environment_start()
    assert engine.state.environment
    assert not engine.state.sampling
    bpy.ops.blendtorch.environment_stop()
    with pytest.raises(RuntimeError, match="No environment runs"):
        bpy.ops.blendtorch.environment_stop()
    bpy.ops.blendtorch.stream_start()


def load_another_file():
    bpy.ops.wm.read_homefile(use_factory_startup=True)


def undo():
    bpy.ops.ed.undo_push(message="moved")
    assert bpy.ops.ed.undo() == {"FINISHED"}
    engine._handlers.unregister()  # as a timer does where one runs: a handler that is called cannot go at once


def remove_the_text():
    bpy.data.texts.remove(bpy.data.texts["environment.py"])
    engine.step()


def remove_the_scene():
    bpy.data.scenes.new("Another")
    bpy.data.scenes.remove(bpy.data.scenes["Scene"])
    engine.step()


def escape():
    assert bpy.ops.blendtorch.stop() == {"FINISHED"}


@pytest.mark.parametrize(
    ("end", "notice"),
    [
        (load_another_file, "another file was loaded"),
        (undo, "undone or redone"),
        (remove_the_text, "its text was removed"),
        (remove_the_scene, "its scene was removed"),
        (escape, "Stopped."),
    ],
)
def test_what_ends_it(end, notice):
    bpy.ops.ed.undo_push(message="before")
    with opened() as client:
        client.reset()
        client.step()
        address = environment.figures().address
        end()
        assert client.farewell().kind == Kind.END
    assert notice in engine.notice
    assert engine.errors.by_name == {}
    assert_nothing_is_left(address)


def test_the_add_on_goes_while_it_runs():
    with opened() as client:
        client.reset()
        address = environment.figures().address
        addon_blendtorch.unregister()
        try:
            assert client.farewell().kind == Kind.END
            assert times_closed() == 1
            assert_nothing_is_left(address)
        finally:
            addon_blendtorch.register()
    assert bpy.context.scene.blendtorch_environment.text.name == "environment.py"  # as it was set up
    start()


def test_the_port_is_kept_and_free_again_at_once():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    set_text(COUNTING, port=port)
    for _ in range(5):
        address = start()
        assert address == f"tcp://127.0.0.1:{port}"
        with Client(address) as client:
            client.open()
            client.reset()
            environment.stop()


def test_a_port_that_is_taken_is_told_before_the_scene_is_changed():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        set_text("from blendtorch.btb.envs.cartpole import CartPole", port=port)
        with pytest.raises(RuntimeError, match=f"Port {port} of 127.0.0.1 is taken"):
            bpy.ops.blendtorch.environment_start()
    assert "Cube" in bpy.data.objects
    assert f"Port {port}" in engine.errors.by_name["environment"]
    start()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may use any port")
def test_a_port_of_the_system_is_refused():
    set_text(COUNTING, port=80)
    with pytest.raises(RuntimeError, match="administrator's rights"):
        bpy.ops.blendtorch.environment_start()


def test_settings_are_in_the_file(tmp_path):
    set_text(COUNTING, port=12345, class_name="Counting", real_time=True)
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert bpy.context.scene.blendtorch_environment.text is None
    assert bpy.context.scene.blendtorch_environment.port == 11100
    bpy.ops.wm.open_mainfile(filepath=file)
    group = bpy.context.scene.blendtorch_environment
    assert (group.text.name, group.port, group.class_name, group.real_time) == (
        "environment.py",
        12345,
        "Counting",
        True,
    )
