"""The add-on's engine, turn by turn: in background no timer runs, so tests call `engine.step()`."""

import threading
import time
from dataclasses import replace

import bpy
import numpy as np
import pytest

import addon_blendtorch
from addon_blendtorch.engine import engine
from addon_blendtorch.properties import from_setup
from blendtorch.btb import randomize
from blendtorch.btb import setup as btb_setup
from blendtorch.wire.sample_receiver import SampleReceiver

EVENTS = ("undo_pre", "redo_pre", "save_pre")
BOX = randomize.LocationInBox(randomize.Target("OBJECT", "Cube"), (-1.0, -1.0, -0.5), (1.0, 1.0, 0.5))
SETUP = btb_setup.SceneSetup(
    seed=7, output=btb_setup.OutputSettings(width=80, height=64, samples=1), randomizers=(BOX,)
)


@pytest.fixture(autouse=True)
def registered(_default_scene):
    addon_blendtorch.register()
    yield
    addon_blendtorch.unregister()
    left = leftovers() + [thread.name for thread in threading.enumerate() if "blendtorch" in thread.name]
    assert left == [], left


@pytest.fixture(name="scene")
def small_scene():
    """The default scene, set up: small Solid pictures, and a cube that is somewhere else in each."""
    scene = bpy.context.scene
    from_setup(scene, SETUP)
    return scene


def set_up(scene, **changes):
    from_setup(scene, replace(SETUP, **changes))


def leftovers():
    """What is there only while something runs."""
    # The thread that looks at keys ends when the add-on goes.
    names = [thread.name for thread in threading.enumerate()]
    found = [name for name in names if "blendtorch" in name and name != "blendtorch gate"]
    found += [event for event in EVENTS for handler in getattr(bpy.app.handlers, event) if is_engines(handler)]
    if bpy.app.timers.is_registered(engine._clock._timer):
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
        assert time.monotonic() < end, f"waited in vain: {engine.errors.by_name} {engine.stats}"
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


def drain(receiver):
    group = receiver.take(1)
    if group is not None:
        group.release()
    return False


def expected(scene, index, setup=SETUP):
    maker = btb_setup.SampleMaker(setup, scene)
    samples = list(maker.samples(index))
    maker.close()
    return samples


def hook(scene, code, **options):
    text = bpy.data.texts.new("hook.py")
    text.write(code)
    set_up(scene, randomizers=(BOX, randomize.Hook(text=text.name, **options)))
