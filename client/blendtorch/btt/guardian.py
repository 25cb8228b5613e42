"""Ends launched processes and removes their files when the process that launched them dies, however it dies.

Started by the launcher as a process of its own, with the standard library alone::

    python guardian.py FOLDER      < "watch PID" lines; "done" when the launcher has cleaned up itself

It sees the launcher's death by its standard input's end, or by getting another parent: after a fork (the workers of a
`DataLoader`) the pipe's other end can outlive the launcher.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading

_CHECK_EVERY_S = 0.2


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
    folder, parent = sys.argv[1], os.getppid()
    # Ctrl-C in the terminal is the launcher's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pids: list[int] = []
    ended = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            word, _, pid = line.strip().partition(" ")
            if word == "done":
                os._exit(0)
            pids.append(int(pid))
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    while not ended.wait(_CHECK_EVERY_S) and os.getppid() == parent:
        pass
    ended.wait(1.0)  # what the launcher wrote last is still to be read
    for pid in pids:
        kill_tree(pid)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
