"""An environment from a text in the window's panel, for a Gymnasium client in this process: stepped, and in real time."""

import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from blendtorch import btt
from blendtorch.errors import InstanceError

from .addon_window import AddonWindow
from .addon_work import ENGINE, free_port, receive, small, start
from .conftest import only_newest
from .traces import Traces
from .window import Rectangle

FIGURES = "addon('environment').figures()"
TEXT = "from blendtorch.btb.envs.cartpole import CartPole\n"
WINDOW = Rectangle(0, 0, 1060, 700)  # of the display, for the picture of docs/panel.md


def balance(observations: np.ndarray) -> np.ndarray:
    """The motors' speeds that keep poles upright near the middle: after the pole, and further where the cart is off."""
    x, speed, angle, turning = observations.T
    return np.clip(3.0 * angle + 0.6 * turning + 0.2 * x + 0.3 * speed, -1, 1).astype(np.float32)[:, None]


@contextlib.contextmanager
def playing(address: str, **options: object) -> Iterator[list[dict]]:
    """A client that balances on a thread of its own; gives the infos of its steps so far. Its errors are raised here."""
    infos: list[dict] = []
    errors: list[BaseException] = []
    over = threading.Event()

    def play() -> None:
        try:
            with btt.env.BlenderVectorEnv(address=address, num_envs=1, timeout_s=30, **options) as env:
                observations, _ = env.reset(seed=5)
                while not over.is_set():
                    observations, rewards, _, _, info = env.step(balance(observations))
                    assert rewards.shape == (1,)
                    infos.append(info)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield infos
    finally:
        over.set()
        thread.join(60)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def choose_cart_pole(window: AddonWindow) -> str:
    """Writes the text and has the panel set to it, at a free port; gives the address that will be."""
    window.run(f"text = bpy.data.texts.new('cartpole.py')\ntext.write({TEXT!r})")
    port = free_port()
    window.run("bpy.context.scene.blendtorch_environment.text = text")
    window.open_panel("Environment")
    window.fill(r"blendtorch_environment\.port", str(port))
    window.run("with view():\n    bpy.ops.ed.undo_push()")
    return f"tcp://127.0.0.1:{port}"


def wait_for_figures(window: AddonWindow, condition: str, timeout_s: float = 60) -> None:
    window.wait_for(f"(lambda f: f is not None and {condition})({FIGURES})", timeout_s)


def test_cart_pole_from_the_panel(open_window):
    """Start, a client, Stop; undo takes back what the environment has made, and in real time it goes by the clock."""
    with open_window() as window:
        window.open_tab()
        traces = Traces(window)
        address = choose_cart_pole(window)
        window.step("chosen")
        window.press("environment_start")
        window.wait_for(f"{ENGINE}.state.environment", 10)
        assert window.get(f"{FIGURES}.address") == address
        window.focus_view()
        with playing(address) as infos:
            wait_for_figures(window, "f.has_client and f.episodes >= 1 and f.steps_per_s > 0", 120)
            time.sleep(2)  # the panel's figures
            window.step("stepped")
            wait_for_figures(window, "f.running_return < 50")  # as an episode begins, the cart is in the middle
            window.picture("environment", WINDOW)
            print(f"stepped: {window.get(f'{FIGURES}.steps_per_s'):.0f} steps/s")
        assert len(infos) > 50
        wait_for_figures(window, "not f.has_client and f.last_return > 1", 10)
        frame = window.get("bpy.context.scene.frame_current")
        time.sleep(0.5)
        assert window.get("bpy.context.scene.frame_current") == frame  # time stands still
        window.press("environment_stop")
        window.wait_for(f"not {ENGINE}.state.running", 10)
        assert window.get("[name in bpy.data.objects for name in ('Cube', 'Cart')]") == [False, True]
        window.focus_view()
        window.key("ctrl+z")
        window.wait_for("[name in bpy.data.objects for name in ('Cube', 'Cart')] == [True, False]", 10)
        window.step("undone")

        window.run("bpy.context.scene.blendtorch_environment.real_time = True")
        window.press("environment_start")
        window.wait_for(f"{ENGINE}.state.environment", 10)
        with playing(address) as infos:
            wait_for_figures(window, "f.has_client and f.steps_per_s > 0")
            window.step("real-time")
        lags = [info["lag_s"] for info in infos if "lag_s" in info]  # which a step that begins an episode has not
        assert lags
        print(f"real time: lag of {np.mean(lags) * 1e3:.0f} ms")
        time.sleep(1)  # of two clients at a time the second one is never heard
        with playing(address, real_time=False) as infos:
            wait_for_figures(window, "f.has_client and f.steps_per_s > 0")
        assert not any("lag_s" in info for info in infos)
        assert window.get(f"{ENGINE}.errors.by_name") == {}
        window.focus_view()
        window.key("Escape")
        window.wait_for(f"not {ENGINE}.state.running", 10)
        window.step("escaped")
        traces.assert_none()
        assert window.close() == 0


@only_newest
def test_real_time_goes_on_without_steps(open_window):
    with open_window() as window:
        window.open_tab()
        address = choose_cart_pole(window)
        window.run("bpy.context.scene.blendtorch_environment.real_time = True")
        window.press("environment_start")
        with contextlib.closing(btt.env.BlenderVectorEnv(address=address, num_envs=1, timeout_s=30)) as env:
            env.reset(seed=1)
            frame = window.get("bpy.context.scene.frame_current")
            window.wait_for(f"bpy.context.scene.frame_current > {frame} + 10", 10)
            _, rewards, _, _, infos = env.step(np.zeros((1, 1), np.float32))
            assert rewards[0] > 5  # of all that has happened meanwhile
            assert infos["lag_steps"][0] > 5
        assert window.close() == 0


@only_newest
def test_a_client_hears_that_undo_has_ended_it(open_window):
    """And nothing of it is left; a stream that runs, and an environment, refuse each other by the buttons, too."""
    with open_window() as window:
        window.open_tab()
        traces = Traces(window)
        address = choose_cart_pole(window)
        window.press("environment_start")
        with pytest.raises(InstanceError, match="has ended"):
            with playing(address):
                wait_for_figures(window, "f.has_client and f.steps_per_s > 0")
                window.focus_view()
                window.key("ctrl+z")
                window.wait_for(f"not {ENGINE}.state.running", 10)
        assert "undone" in window.get(f"{ENGINE}.notice")
        window.step("undone")
        traces.assert_none()
        small(window)
        receive(start(window), 1)
        window.press("environment_start")
        window.settle()
        assert window.get(f"[{ENGINE}.state.stream, {ENGINE}.state.environment]") == [True, False]
        window.step("refused")
        window.key("Escape")
        assert window.close() == 0


@only_newest
def test_a_script_that_raises(open_window):
    with open_window() as window:
        window.open_tab()
        choose_cart_pole(window)
        window.run("text.write('\\nclass Broken(CartPole):\\n    def __init__(self):\\n        1 / 0\\n')")
        window.press("environment_start")
        window.wait_for(f"{ENGINE}.errors.last", 10)
        window.key("Escape")  # the message at the pointer
        window.step("raised")
        assert "Broken() of the text" in window.get(f"{ENGINE}.errors.last")
        window.press("show_traceback")
        window.settle()
        window.step("traceback")
        assert window.get("any('1 / 0' in text.as_string() for text in bpy.data.texts if 'trace' in text.name)")
        assert window.close() == 0
