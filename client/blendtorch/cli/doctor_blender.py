"""What `blendtorch doctor` looks at in each Blender: whether it can serve, its system libraries, its GPU."""

import glob
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .doctor_checks import Line, Status
from .system_packages import (
    OPENED_AT_RUN_TIME,
    RENDERING,
    install_advice,
    missing_libraries,
    missing_symbol_versions,
    unopened_library,
)

if TYPE_CHECKING:
    from ..launch.finder import Blender

TIMEOUT_S = 120.0
LIBRARIES = "system libraries"
_MARK = "BLENDTORCH-GPU "
_PROBE = Path(__file__).parents[1] / "btb" / "gpu_probe.py"
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software", "swiftshader", "lavapipe")
# Both run in the Python that has bpy; neither imports it.
_FIND_BPY = "import importlib.util as u; s = u.find_spec('bpy'); print(s.origin if s and s.origin else '')"
_OPEN = """
import ctypes, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        print(name, error, sep=chr(9))
"""


def check_blenders(blender: str | None) -> Iterator[Line]:
    """Which Blenders there are, and why one cannot serve."""
    candidates = _candidates(blender)
    serving = next((found for found in candidates if not found.problem), None)
    for found in candidates:
        name = f"Blender {found.version_string}".strip()
        who = f"{found.path} ({found.origin})"
        if found.python:
            who += f", Python {found.python}"
        if found.blendtorch:
            who += f", blendtorch {found.blendtorch}"
        if not found.problem:
            chosen = "; this one is used" if found is serving else ""
            yield Line(Status.OK, name, f"{who}{chosen}")
        elif serving is None:
            yield Line(Status.FAILED, name, f"{who}: {found.problem}", _blender_fix(found))
        elif not found.version and _is_absent(found.problem):
            yield Line(Status.OK, name, f"{who}: none here, and none needed")
        else:
            fix = f"Not needed while {serving.path} serves. {_blender_fix(found)}"
            yield Line(Status.WARNING, name, f"{who}: {found.problem}", fix)


def check_libraries(blender: str | None) -> Iterator[Line]:
    """Which shared libraries of the system the Blenders lack."""
    candidates = _candidates(blender)
    serving = next((found for found in candidates if not found.problem), None)
    for found in candidates:
        binary = _binary(found)
        if not binary:
            continue
        if not found.is_python and not shutil.which("ldd"):
            fix = "Install it (Debian/Ubuntu: apt-get install libc-bin; Fedora: dnf install glibc-common)."
            yield Line(Status.WARNING, LIBRARIES, f"{binary}: not looked at, as there is no `ldd`", fix)
            continue
        missing, versions = _missing(found, binary)
        if not missing and not versions:
            yield Line(Status.OK, LIBRARIES, f"all that {binary} needs are there")
            continue
        status = Status.FAILED if serving in (None, found) else Status.WARNING
        if missing:
            yield Line(status, LIBRARIES, f"{binary} lacks {', '.join(missing)}", install_advice(missing))
        if versions:
            fix = "The system is too old for this Blender: use a newer system, or an older Blender (4.2 or newer)."
            yield Line(status, LIBRARIES, f"{binary} needs {', '.join(versions)}, which the system lacks", fix)


def check_gpu(blender: str | None) -> Iterator[Line]:
    """What the Blender that is used draws with, in background."""
    serving = next((found for found in _candidates(blender) if not found.problem), None)
    if serving is None:
        yield Line(Status.WARNING, "GPU", "not looked at, as no Blender can serve", "Follow the lines above first.")
        return
    output, problem = _run_probe(serving)
    answer = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if answer is None:
        tail = " | ".join(output.strip().splitlines()[-3:]) or "it printed nothing"
        seen = f"{serving.path} made no GPU context: it {problem}. The end of what it printed: {tail}"
        yield Line(Status.FAILED, "GPU", seen, _no_context_fix(output))
        return
    yield describe_gpu(json.loads(answer.removeprefix(_MARK)))
    if problem:
        fix = "The GPU works, but this Blender does not end cleanly: update it and its graphics driver."
        yield Line(Status.WARNING, "GPU", f"after it had answered, {serving.path} {problem}", fix)


def describe_gpu(found: dict) -> Line:
    """The line on what `gpu_probe` found."""
    seen = f"{found['renderer']}, {found['vendor']}, {found['backend']} {found['version']}, EGL {found['egl']}"
    if found["pixel"] != [255, 0, 255, 255]:
        fix = f"The driver draws wrongly: update it, or use Mesa's ({RENDERING})."
        return Line(Status.FAILED, "GPU", f"{seen}; a magenta image came back as {found['pixel']}", fix)
    is_software = any(word in f"{found['renderer']} {found['vendor']}".lower() for word in _SOFTWARE)
    if not is_software and found["device_type"] != "SOFTWARE":
        return Line(Status.OK, "GPU", seen)
    return Line(Status.WARNING, "GPU", f"drawn by the CPU: {seen}", _software_fix())


def _candidates(blender: str | None) -> list["Blender"]:
    # Imported late, so that where torch is missing the other checks still run. What was probed is remembered there.
    from ..launch.finder import find_all

    return list(find_all(blender))


def _is_absent(problem: str) -> bool:
    return problem == "not there" or "No module named 'bpy'" in problem


def _blender_fix(found: "Blender") -> str:
    if unopened_library(found.problem):
        return f"A system library is missing: see the line '{LIBRARIES}'."
    fix = (
        "Name a Blender that has blendtorch by --blender PATH or BLENDTORCH_BLENDER, or install the bpy module: "
        "on Python 3.11: pip install 'bpy==4.5.*', on 3.13: 'bpy==5.2.*'"
    )
    if found.version and not found.is_python and not found.blendtorch:
        return f"Install the add-on into it: blendtorch addon install --blender {found.path} ZIP. {fix}"
    return fix


def _binary(found: "Blender") -> str:
    """The file whose libraries are to be looked at; empty when there is none (no bpy module, or a script)."""
    if found.is_python:
        done = _run([found.path, "-c", _FIND_BPY])
        done.check_returncode()
        origin = done.stdout.strip()
        return origin if _is_elf(origin) else ""
    path = shutil.which(found.path) or ""
    return path if _is_elf(path) else ""


def _is_elf(path: str) -> bool:
    if not path or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _missing(found: "Blender", binary: str) -> tuple[list[str], list[str]]:
    """The libraries that `binary` lacks, and the versions of symbols."""
    missing, versions = _missing_by_ldd(binary) if shutil.which("ldd") else _first_missing(found.path, binary)
    if found.is_python:
        # ldd knows neither the interpreter's own search path nor what is opened at run time.
        missing = list(_unopened(found.path, [*missing, *OPENED_AT_RUN_TIME]))
    return list(dict.fromkeys(missing)), versions


def _missing_by_ldd(binary: str) -> tuple[list[str], list[str]]:
    done = _run(["ldd", binary])
    output = done.stdout + done.stderr
    missing, versions = missing_libraries(output), missing_symbol_versions(output)
    is_static = "not a dynamic executable" in output or "statically linked" in output
    if done.returncode and not (missing or versions or is_static):
        raise RuntimeError(f"ldd {binary} failed: {output.strip()}")
    return missing, versions


def _first_missing(python: str, module: str) -> tuple[list[str], list[str]]:
    """Where there is no `ldd`: the loader names only the first library that it cannot open."""
    reason = _unopened(python, [module]).get(module, "")
    library, versions = unopened_library(reason), missing_symbol_versions(reason)
    if reason and not (library or versions):
        raise RuntimeError(reason)
    return [library] if library else [], versions


def _unopened(python: str, libraries: Sequence[str]) -> dict[str, str]:
    """Those of the libraries that a Python cannot open, with the reason."""
    done = _run([python, "-c", _OPEN, *libraries])
    done.check_returncode()
    lines = (line.partition("\t") for line in done.stdout.splitlines())
    return {name: reason for name, _, reason in lines}


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
    )


def _run_probe(blender: "Blender") -> tuple[str, str]:
    """Runs `gpu_probe` in a Blender as an instance runs; returns what it printed, and how it failed, if it did."""
    from ..launch.instance import Instance

    with tempfile.TemporaryDirectory(prefix="blendtorch-") as folder:
        log = Path(folder, "log")
        command = [*blender.command(None, str(_PROBE)), _MARK]
        instance = Instance(0, command, log, {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": folder})
        try:
            code = instance.wait(TIMEOUT_S)
            problem = (
                f"did not end within {TIMEOUT_S:.0f} s" if code is None else instance.describe_end() if code else ""
            )
        finally:
            instance.kill()
        return log.read_text(errors="replace"), problem


def _no_context_fix(output: str) -> str:
    library = unopened_library(output)
    advice = f"{library} is missing. {install_advice([library])}. " if library else ""
    return (
        f"{advice}OpenGL without a display needs EGL and a driver: {RENDERING}. With an NVIDIA card the driver brings "
        "its own EGL; in Docker it needs --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all"
    )


def _software_fix() -> str:
    devices = sorted(glob.glob("/dev/dri/renderD*") + glob.glob("/dev/nvidia[0-9]*"))
    seen = f"visible here: {', '.join(devices)}" if devices else "neither /dev/dri/renderD* nor /dev/nvidia* is here"
    return (
        f"It works, but is slow. To draw with a GPU ({seen}): install its driver (Intel, AMD: "
        "Debian/Ubuntu libgl1-mesa-dri, Fedora mesa-dri-drivers; NVIDIA: Debian nvidia-driver, Fedora akmod-nvidia), "
        "and let this user open the device (group render or video; in Docker --device /dev/dri, or --gpus all "
        "-e NVIDIA_DRIVER_CAPABILITIES=all)."
    )
