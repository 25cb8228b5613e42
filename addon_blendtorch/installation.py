"""What "Check Installation" looks at, each check a line in words. Nothing of it contacts the internet."""

import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import bpy
import gpu
import numpy as np

import blendtorch
from blendtorch.btb.gpu_context import ensure_gpu_context
from blendtorch.cli import doctor_checks
from blendtorch.cli.doctor_checks import Line, Status, guarded
from blendtorch.wire import sockets

_WORST_FIRST = (Status.FAILED, Status.WARNING, Status.OK)


def check_installation(folders: dict[str, str]) -> list[Line]:
    """Looks at all that the add-on needs. What is wrong comes first.

    Args:
        folders: Paths by what they are for; "" is the system's folder for temporary files.
    """
    checks: list[tuple[str, Callable[[], Iterable[Line]]]] = [
        ("BlendTorch", check_versions),
        ("memory", doctor_checks.check_machine),
        ("shared memory", doctor_checks.check_shared_memory),
        ("tcp sockets", doctor_checks.check_tcp),
        ("ipc sockets", doctor_checks.check_ipc),
        ("GPU", check_gpu),
        *((name, lambda name=name, path=path: check_folder(name, path)) for name, path in folders.items()),
    ]
    lines = [line for name, check in checks for line in guarded(name, check)]
    return sorted(lines, key=lambda line: _WORST_FIRST.index(line.status))


def check_versions() -> Iterator[Line]:
    """What runs here, and where from."""
    yield Line(
        Status.OK, "Blender", f"{bpy.app.version_string}, Python {platform.python_version()}, {platform.platform()}"
    )
    yield Line(Status.OK, "BlendTorch", f"{blendtorch.__version__} in {_folder_of(blendtorch)}")
    zmq = sockets.zmq
    seen = f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()} in {_folder_of(zmq)}"
    yield Line(Status.OK, "ZeroMQ", seen)
    yield Line(Status.OK, "numpy", np.__version__)


def check_gpu() -> Iterator[Line]:
    """Whether something can be drawn off screen, and with what."""
    fix = "Update the graphics driver. On a machine without a display, `blendtorch doctor` names the missing packages."
    try:
        ensure_gpu_context()
        target = gpu.types.GPUOffScreen(8, 8)
        with target.bind():
            frame = gpu.state.active_framebuffer_get()
            frame.clear(color=(1.0, 0.0, 1.0, 1.0))
            pixel = list(frame.read_color(0, 0, 1, 1, 4, 0, "UBYTE").to_list()[0][0])
        target.free()
    except (RuntimeError, SystemError) as error:
        yield Line(Status.FAILED, "GPU", f"nothing can be drawn: {error}", fix)
        return
    seen = f"{gpu.platform.renderer_get()}, {gpu.platform.backend_type_get()} {gpu.platform.version_get()}"
    if pixel != [255, 0, 255, 255]:
        yield Line(Status.FAILED, "GPU", f"{seen} draws {pixel}, expected [255, 0, 255, 255]", fix)
    elif gpu.platform.device_type_get() == "SOFTWARE":
        yield Line(
            Status.WARNING, "GPU", f"drawn by the processor: {seen}", "It works, but slowly: use a graphics card."
        )
    else:
        yield Line(Status.OK, "GPU", seen)


def check_folder(name: str, path: str) -> Iterator[Line]:
    """Whether a folder can be written to; it is made when it is not there yet."""
    folder = Path(bpy.path.abspath(path) if path else tempfile.gettempdir())
    fix = f"Choose another {name} in the preferences of BlendTorch, or make this one writable."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="blendtorch-check-"):
            pass
    except OSError as error:
        yield Line(Status.FAILED, name, f"{folder} cannot be written to: {error.strerror or error}", fix)
    else:
        yield Line(Status.OK, name, f"{folder} can be written to")


def _folder_of(module: object) -> str:
    return os.path.dirname(getattr(module, "__file__", None) or "?")
