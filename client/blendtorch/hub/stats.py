"""What a hub tells of itself."""

import time
from collections import deque
from dataclasses import dataclass

_WINDOW_S = 2.0


@dataclass(frozen=True)
class HubStats:
    """A hub at one moment.

    Attributes:
        address: What clients connect to; None while there is no stream.
        clients: How many clients are there.
        sent: How many samples went to clients since the stream was opened.
        recording: Whether a recording runs.
        num_samples: How many samples the recording is to have; None for as many as come until it is stopped. This and the
            next two are of the last recording when none runs.
        recorded: How many it has, with those that its folder held before.
        recorded_bytes: How many bytes its folder's shards take, with those that were there before.
        seconds_left: How long it will take yet; None while that is not known.
        workers: How many workers' streams are connected, or looked for.
        window_per_s: Images a second that the window has made, over the last 2 seconds.
        workers_per_s: Images a second that came from workers, over the last 2 seconds.
        waiting: How many samples wait for clients or the disk, in shared memory or here, or are on their way.
        next_index: The greatest index of a sample that was sent or recorded, or taken of a worker, plus 1.
        stream_error: What is wrong with the stream, in words; None when all is well.
        recording_error: Likewise with the recording.
        workers_error: Likewise with workers: the last thing that was.
    """

    address: str | None = None
    clients: int = 0
    sent: int = 0
    recording: bool = False
    num_samples: int | None = None
    recorded: int = 0
    recorded_bytes: int = 0
    seconds_left: float | None = None
    workers: int = 0
    window_per_s: float = 0.0
    workers_per_s: float = 0.0
    waiting: int = 0
    next_index: int = 0
    stream_error: str | None = None
    recording_error: str | None = None
    workers_error: str | None = None

    @property
    def images_per_s(self) -> float:
        """Images a second of the window and the workers together."""
        return self.window_per_s + self.workers_per_s


class Rate:
    """How often something has happened lately. One thread counts, any may ask."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=10_000)

    def count(self) -> None:
        """It has happened."""
        self._times.append(time.monotonic())

    def per_s(self) -> float:
        """How often a second, over the last 2 seconds, or since it has begun."""
        now = time.monotonic()
        times = tuple(self._times)
        recent = sum(time > now - _WINDOW_S for time in times)
        since = now - times[0] if times else 0.0
        return recent / min(max(since, 0.5), _WINDOW_S)
