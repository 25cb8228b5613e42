"""The headless workers of this file: launched, watched and ended, whatever happens to the window.

`launch` and `stop` return at once; `poll`, which a timer calls, brings on what is due. Where timers do not run (Blender
in background) whoever launches calls `poll`.
"""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from blendtorch.errors import BlendTorchError, MissingFileError, SceneError
from blendtorch.launch import BlenderLauncher
from blendtorch.wire.owned_folder import OwnedFolder

from .engine import engine
from .engine_errors import in_words
from .on_disk import problem_as_saved
from .preferences import cache_folder, log_folder
from .properties import to_setup
from .redraw import redraw
from .scene_copy import save_copy
from .stream_address import folder_in
from .worker_launch import WorkerLaunch, WorkerState

_POLL_EVERY_S = 0.5


@dataclass
class _Run:
    """One launch, from the button to the end of its last worker.

    Attributes:
        workers: The workers.
        folder: Holds the copy of the file and, without a folder for logs in the preferences, the logs.
        connected: Whether the window takes their samples.
        over: Whether their end was noticed.
        error: Why the launch failed, or its samples cannot be taken, in words.
    """

    workers: WorkerLaunch
    folder: OwnedFolder
    connected: bool = False
    over: bool = False
    error: str = ""

    def forget(self) -> None:
        """Ends all workers, waits for it, and removes their files."""
        self.workers.close()
        self.folder.close()


_run: _Run | None = None  # the last one: the panel tells of it after its end, too
_ending: list[_Run] = []  # earlier ones that were asked to end, and have not yet


def launch(scene: bpy.types.Scene, *, as_saved: bool = False) -> None:
    """Launches the workers that the panel is set to, and returns at once.

    Their samples go into this window's stream, which is opened if it is not. Of all indices to come each worker makes its
    share, and the window one, too.

    Args:
        scene: The scene that they make samples of.
        as_saved: Whether they open the file as it was last saved; or else a copy as it is now.

    Raises:
        SceneError: Workers run already, samples of another scene or a recording by other settings are being made, no copy
            of the file can be saved, or nothing, or something else, is set up in it as it was saved.
        MissingFileError: The file was never saved.
        BlendTorchError: The stream cannot be opened, or a folder not be made.
    """
    global _run
    if is_running():
        raise SceneError("workers are running already. Stop them first.")
    with _starting(scene):
        setup = to_setup(scene)
        engine.making.check_scene(scene.session_uid)
        engine.making.check_same(setup)
        saved_file = _saved_file(scene) if as_saved else None
        _drop()
        folder = folder_in(cache_folder())
        try:
            logs = _log_folder() or folder.path / "logs"
            file = saved_file or _copied_file(folder)
            if engine.state.stream:
                engine.making.begin(setup, scene.session_uid)  # by what the workers have, too
            else:
                engine.start_stream(scene)
            num_workers, first = setup.workers.instances, engine.making.first_to_share
            launcher = BlenderLauncher(
                scene=file,
                num_instances=num_workers,
                seed=setup.seed,
                instance_args=[_arguments(scene, number, num_workers, first) for number in range(num_workers)],
                blend_path=bpy.app.binary_path or sys.executable,
                log_dir=logs,
            )
        except BaseException:
            folder.close()
            raise
    engine.making.share_with(num_workers, first)
    _run = _Run(WorkerLaunch(launcher, num_workers, logs), folder)
    _run.workers.start()
    engine.note_started("workers", dict(engine.errors.by_name))
    atexit.register(close)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_POLL_EVERY_S, persistent=True)


@contextmanager
def _starting(scene: bpy.types.Scene) -> Iterator[None]:
    """Within, what fails is kept for the panel, and a stream that was opened for it is closed again."""
    streamed = engine.state.stream
    engine.errors.forget("workers", scene)
    try:
        yield
    except BaseException as error:
        if not streamed:
            engine.stop_stream()
        engine.errors.mark(scene.session_uid, error)
        if in_words(error) != engine.errors.last:  # that of the stream is kept already
            engine.errors.note("workers", error)
        raise


def stop() -> None:
    """Asks all workers to end, and returns at once. Nothing happens when none run."""
    if _run is None or not is_running():
        return
    _run.workers.stop()
    _take_over()


def close() -> None:
    """Ends all workers, waits until they have, and removes their files."""
    stop()
    _drop()
    while _ending:
        _ending.pop().forget()
    atexit.unregister(close)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def is_running() -> bool:
    """Whether there are workers that were not asked to end and have not."""
    return _run is not None and not (_run.workers.stopping or _run.workers.over)


def is_ending() -> bool:
    """Whether there are workers that were asked to end and have not yet."""
    return any(run.workers.stopping and not run.workers.over for run in (*_ending, *([_run] if _run else [])))


def states() -> list[WorkerState]:
    """What each worker of the last launch does; empty when there was none."""
    return [] if _run is None else _run.workers.states()


def error() -> str:
    """What went wrong with the last launch as a whole, in words; "" if nothing did."""
    return "" if _run is None else _run.error


def poll() -> bool:
    """Connects workers that have started to the stream, and notices what has ended.

    Returns:
        Whether there is anything to come.
    """
    for run in [run for run in _ending if run.workers.over]:
        _ending.remove(run)
        run.forget()
    if _run is not None:
        _bring_on(_run)
    return bool(_ending) or (_run is not None and not _run.workers.over)


def _bring_on(run: _Run) -> None:
    workers = run.workers
    if run.over:
        return
    if workers.over:
        run.over = True
        if workers.failure is not None and not run.error:
            run.error = str(workers.failure)
        if workers.stopping:
            run.folder.close()  # of those that ended by themselves the logs are kept
        else:
            _take_over()
    elif workers.stopping:
        return
    elif not engine.state.sampling:
        stop()  # the stream that they were for has ended
    elif workers.ready and not run.connected:
        try:
            engine.add_workers(workers.addresses, workers.curve)
            run.connected = True
        except BlendTorchError as problem:
            run.error = str(problem)
            stop()


def _tick() -> float | None:
    going_on = poll()
    redraw()
    return _POLL_EVERY_S if going_on else None


def _take_over() -> None:
    """The window alone makes the indices to come; none that workers have made is made again."""
    engine.remove_workers(may_lack=any(one.state != "ended" for one in states()))


def _drop() -> None:
    """Tells no more of the last launch; what of it still runs ends."""
    global _run
    if _run is not None:
        _run.workers.stop()
        _ending.append(_run)
    _run = None


def _forget_error() -> None:
    if _run is not None:
        _run.error = ""


@persistent
def _load_pre(*_: Any) -> None:
    stop()
    _drop()


def _arguments(scene: bpy.types.Scene, number: int, num_workers: int, first: int) -> list[str]:
    """Which indices of which scene a worker makes; the window makes those of share 0.

    The scene that a file opens with is the one of its first window, which may be another one.
    """
    share = ["--share", str(number + 1), str(num_workers + 1), "--first", str(first)]
    return ["--scene", scene.name, *share]


def _saved_file(scene: bpy.types.Scene) -> Path:
    if problem := problem_as_saved(scene):
        raise SceneError(problem) if bpy.data.filepath else MissingFileError(problem)
    return Path(bpy.data.filepath)


def _copied_file(folder: OwnedFolder) -> Path:
    file = folder.path / (Path(bpy.data.filepath).name or "unsaved.blend")
    save_copy(file)
    return file


def _log_folder() -> Path | None:
    """Where a launch keeps its logs, a folder of its own in that of the preferences; None if nothing is set there.

    No launch overwrites the logs of another, which may be another Blender's.
    """
    logs = log_folder()
    stem = Path(bpy.data.filepath).stem or "unsaved"
    # Names of files have 255 bytes at most, and a letter up to four.
    return None if logs is None else logs / f"{stem[:50]}-{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}"


def register() -> None:
    """Has workers end with the file that they are of, and when everything is stopped."""
    bpy.app.handlers.load_pre.append(_load_pre)
    engine.on_stop.append(stop)
    engine.on_start.append(_forget_error)


def unregister() -> None:
    """Ends all workers, for certain, before the add-on goes."""
    close()
    if stop in engine.on_stop:
        engine.on_stop.remove(stop)
    if _forget_error in engine.on_start:
        engine.on_start.remove(_forget_error)
    bpy.app.handlers.load_pre.remove(_load_pre)
