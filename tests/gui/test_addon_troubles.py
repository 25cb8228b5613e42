"""What goes wrong while the add-on works in a window: it says so in words, and what can goes on."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blendtorch import btt

from .addon_window import AddonWindow
from .addon_work import ENGINE, WORKERS, receive, receive_of_all, small, start
from .conftest import only_newest
from .traces import Traces


@only_newest
def test_worker_that_is_killed(open_window):
    """It is started again, and the panel can be worked with all the time."""
    with open_window() as window:
        window.open_tab()
        traces = Traces(window)
        small(window, vary=True)
        window.run("s.workers.instances = 1")
        window.open_panel("Workers")
        window.press("workers_launch")
        window.wait_for(f"[one.state for one in {WORKERS}.states()] == ['running']", 90)
        address = window.get(f"{ENGINE}.endpoint.address")
        receive_of_all(address, window.get(f"{ENGINE}.making.next_index"), shares=2)
        window.step("runs")

        killed = worker(window)
        os.kill(killed.pid, signal.SIGKILL)
        window.open_panel("Stream")
        assert address in window.press_and_copy("copy_client_snippet")
        receive(address, 1)
        window.open_panel("Workers")
        window.wait_for(f"[(one.state, one.restarts) for one in {WORKERS}.states()] == [('running', 1)]", 60)
        window.step("restarted")
        assert "was killed by SIGKILL" in window.get(f"{WORKERS}.states()[0].detail")
        assert [window.get(f"{WORKERS}.error()"), window.get(f"{ENGINE}.errors.last")] == ["", ""]
        assert worker(window).pid != killed.pid
        receive_of_all(address, window.get(f"{ENGINE}.making.next_index"), shares=2)

        window.press("workers_stop")
        window.open_panel("Stream")
        window.press("stream_stop")
        traces.assert_none()
        window.step("stopped")
        assert window.close() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@only_newest
def test_full_disk(open_window, small_disk):
    """The recording ends, the stream goes on; once there is room, so does the recording."""
    (small_disk / "ballast").write_bytes(bytes(600_000))
    folder = small_disk / "recording"
    with open_window() as window:
        window.open_tab()
        small(window, vary=True)
        address = start(window)
        receive(address, 1)
        window.run(f"s.recording.folder = {str(folder)!r}\ns.recording.num_samples = 0")
        window.open_panel("Recording")
        window.press("record_start")
        window.wait_for(f"{ENGINE}.errors.last", 60)
        window.step("full")
        said = window.get(f"{ENGINE}.errors.last")
        for part in (str(folder), "No space left on device", "samples are kept", "Make room"):
            assert part in said
        assert window.get(f"[{ENGINE}.state.recording, {ENGINE}.state.stream]") == [False, True]
        receive(address, 2)
        kept = len(btt.Recording(folder))
        assert kept == window.get(f"{ENGINE}.stats.recorded") > 3

        (small_disk / "ballast").unlink()
        window.run(f"s.recording.num_samples = {kept + 4}")
        window.press("record_start")
        window.wait_for(f"'has all' in {ENGINE}.notice", 60)
        window.step("gone-on-with")
        assert window.get(f"{ENGINE}.errors.last") == ""
        assert len(btt.Recording(folder)) == kept + 4
        receive(address, 1)
        assert window.close() == 0


def worker(window: AddonWindow) -> psutil.Process:
    """The headless Blender that a window has launched."""
    children = psutil.Process(window.process.pid).children(recursive=True)
    (found,) = (child for child in children if child.name() == "blender")
    return found
