"""Ends this process when the launcher that started it has died.

The launcher's guardian does that, too; this is for what it cannot see: a launcher that was killed in the moment between
starting this process and telling the guardian, or killed together with it.
"""

import os
import threading
import time

_CHECK_EVERY_S = 0.5


def end_with_launcher(launcher_pid: int) -> None:
    """Watches, on a thread, that the parent of this process does not change, which it does when the parent dies.

    Args:
        launcher_pid: The launcher's process id. The parent may be another process, such as a wrapper script.
    """
    parent = os.getppid()
    if parent == 1 and launcher_pid != 1:
        os._exit(1)  # the launcher died before this process came here
    threading.Thread(target=_watch, args=(parent,), name="blendtorch orphan watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_EVERY_S)
    os._exit(1)
