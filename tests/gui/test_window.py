"""The same scripts in a window: it stays alive while they play."""

import signal
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from blendtorch import btt

from .conftest import SCRIPTS

EPISODE = ["pre_animation", "pre_frame", "post_frame", "pre_frame", "post_frame", "post_animation"]


def launch(blender, name, *args, **options):
    return btt.BlenderLauncher(
        script=SCRIPTS / f"{name}.py", blend_path=blender, background=False, instance_args=[args], **options
    )


def test_streams_and_ends(blender):
    with launch(blender, "windowed", 1, 2, 3) as launcher:
        dataset = btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=7, timeoutms=120_000)
        *frames, last = dataset
        (pid,) = launcher.launch_info.pids
        assert psutil.pid_exists(pid)  # the window lives on at the end of the playing
    assert [item["frameid"] for item in frames] == [1, 2] * 3
    assert last["calls"] == ["pre_play", *EPISODE * 3, "post_play"]
    assert all(item["returned"] and item["window"] and item["scene"] == "Scene" for item in frames)
    assert frames[0]["image"].shape == (48, 64, 3)
    np.testing.assert_array_equal(frames[0]["image"], frames[2]["image"])
    assert (frames[0]["image"] != frames[1]["image"]).any()
    # Labels in the window are what the picture shows: where it is not the background, the cube is.
    for item in frames:
        assert item["reasons"] == []
        is_cube = (item["image"] != item["image"][0, 0]).any(axis=-1)
        assert is_cube.sum() > 100
        assert (is_cube != (item["ids"] > 0)).mean() < 0.01


def test_window_stays_alive_while_the_trainer_is_slow(blender, screenshot):
    # ipc has the smaller buffers: they are full after some thirty of these samples.
    with launch(blender, "windowed", 1, 1000, -1, proto="ipc") as launcher:
        stream = iter(
            btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], queue_size=1, timeoutms=120_000)
        )
        for _ in range(10):
            next(stream)
        file = screenshot("streaming")
        time.sleep(8)  # all queues are full now, and Blender waits
        items = [next(stream) for _ in range(80)]
        stream.close()
    # Between two of them lies the pause; the window had ticks of 20 ms meanwhile, and would have had none if it stood.
    assert max(np.diff([item["ticks"] for item in items])) > 50
    assert [item["frameid"] for item in items] == list(range(items[0]["frameid"], items[0]["frameid"] + 80))
    # The window was drawn: more than one colour, and not the empty root window.
    assert len(Image.open(file).convert("RGB").resize((128, 96)).getcolors(128 * 96)) > 100


def test_exception_in_a_callback_ends_blender_and_reaches_the_client(blender):
    with launch(blender, "raises_in_window") as launcher:
        items = []
        with pytest.raises(btt.ScriptError, match=r"(?s)ZeroDivisionError.*raises_in_window\.py"):
            for item in btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], timeoutms=60_000):
                items.append(item["frameid"])
        assert items == [1, 2]
        with pytest.raises(btt.ScriptError, match="ZeroDivisionError"):
            launcher.wait(timeout_s=30)


def test_unloadable_scene(blender, tmp_path):
    scene = tmp_path / "broken.blend"
    scene.write_text("this is not a blend file")
    with pytest.raises(btt.ScriptError, match=r"(?s)cannot load .*broken\.blend"):
        btt.BlenderLauncher(
            scene=scene, script=SCRIPTS / "windowed.py", blend_path=blender, background=False
        ).__enter__()


def test_closing_kills_a_stopped_window(blender):
    with launch(blender, "windowed", 1, 2, 1) as launcher:
        (pid,) = launcher.launch_info.pids
        psutil.Process(pid).send_signal(signal.SIGSTOP)
    assert not psutil.pid_exists(pid)
