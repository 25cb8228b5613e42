"""What one Blender process shows of itself: heartbeats, CPU time and memory."""

from .usage import can_measure, meter_of

_MEASURE_EVERY_S = 1.0
# The watch looks many times a second. After a longer gap it was the watch that stood still, with the whole launcher.
_GAP_S = 1.0


class Vitals:
    """Signs of life and the memory of a process. All times are `time.monotonic()`.

    Args:
        pid: The process.
        launched_pid: The process that was launched: the same, or a wrapper that has started it.
        now: The time.

    Attributes:
        published: How many samples it has published, as far as it has told.
        memory_mb: Its resident memory in MB (10^6 bytes) when last measured; 0 when that cannot be measured.
        beaten_at: When its last heartbeat came.
    """

    def __init__(self, pid: int, launched_pid: int, now: float) -> None:
        self.published = 0
        self.memory_mb = 0.0
        self.beaten_at = now
        self._alive_at = now
        self._looked_at = now
        self._measured_at = float("-inf")
        self._cpu_s = 0.0
        self._meter = meter_of(pid, launched_pid)

    def beat(self, published: int, silent_s: float, now: float) -> None:
        """Takes a heartbeat, which may announce that none will follow for some seconds."""
        self.published = published
        self.beaten_at = now
        self._alive_at = max(self._alive_at, now + silent_s)

    def look(self, now: float) -> None:
        """Measures, once a second at most. To be called again and again."""
        if now - self._looked_at > _GAP_S:
            self._alive_at = max(self._alive_at, now)
        self._looked_at = now
        if now - self._measured_at >= _MEASURE_EVERY_S:
            self._measure(now)

    def is_hung(self, timeout_s: float, now: float) -> bool:
        """Whether it has neither beaten nor used any CPU time for so long.

        Silence alone is no hang: while Blender renders, no Python thread runs. So none is found where CPU time is not
        known.
        """
        if not can_measure():
            return False
        if now - self._alive_at > timeout_s:
            self._measure(now)
        return now - self._alive_at > timeout_s

    @property
    def is_ending(self) -> bool:
        """Whether it has announced its end."""
        return self._alive_at > self._looked_at

    def _measure(self, now: float) -> None:
        self._measured_at = now
        usage = self._meter.read() if self._meter else None
        if usage is None:
            return  # it has ended, which others notice
        self.memory_mb = usage.memory_mb
        if usage.cpu_s > self._cpu_s:
            self._cpu_s = usage.cpu_s
            self._alive_at = max(self._alive_at, now)
