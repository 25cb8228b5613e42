"""Counts up what it has published, and writes that to a file of its epoch; some mishaps can be ordered.

What it does about samples alone matters to the supervisor, so there is no channel.

Arguments: FOLDER [MISHAP]. In FOLDER come `BTID-EPOCH`, each of which holds the process id and the count. "raises" and
"ends" happen when there is a file `go`; "dies early" and "hangs early" when there is one `go-EPOCH`, for what a process has
said just before it is killed or stopped may not have left it.
"""

import os
import pathlib
import signal
import sys
import time

from blendtorch import btb
from blendtorch.btb.session import current_session

btargs, (folder, *mishap) = btb.parse_blendtorch_args()
mishap = mishap[0] if mishap else ""
session = current_session()
progress = pathlib.Path(folder, f"{btargs.btid}-{btargs.epoch}")
go = pathlib.Path(folder, "go")
hoard = []
print(f"epoch {btargs.epoch} counts", flush=True)


def wait_to_go():
    while not pathlib.Path(folder, f"go-{btargs.epoch}").exists():
        time.sleep(0.01)


def tell():
    progress.with_suffix(".new").write_text(f"{os.getpid()} {session.published}")
    progress.with_suffix(".new").rename(progress)


tell()
try:
    if mishap == "waits":
        time.sleep(1000)
    for i in range(100_000):
        if mishap == "dies early":
            wait_to_go()
        if mishap == "dies early" or (mishap == "dies once" and btargs.epoch == 0 and i == 20):
            os.kill(os.getpid(), signal.SIGKILL)
        if mishap == "grows at once":
            hoard.append(b"x" * 20_000_000)
            time.sleep(0.02)
            continue
        if mishap == "hangs early" and btargs.epoch:
            wait_to_go()
            os.kill(os.getpid(), signal.SIGSTOP)
        session.published += 1
        tell()
        if mishap == "raises" and go.exists():
            raise ValueError("a mistake in the script")
        if mishap == "grows" and btargs.epoch == 0:
            hoard.append(b"x" * 10_000_000)
        if mishap == "ends" and go.exists():
            break
        if mishap == "hogs":  # the global lock, as Blender does while it renders: nobody can beat
            sys.setswitchinterval(1000)
            until = time.process_time() + 4
            while time.process_time() < until:
                pass
            sys.setswitchinterval(0.005)
        # Last: Python 3.13 passes over a `finally` when a signal comes at the end of a loop that ends with an `if`.
        time.sleep(0.02)
finally:
    progress.with_suffix(".end").write_text(str(sys.exc_info()[0]))
