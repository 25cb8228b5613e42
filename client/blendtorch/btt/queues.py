"""Handing things from a background thread to the trainer."""

import queue
import threading
from typing import Any

# How soon whoever waits at a queue sees that it was told to stop.
TURN_S = 0.1


def put(to: queue.Queue[Any], what: Any, stop: threading.Event) -> bool:
    """Waits until there is room; false when it was told to stop before."""
    while not stop.is_set():
        try:
            to.put(what, timeout=TURN_S)
        except queue.Full:
            continue
        return True
    return False
