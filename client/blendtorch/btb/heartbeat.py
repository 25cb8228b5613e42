"""Tells the launcher, from a thread, that this process lives and how far it is."""

import threading
import time
from collections.abc import Callable

from ..errors import BlendTorchError
from ..wire import Kind, LaunchArguments, Message
from ..wire.sockets import MessageSocket

_BEAT_EVERY_S = 1.0
# How soon it is noticed that a first sample is out. A restarted instance that dies soon after its first sample has got
# somewhere; one that dies before has not, and is not restarted for ever.
_LOOK_EVERY_S = 0.1


class Heartbeat:
    """Sends `Kind.BEAT` every second, over a socket of the thread's own: ZeroMQ's sockets belong to one thread.

    The thread does not beat while something holds Python's global lock, as Blender does while it renders.

    Args:
        args: Who this instance is; `args.control` is where beats go.
        published: Says how many samples it has published.
    """

    def __init__(self, args: LaunchArguments, published: Callable[[], int]) -> None:
        self._args = args
        self._published = published
        self._silent_s = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blendtorch heartbeat", daemon=True)
        self._thread.start()

    def end(self, silent_s: float) -> None:
        """Sends a last beat, which tells that none follows for `silent_s` seconds, for the process is about to end."""
        self._silent_s = silent_s
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        assert self._args.control
        # A launcher that does not read fills the queue; then beats are dropped.
        socket = MessageSocket("push", self._args.control, bind=False, queue_size=10)
        told, told_at = 0, float("-inf")
        ending = False
        while not ending:
            ending = self._ending.is_set()
            published, now = self._published(), time.monotonic()
            if ending or (published and not told) or now - told_at >= _BEAT_EVERY_S:
                told, told_at = published, now
                body = {"published": published, "silent_s": self._silent_s}
                try:
                    socket.send(Message(Kind.BEAT, body, self._args.btid, self._args.epoch), timeout_s=0)
                except BlendTorchError:
                    pass  # the launcher takes no more for now; it will hear the next one
            self._ending.wait(_LOOK_EVERY_S)
        socket.close(_BEAT_EVERY_S)
