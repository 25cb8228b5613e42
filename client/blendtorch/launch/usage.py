"""What a process uses: CPU time and memory, by psutil, or without it from Linux's /proc; elsewhere it is not known."""

import os
from pathlib import Path
from typing import NamedTuple, Protocol

try:
    import psutil
except ImportError:  # Blender's own Python has none
    psutil = None

_PROC = Path("/proc")


class Usage(NamedTuple):
    """What a process has used.

    Attributes:
        cpu_s: CPU time so far, of all its threads, user and system, in seconds.
        memory_mb: Resident memory in MB (10^6 bytes).
    """

    cpu_s: float
    memory_mb: float


class Meter(Protocol):
    """Measures one process."""

    def read(self) -> Usage | None:
        """What it has used; None when it has ended."""


def can_measure() -> bool:
    """Whether what a process uses is known here."""
    return psutil is not None or _has_proc()


def meter_of(pid: int, launched_pid: int) -> Meter | None:
    """Measures a process, if it is the launched one or a descendant of it: in a container of its own it counts otherwise.

    Args:
        pid: What it says its process id is.
        launched_pid: The process that was launched: the same, or a wrapper that has started it.

    Returns:
        Its meter, else the one of what was launched; None when that has ended, or nothing can be measured here.
    """
    if psutil is not None:
        return _psutil_meter(pid, launched_pid)
    if not _has_proc():
        return None
    try:
        return _ProcMeter(pid if _is_descendant(pid, launched_pid) else launched_pid)
    except (OSError, ValueError, IndexError):
        return None


class _PsutilMeter:
    def __init__(self, process: "psutil.Process") -> None:
        self._process = process

    def read(self) -> Usage | None:
        try:
            with self._process.oneshot():
                times = self._process.cpu_times()
                return Usage(times.user + times.system, self._process.memory_info().rss / 1e6)
        except psutil.Error:
            return None


def _psutil_meter(pid: int, launched_pid: int) -> Meter | None:
    try:
        process = psutil.Process(pid)
        if pid == launched_pid or launched_pid in [parent.pid for parent in process.parents()]:
            return _PsutilMeter(process)
        return _PsutilMeter(psutil.Process(launched_pid))
    except psutil.Error:
        return None


class _ProcMeter:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._started = _stat(pid)[19]  # its id may be somebody else's later
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> Usage | None:
        try:
            stat = _stat(self._pid)
            if stat[19] != self._started:
                return None
            ticks = int(stat[11]) + int(stat[12])
            return Usage(ticks / self._ticks_per_s, int(stat[21]) * self._page_bytes / 1e6)
        except (OSError, ValueError, IndexError):
            return None


def _has_proc() -> bool:
    return (_PROC / "self" / "stat").is_file()


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc_pid_stat(5)); the second, a name, may hold anything."""
    return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _is_descendant(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(_stat(pid)[1])
    return False
