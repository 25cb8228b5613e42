"""What `blendtorch doctor` looks at outside Blender: Python and its packages, memory, shared memory, sockets."""

import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..errors import BlendTorchError
from ..wire import Kind, Message, sockets

OLDEST_PYTHON = (3, 11)
MIB = 2**20
# What Docker gives a container is exactly this much.
SMALL_SHM_BYTES = 64 * MIB
# One Blender takes 0.3 to 1.2 GB, more with a large scene.
SMALL_MEMORY_BYTES = 2048 * MIB
SOCKET_TIMEOUT_S = 5.0
_CGROUP = Path("/sys/fs/cgroup")


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Line:
    """One line of the report.

    Attributes:
        status: How the check came out.
        name: What was looked at.
        seen: What was seen.
        fix: What to do; never empty unless the status is ok.
    """

    status: Status
    name: str
    seen: str
    fix: str = ""

    def __post_init__(self) -> None:
        assert self.fix or self.status is Status.OK, f"{self.name}: a {self.status} line says what to do"


def guarded(name: str, check: Callable[[], Iterable[Line]]) -> Iterator[Line]:
    """The lines of a check; its crash is one of them, with the name that is given."""
    try:
        yield from check()
    except Exception as error:
        seen = f"the check could not be made: {type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            yield Line(Status.FAILED, name, seen, f"pip install {error.name}")
        else:
            fix = "If the message does not tell what to change, please report it with this output."
            yield Line(Status.FAILED, name, seen, fix)


def check_python() -> Iterator[Line]:
    """The version of this Python."""
    seen = f"{platform.python_version()} ({sys.executable}) on {platform.platform()}"
    if sys.version_info >= OLDEST_PYTHON:
        yield Line(Status.OK, "Python", seen)
    else:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        yield Line(Status.FAILED, "Python", seen, f"Use Python {oldest} or newer.")


def check_torch() -> Iterator[Line]:
    """PyTorch, and whether it sees a GPU; both may be missing on a machine that only renders."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        fix = "Needed where samples are received (blendtorch.btt), not inside Blender: pip install torch"
        yield Line(Status.WARNING, "torch", "not installed", fix)
        return
    if torch.cuda.is_available():
        cuda = f"CUDA {torch.version.cuda} available: {torch.cuda.get_device_name()}"
    else:
        cuda = "CUDA not available, so training runs on the CPU"
    yield Line(Status.OK, "torch", f"{torch.__version__}, {cuda}")


def check_zmq() -> Iterator[Line]:
    """The versions of pyzmq and libzmq."""
    zmq = sockets.zmq  # no other module imports it
    yield Line(Status.OK, "ZeroMQ", f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}")


def check_machine() -> Iterator[Line]:
    """CPU cores and free memory."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    yield Line(Status.OK, "CPU", f"{cores} cores for this process")
    free = free_memory()
    if free is None:
        yield Line(Status.OK, "memory", f"not told on {platform.system()}")
        return
    seen = f"{_gib(free)} free"
    if free >= SMALL_MEMORY_BYTES:
        yield Line(Status.OK, "memory", seen)
    else:
        fix = "One Blender takes 0.3 to 1.2 GiB: start few instances, end other programs, or give the container more."
        yield Line(Status.WARNING, "memory", seen, fix)


def free_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> int | None:
    """Free memory in bytes, within the limit of a container (cgroup 2) if there is one; None where it is not told."""
    if not meminfo.exists():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    free = int(found[1]) * 1024 if found else None
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        within = max(0, int(text) - int(used.read_text()))
        return within if free is None else min(free, within)
    return free


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Line]:
    """Size of the shared memory, and whether a file can be made in it."""
    name = "shared memory"
    if not folder.is_dir():
        if not sys.platform.startswith("linux"):
            yield Line(Status.OK, name, f"no {folder} on {platform.system()}; not looked at")
            return
        fix = f"Mount it: mount -t tmpfs -o size=2g tmpfs {folder}; until then samples take slower ways."
        yield Line(Status.WARNING, name, f"there is no folder {folder}", fix)
        return
    stat = os.statvfs(folder)
    size, free = stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize
    seen = f"{folder}: {_gib(free)} free of {_gib(size)}"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="blendtorch-doctor-") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        fix = f"Make it writable (chmod 1777 {folder}), free space in it, or mount it anew with a larger size."
        yield Line(Status.FAILED, name, f"{seen}; no file can be made in it: {error}", fix)
        return
    if free > SMALL_SHM_BYTES:
        yield Line(Status.OK, name, seen)
    else:
        fix = f"In Docker start the container with --shm-size=2g; else mount -o remount,size=2g {folder}"
        yield Line(Status.WARNING, name, f"{seen}, expected more than {_gib(SMALL_SHM_BYTES)}", fix)


def check_tcp() -> Iterator[Line]:
    """Whether a message gets through a free port of the loopback interface."""
    try:
        address = _round_trip("tcp://127.0.0.1:*")
    except BlendTorchError as error:
        fix = "Bring the loopback interface up (ip link set lo up), and let the firewall pass tcp on 127.0.0.1."
        yield Line(Status.FAILED, "tcp sockets", str(error), fix)
    else:
        yield Line(Status.OK, "tcp sockets", f"a message passed through {address}")


def check_ipc() -> Iterator[Line]:
    """Whether a message gets through a socket in the folder for temporary files; without, tcp is used instead."""
    name = "ipc sockets"
    if os.name != "posix":
        yield Line(Status.OK, name, f"not on {platform.system()}; tcp is used instead")
        return
    try:
        folder = tempfile.mkdtemp(prefix="blendtorch-")  # as the launcher does
    except OSError as error:
        fix = (
            "Name a folder that can be written to by the environment variable TMPDIR, or free space in the present one."
        )
        yield Line(Status.FAILED, name, f"no temporary folder can be made: {error}", fix)
        return
    try:
        address = _round_trip(f"ipc://{folder}/DATA-0")
    except BlendTorchError as error:
        fix = (
            "The slower tcp is used instead. Name a local folder with a short path by the environment variable TMPDIR, "
            "for example TMPDIR=/tmp"
        )
        yield Line(Status.WARNING, name, str(error), fix)
    else:
        yield Line(Status.OK, name, f"a message passed through {address}")
    finally:
        shutil.rmtree(folder)


def _round_trip(address: str) -> str:
    """Sends a message through `address`; returns the address it took."""
    receiver = sockets.MessageSocket("pull", address, bind=True)
    try:
        sender = sockets.MessageSocket("push", receiver.addresses, bind=False)
        try:
            sender.send(Message(Kind.SAMPLE, {"doctor": 1}), SOCKET_TIMEOUT_S)
            receiver.recv(SOCKET_TIMEOUT_S)
        finally:
            sender.close()
    finally:
        receiver.close()
    return receiver.addresses[0]


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / MIB:.0f} MiB"
