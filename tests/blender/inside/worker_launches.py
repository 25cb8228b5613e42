"""Headless workers that the panel launches: real ones, in the folder of a test."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import pytest

import addon_blendtorch
from addon_blendtorch import workers
from addon_blendtorch.engine import engine
from blendtorch.recording import Recording
from tests.leftovers import marked_processes

# Told from those of others on this machine by an environment variable, which they inherit.
MARK = f"BLENDTORCH_TEST=workers-{os.getpid()}"


@pytest.fixture(name="temporary", autouse=True)
def temporary_folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """Where temporary files go, without a trace of BlendTorch's after each test; processes are marked."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv(*MARK.split("="))
    yield folder
    assert worker_processes() == []
    assert list(folder.glob("blendtorch-*")) == []


@pytest.fixture(name="scene", autouse=True)
def small_scene(temporary, tmp_path):
    """The default scene with small pictures, a location that varies, and a folder to record to."""
    addon_blendtorch.register()
    scene = bpy.context.scene
    settings = scene.blendtorch
    settings.seed = 5
    settings.output.width = settings.output.height = 64
    settings.output.samples = 1
    settings.recording.folder = str(tmp_path / "recording")
    bpy.ops.blendtorch.randomizer_add(type="LocationInBox")
    yield scene
    addon_blendtorch.unregister()


@pytest.fixture(name="preferences")
def addon_preferences(scene):
    """The add-on enabled in the preferences."""
    item = bpy.context.preferences.addons.new()
    item.module = addon_blendtorch.__name__
    yield item.preferences
    bpy.context.preferences.addons.remove(item)


def work_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Does what Blender's timers do in a window."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, (workers.states(), workers.error(), engine.errors.last)
        workers.poll()
        engine.step()
        time.sleep(0.02)


def names() -> list[str]:
    return [one.state for one in workers.states()]


def all_run() -> bool:
    return names() == ["running", "running"] and engine.state.workers


def worker_processes() -> list[str]:
    return [one for one in marked_processes(MARK) if "blendtorch.btb" in one or "guardian" in one]


def indices(tmp_path: Path) -> list[int]:
    return [int(sample["btindex"]) for sample in Recording(tmp_path / "recording")]
