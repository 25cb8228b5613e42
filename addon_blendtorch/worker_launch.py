"""One launch of headless workers, on a thread of its own, so that Blender's window never waits. No bpy here."""

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from blendtorch.errors import BlendTorchError
from blendtorch.launch import BlenderLauncher, InstanceState
from blendtorch.wire.curve import CurveKeys

_LOOK_EVERY_S = 0.2
# Images a second are told over this long: workers report once a second how many they have made.
_RATE_OVER_S = 5.0
LIVING = ("starting", "running", "restarting")


@dataclass(frozen=True)
class WorkerState:
    """What one worker does.

    Attributes:
        number: Which one, from 0.
        state: "starting", "running", "restarting", "ended" (it has made all its samples), "stopped" (by the user) or
            "died" (and is not started again).
        detail: Why it died, with the tail of its log, or why it was last restarted; empty when there is nothing to tell.
        images: How many samples it has sent, restarts included.
        images_per_s: How many a second, over the last seconds.
        restarts: How often it was started again.
        log_file: Its log, which may not be there yet.
    """

    number: int
    state: str = "starting"
    detail: str = ""
    images: int = 0
    images_per_s: float = 0.0
    restarts: int = 0
    log_file: Path | None = None


class WorkerLaunch:
    """Workers from their launch to the end of the last one.

    Args:
        launcher: What launches them; not entered yet.
        num_workers: How many it launches.
        logs: The folder of their logs.

    Attributes:
        failure: Why the launch has failed as a whole, or None.
    """

    def __init__(self, launcher: BlenderLauncher, num_workers: int, logs: Path) -> None:
        self.failure: Exception | None = None
        self._launcher = launcher
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._counts = [_Count() for _ in range(num_workers)]
        self._states = [WorkerState(number, log_file=logs / f"instance-{number}.log") for number in range(num_workers)]
        self._thread = threading.Thread(target=self._run, name="blendtorch workers", daemon=True)

    def start(self) -> None:
        """Begins to launch them, and returns at once."""
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether all workers have reported: from then on `addresses` tells where their samples are."""
        return self._ready.is_set()

    @property
    def over(self) -> bool:
        """Whether all workers have ended, and nothing of them is left."""
        return self._over.is_set()

    @property
    def stopping(self) -> bool:
        """Whether they were asked to end."""
        return self._stop.is_set()

    @property
    def addresses(self) -> list[str]:
        """Where the samples of each worker are, once it is `ready`."""
        return list(self._launcher.launch_info.addresses["DATA"])

    @property
    def curve(self) -> CurveKeys | None:
        """The keys with which to connect there; None without."""
        return self._launcher.launch_info.curve

    def states(self) -> list[WorkerState]:
        """What each worker does."""
        with self._lock:
            seen = self._launcher.instances if not self.over else []
            if seen:
                self._take(seen)
            return list(self._states)

    def stop(self) -> None:
        """Asks all workers to end, and returns at once; `over` tells when they have."""
        self._stop.set()
        self._launcher.cancel()

    def close(self) -> None:
        """Ends all workers and waits until they have."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._launcher:
                self._ready.set()
                while any(state.state in LIVING for state in self.states()):
                    if self._stop.wait(_LOOK_EVERY_S):
                        break
        except BlendTorchError as error:
            self.failure = None if self.stopping else error
        except Exception as error:
            self.failure = error
        finally:
            self._conclude()
            self._over.set()

    def _take(self, seen: list[InstanceState]) -> None:
        now = time.monotonic()
        states = []
        for one, count, last in zip(seen, self._counts, self._states, strict=True):
            count.take(one.epoch, one.published, now)
            states.append(
                replace(
                    last,
                    state=one.state,
                    detail=one.detail,
                    images=count.total,
                    images_per_s=count.per_s if one.state == "running" else 0.0,
                    restarts=one.epoch,
                )
            )
        self._states = states

    def _conclude(self) -> None:
        """Notes how those ended that had not before."""
        end = "died" if self.failure is not None else "stopped"
        with self._lock:
            self._states = [
                replace(state, state=end, images_per_s=0.0) if state.state in LIVING else state
                for state in self._states
            ]


class _Count:
    """How many samples a worker has sent over all its restarts, and how many a second."""

    def __init__(self) -> None:
        self.total = 0
        self._before = 0  # by the processes that the running one has replaced
        self._epoch = 0
        self._seen: deque[tuple[float, int]] = deque()

    def take(self, epoch: int, published: int, now: float) -> None:
        if epoch != self._epoch:
            self._epoch, self._before = epoch, self.total
        self.total = max(self.total, self._before + published)
        self._seen.append((now, self.total))
        while now - self._seen[0][0] > _RATE_OVER_S:
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0
