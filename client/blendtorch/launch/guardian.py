"""Ends launched processes and removes their files when the process that launched them dies, however it dies.

Started by the launcher as a process of its own, with the standard library alone::

    python guardian.py FOLDER ...  < lines "watch PID", "forget PID"; "done" when the launcher has cleaned up itself

It sees the launcher's death by its standard input's end, or by getting another parent: after a fork (the workers of a
`DataLoader`) the pipe's other end can outlive the launcher.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

log = logging.getLogger(__name__)

_CHECK_EVERY_S = 0.2


class Guardian:
    """The launcher's side: starts the guardian process.

    Where there is no Python to run it, it is done without, and a warning says so: instances end with the launcher by
    themselves, see `btb/orphan.py`, but the folders stay.

    Args:
        folders: What it removes.
    """

    def __init__(self, folders: Sequence[str | os.PathLike]) -> None:
        self._process: subprocess.Popen[str] | None = None
        python = find_python()
        if python is None:
            log.warning("no Python was found to watch this process with: when it is killed, %s stay", list(folders))
            return
        command = [python, "-I", __file__, *map(str, folders)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1, start_new_session=True)

    def watch(self, pid: int) -> None:
        """Makes it end this process, and all of its group, when the launcher dies."""
        self._tell(f"watch {pid}\n")

    def forget(self, pid: int) -> None:
        """Tells it that this process has been ended: its id may be somebody else's soon."""
        self._tell(f"forget {pid}\n")

    def dismiss(self) -> None:
        """Ends the guardian, for the launcher has cleaned up itself."""
        self._tell("done\n")
        if self._process is None:
            return
        assert self._process.stdin
        try:
            self._process.stdin.close()
        except OSError:
            pass
        self._process.wait()

    def _tell(self, line: str) -> None:
        if self._process is None:
            return
        assert self._process.stdin
        try:
            self._process.stdin.write(line)
        except OSError:
            pass  # somebody has killed it; instances still end with the launcher by themselves, see `btb/orphan.py`


def find_python() -> str | None:
    """A Python interpreter; None when none is found.

    Inside the `blender` executable `sys.executable` is the Python that comes with it, but `blender` itself where that
    is missing.
    """
    for path in (sys.executable, getattr(sys, "_base_executable", None)):
        if path and os.path.basename(path).lower().startswith("python"):
            return path
    for name in ("python3", f"python{sys.version_info[0]}.{sys.version_info[1]}", "python", "python.exe"):
        for folder in (os.path.join(sys.prefix, "bin"), sys.prefix):
            if found := shutil.which(name, path=folder):
                return found
    return shutil.which("python3")


def kill_tree(pid: int) -> None:
    """Kills a process that leads a process group, and all of its group. Nothing happens when they are gone."""
    if os.name == "posix":
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # gone already; macOS says "permission" for a group of zombies
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, check=False)


def main() -> None:
    folders, parent = sys.argv[1:], os.getppid()
    # Ctrl-C in the terminal is the launcher's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pids: set[int] = set()
    ended = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            word, _, pid = line.strip().partition(" ")
            if word == "done":
                os._exit(0)
            (pids.discard if word == "forget" else pids.add)(int(pid))
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    while not ended.wait(_CHECK_EVERY_S) and os.getppid() == parent:
        pass
    ended.wait(1.0)  # what the launcher wrote last is still to be read
    for pid in pids:
        kill_tree(pid)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
