"""Finds a Blender that can serve: an executable, or a Python interpreter that has the `bpy` module."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..errors import BlenderNotFoundError
from ..wire import PROTOCOL_VERSION

log = logging.getLogger(__name__)

OLDEST_BLENDER = (4, 2)
PROBE_TIMEOUT_S = 120.0
_MARK = "BLENDTORCH-PROBE "
# Runs inside the candidate and tells what it is; every failure is told in words, none hidden.
_PROBE = f"""
import json, sys
found = {{"python": sys.version.split()[0]}}
try:
    missing = None
    try:
        import blendtorch  # before bpy, which lets an add-on's packages be imported, while `-m blendtorch.btb` cannot
    except ModuleNotFoundError as error:
        missing = error
    import bpy
    found.update(version=list(bpy.app.version), version_string=bpy.app.version_string)
    if missing:
        raise missing
    import blendtorch.wire, numpy, zmq
    found.update(blendtorch=blendtorch.__version__, protocol=blendtorch.wire.PROTOCOL_VERSION)
except Exception as error:
    found.update(error=f"{{type(error).__name__}}: {{error}}")
print("{_MARK}" + json.dumps(found), flush=True)
import os
os._exit(0)  # Blender 4.5's module may hang at the interpreter's own exit
"""
_RUN = "import sys; from blendtorch.btb.run import main; main(sys.argv[sys.argv.index('--') + 1:])"


@dataclass(frozen=True)
class Blender:
    """A Blender that can serve, or the reason why it cannot.

    Attributes:
        path: The executable: `blender`, or a Python interpreter that has `bpy`.
        origin: Where it was found, for people.
        is_python: Whether it is a Python interpreter.
        version: Blender's version, such as (4, 5, 15); empty when it could not be told.
        version_string: The same for people.
        python: Version of its Python.
        blendtorch: Version of the blendtorch inside it; empty when there is none.
        problem: Why it cannot serve; empty when it can.
    """

    path: str
    origin: str
    is_python: bool = False
    version: tuple[int, ...] = ()
    version_string: str = ""
    python: str = ""
    blendtorch: str = ""
    problem: str = ""

    def command(self, scene: str | None, script: str | None, *, background: bool = True) -> list[str]:
        """The command line that runs `script` as an instance; the script's arguments are to be appended.

        Args:
            scene: The .blend to open; None for Blender's default scene.
            script: The script; None for what was set up in the scene.
            background: Whether without a window.
        """
        files = [file for file in (scene, script) if file is not None]
        if self.is_python:
            return [self.path, "-m", "blendtorch.btb", *files, "--"]
        mode = ["--background"] if background else []
        # --python-exit-code acts only on what comes after it.
        return [self.path, *mode, "--python-exit-code", "1", "--python-expr", _RUN, "--", *files, "--"]


def find_blender(blender: str | os.PathLike | None = None, *, windowed: bool = False) -> Blender:
    """Finds a Blender that can serve.

    Tried in this order: `blender`; the environment variable BLENDTORCH_BLENDER; `blender` on the PATH; the `bpy` module
    of this Python. The first two decide alone when given. What cannot serve is passed over, and the reason logged.

    Args:
        blender: Path of a `blender` executable, of a Python interpreter that has `bpy`, or of a folder that holds one.
        windowed: Whether it must be able to open a window, which the `bpy` module cannot.

    Raises:
        BlenderNotFoundError: None can serve; the message lists all that were tried, and why not.
    """
    tried = []
    for candidate in find_all(blender):
        if windowed and candidate.is_python and not candidate.problem:
            problem = "a bpy module cannot open a window; expected a blender executable"
        else:
            problem = candidate.problem
        if not problem:
            return candidate
        log.info("passed over %s (%s): %s", candidate.path, candidate.origin, problem)
        tried.append(f"  {candidate.path} ({candidate.origin}): {problem}")
    raise BlenderNotFoundError(
        "no Blender was found that can serve. Tried:\n"
        + "\n".join(tried)
        + "\nInstall the bpy module (on Python 3.11: pip install 'bpy==4.5.*', on 3.13: 'bpy==5.2.*'), or name a Blender "
        f"{'.'.join(map(str, OLDEST_BLENDER))} or newer that has blendtorch by the argument `blend_path`, on the command "
        "line --blender, or the environment variable BLENDTORCH_BLENDER. `blendtorch doctor` tells more."
    )


def find_all(blender: str | os.PathLike | None = None) -> Iterator[Blender]:
    """Probes the candidates in the order of `find_blender`, those that cannot serve included."""
    if blender is not None:
        yield _look(os.fspath(blender), "given as argument")
        return
    if named := os.environ.get("BLENDTORCH_BLENDER"):
        yield _look(named, "named by BLENDTORCH_BLENDER")
        return
    if on_path := shutil.which("blender"):
        yield _probe(on_path, "on the PATH")
    else:
        yield Blender("blender", "on the PATH", problem="not there")
    yield _probe(sys.executable, "the bpy module of this Python")


def _look(path: str, origin: str) -> Blender:
    """Resolves a name, a path or a folder to an executable, and probes it."""
    names = [path, *(str(Path(path) / name) for name in ("blender", "blender.exe"))]
    found = next((which for name in names if (which := shutil.which(name))), None)
    if found is None:
        return Blender(path, origin, problem="there is no executable of that name")
    return _probe(os.path.abspath(found), origin)


_serving: dict[tuple[str, str], Blender] = {}


def _probe(path: str, origin: str) -> Blender:
    """Looks what `path` is. What serves is remembered; what does not may have been mended at the next look."""
    key = (path, origin)
    if key not in _serving:
        found = _ask(path, origin)
        if found.problem:
            return found
        _serving[key] = found
    return _serving[key]


def _ask(path: str, origin: str) -> Blender:
    is_python, problem = _is_python(path)
    if problem:
        return Blender(path, origin, problem=problem)
    command = [path, "-c", _PROBE] if is_python else [path, "--background", "--python-expr", _PROBE]
    # Blender keeps its temporary files in a folder that it does not remove here.
    with tempfile.TemporaryDirectory(prefix="blendtorch-") as folder:
        output, problem = _run(command, {**os.environ, "TMPDIR": folder})
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        tail = problem or " | ".join(output.strip().splitlines()[-3:]) or "it printed nothing"
        return Blender(path, origin, is_python, problem=f"it did not run the probe: {tail}")
    found = json.loads(line.removeprefix(_MARK))
    return Blender(
        path,
        origin,
        is_python,
        tuple(found.get("version", ())),
        found.get("version_string", ""),
        found["python"],
        found.get("blendtorch", ""),
        _problem(found, is_python),
    )


def _is_python(path: str) -> tuple[bool, str]:
    output, problem = _run([path, "--version"])
    if problem or not output.startswith(("Blender", "Python")):
        return False, problem or f"neither a Blender nor a Python; --version printed {output[:200]!r}"
    return output.startswith("Python"), ""


def _problem(found: dict, is_python: bool) -> str:
    version = tuple(found.get("version", ()))
    if version and version < OLDEST_BLENDER:
        return f"Blender {found['version_string']} is too old, expected {'.'.join(map(str, OLDEST_BLENDER))} or newer"
    if error := found.get("error"):
        if "cannot open shared object file" in error:
            return f"{error}. A system library is missing: `blendtorch doctor` names the packages to install"
        if "bpy" in error:
            return f"{error}. Expected the bpy module: on Python 3.11 pip install 'bpy==4.5.*', on 3.13 'bpy==5.2.*'"
        remedy = "pip install blendtorch" if is_python else "blendtorch addon install --blender PATH ZIP"
        return f"{error}. Expected blendtorch in it (Python {found['python']}): {remedy}"
    if found["protocol"] != PROTOCOL_VERSION:
        return (
            f"its blendtorch {found['blendtorch']} speaks protocol {found['protocol']}, this one ({__version__}) speaks "
            f"{PROTOCOL_VERSION}. Install the same version at both ends"
        )
    return ""


def _run(command: Sequence[str], env: dict[str, str] | None = None) -> tuple[str, str]:
    """Runs a command; returns what it printed, and why it could not be run."""
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return "", f"it did not answer within {PROBE_TIMEOUT_S:.0f} s"
    except OSError as error:
        return "", f"it cannot be run: {error.strerror}"
    return done.stdout, ""
