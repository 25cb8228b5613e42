"""Runs a user's script, or what was set up in a scene, as a BlendTorch instance.

The same on the `bpy` module and inside the `blender` executable.

The launcher starts one of (see `launch/finder.py`)::

    python -m blendtorch.btb [SCENE.blend] [SCRIPT.py] -- ARGS
    blender --background --python-expr EXPRESSION -- [SCENE.blend] [SCRIPT.py] -- ARGS

where EXPRESSION calls `main` with what follows the first `--`. A scene alone runs what was set up in it (`btb.setup`).
"""

import io
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import bpy

from ..errors import ConfigError, MissingFileError, SceneError
from ..wire import LaunchArguments
from . import compat
from .origin import OpenedScene
from .orphan import end_with_launcher
from .session import Session, end_process, handle_signals, open_session

USAGE = "python -m blendtorch.btb [SCENE.blend] [SCRIPT.py] -- ARGS"


def main(argv: Sequence[str]) -> None:
    """Opens the scene, runs the script, and ends Blender; in a window Blender lives on.

    Exit status: 0 at the end of the script, the script's own `sys.exit` status, 1 after an exception (its traceback is
    printed, and sent to the launcher and the clients), 130 after Ctrl-C, 143 after SIGTERM.

    Args:
        argv: `[SCENE.blend] [SCRIPT.py] -- ARGS`.
    """
    # The log of an instance that is killed shall hold what the script printed.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    handle_signals()
    scene, script, script_argv = _split(argv)
    try:
        args, _ = LaunchArguments.parse(script_argv)
        session = open_session(args, supervised=True)
    except ConfigError as error:
        _refuse(str(error))
    if args.parent is not None:
        end_with_launcher(args.parent)
    code = _run(session, scene, script, script_argv)
    if code or compat.is_background():
        session.exit(code)


def _run(session: Session, scene: str | None, script: str | None, script_argv: Sequence[str]) -> int:
    try:
        if scene is not None:
            open_scene(scene)
            session.scene = OpenedScene.now()
        if script is None:
            run_setup(scene or "", script_argv)
        else:
            run_script(script, script_argv)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except KeyboardInterrupt as error:
        session.fail(error)
        return 130
    except BaseException as error:
        session.fail(error)
        return 1
    return 0


def open_scene(path: str) -> None:
    """Loads a .blend file.

    Raises:
        MissingFileError: There is no such file.
        SceneError: Blender cannot load it.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise MissingFileError(f"there is no scene {path} (looked for {file}). Check the path.")
    try:
        bpy.ops.wm.open_mainfile(filepath=str(file))
    except RuntimeError as error:
        raise SceneError(
            f"Blender {compat.blender_version()} cannot load {file}: {str(error).strip()} Expected a .blend file that is "
            "whole and was not saved by a newer Blender."
        ) from None


def run_script(path: str, argv: Sequence[str]) -> None:
    """Runs a script as `__main__`, with `sys.argv` set to the path, "--" and its arguments.

    Raises:
        MissingFileError: There is no such file.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise MissingFileError(f"there is no script {path} (looked for {file}). Check the path.")
    module = types.ModuleType("__main__")
    module.__file__ = str(file)
    # Kept in sys.modules: in a window, callbacks of the script live longer than this call.
    sys.modules["__main__"] = module
    sys.argv = [str(file), "--", *argv]
    # A script may import what lies beside it, as with `python SCRIPT.py`.
    sys.path.insert(0, str(file.parent))
    exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)


def run_setup(scene: str, argv: Sequence[str]) -> None:
    """Runs what was set up in the open scene, as if it were a script with these arguments.

    Raises:
        SceneError: Nothing was set up in it.
    """
    from .setup import serve

    sys.modules["__main__"] = types.ModuleType("__main__")  # no script's, which recordings would name
    sys.argv = [scene, "--", *argv]
    serve.run()


def _split(argv: Sequence[str]) -> tuple[str | None, str | None, list[str]]:
    end = list(argv).index("--") if "--" in argv else len(argv)
    own, script_argv = list(argv[:end]), list(argv[end + 1 :])
    scene = own.pop(0) if len(own) > 1 or (own and Path(own[0]).suffix.lower() == ".blend") else None
    if len(own) > 1 or (scene is None and not own) or any(name.startswith("-") for name in own):
        _refuse(f"usage: {USAGE}")
    return scene, own[0] if own else None, script_argv


def _refuse(why: str) -> NoReturn:
    print(why, file=sys.stderr, flush=True)
    end_process(2)
