"""What a user has the add-on do, without the panel; and clients that receive it."""

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

from blendtorch import btt

from .addon_window import AddonWindow

SIZE = 64
ENGINE = "addon('engine').engine"
WORKERS = "addon('workers')"


def small(window: AddonWindow, vary: bool = False) -> None:
    """Small pictures, which software draws in milliseconds; and one that varies."""
    window.run(f"s = bpy.context.scene.blendtorch\ns.output.width = s.output.height = {SIZE}")
    if vary:
        window.run("with view():\n    bpy.ops.blendtorch.randomizer_add(type='Rotation')")
    window.run("with view():\n    bpy.ops.ed.undo_push()")


def start(window: AddonWindow) -> str:
    """Starts the stream, and gives its address."""
    window.run("with view():\n    bpy.ops.blendtorch.stream_start()")
    return window.get(f"{ENGINE}.endpoint.address")


def start_all(window: AddonWindow, folder: Path) -> str:
    """Has it stream, record and launch workers, and gives the address."""
    window.run(
        f"s.recording.folder = {str(folder)!r}\ns.recording.num_samples = 0\ns.workers.instances = 1\n"
        "with view():\n    bpy.ops.blendtorch.stream_start()\n    bpy.ops.blendtorch.record_start()\n"
        "    bpy.ops.blendtorch.workers_launch()"
    )
    return window.get(f"{ENGINE}.endpoint.address")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_client(code: str) -> str:
    """Runs what the panel copies to the clipboard for two batches, in a Python of its own; gives what it prints."""
    code = code.replace("batch_size=8", "batch_size=8, num_batches=2")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def receive(address: str, batches: int) -> list[dict]:
    """Some batches of a stream, in this process."""
    with contextlib.closing(iter(btt.StreamLoader(address, batch_size=4, timeoutms=60_000))) as loader:
        return [next(loader) for _ in range(batches)]


def receive_of_all(address: str, first: int, shares: int) -> None:
    """Receives until samples of all have come: of indices from `first` on the window and each worker make every n-th."""
    seen = set()
    deadline = time.monotonic() + 60
    with contextlib.closing(iter(btt.StreamLoader(address, batch_size=4, timeoutms=60_000))) as loader:
        while len(seen) < shares:
            seen |= {index % shares for index in next(loader)["btindex"].tolist() if index >= first}
            assert time.monotonic() < deadline, f"of {shares} shares only {seen} have come"
