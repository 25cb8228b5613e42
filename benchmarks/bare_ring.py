"""Frames through shared memory by processes that do nothing else: what the machine allows, for stream.py.

No fields, no numbers, no restarts, one reader: a producer copies frames into the slots of a ring as fast as they get free,
and the reader takes eight slots at a time for a batch, as they are.

    bare_ring.py FILE SLOTS    a producer, started by `BareRing`
"""

import mmap
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np
from stream_samples import FRAME, samples

BATCH_SIZE = 8
HEAD, TAIL = 0, 1
HEADER_BYTES = 4096
# One core may be another process's. As long as nobody measures, producers shall use no CPU.
PAUSE_S = 50e-6
LONG_PAUSE_S = 1e-3


class BareRing:
    """The rings of some producers, and a reader who takes batches from them in turn.

    Args:
        paths: Files in shared memory, one a producer.
        slots: How many frames each has room for.
    """

    def __init__(self, paths: list[Path], slots: int) -> None:
        self._rings = cycle([_open(path, slots) for path in paths])

    def take_batch(self) -> None:
        """Takes eight frames of the producer whose turn it is."""
        words, _ = next(self._rings)
        tail = words[TAIL]
        _wait_until(lambda: words[HEAD] >= tail + BATCH_SIZE)
        words[TAIL] = tail + BATCH_SIZE


@contextmanager
def bare_ring(producers: int, slots: int) -> Iterator[BareRing]:
    """Starts the producers, and ends them."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        paths = [Path(folder) / str(i) for i in range(producers)]
        for path in paths:
            path.write_bytes(bytes(HEADER_BYTES + slots * int(np.prod(FRAME))))
        with ExitStack() as ends:
            for path in paths:
                # It ends with its standard input, which ends with this process.
                process = subprocess.Popen([sys.executable, __file__, str(path), str(slots)], stdin=subprocess.PIPE)
                ends.callback(process.wait)
                ends.callback(process.kill)
            yield BareRing(paths, slots)


def produce(path: Path, slots: int) -> None:
    """Writes frames as fast as there is room, until standard input ends."""
    threading.Thread(target=lambda: os._exit(len(sys.stdin.read())), daemon=True).start()
    words, frames = _open(path, slots)
    for sample in cycle(samples("frame")):
        _wait_until(lambda: words[HEAD] - words[TAIL] < slots)
        np.copyto(frames[words[HEAD] % slots], sample["image"])
        words[HEAD] += 1


def _open(path: Path, slots: int) -> tuple[memoryview, np.ndarray]:
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    words = memoryview(memory)[:HEADER_BYTES].cast("Q")
    return words, np.frombuffer(memory, np.uint8, offset=HEADER_BYTES).reshape(slots, *FRAME)


def _wait_until(done: Callable[[], bool]) -> None:
    started = time.perf_counter()
    while not done():
        time.sleep(PAUSE_S if time.perf_counter() - started < LONG_PAUSE_S else LONG_PAUSE_S)


if __name__ == "__main__":
    produce(Path(sys.argv[1]), int(sys.argv[2]))
