"""The fixture that sees whether a test leaves processes or files behind."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_MEMORY = Path("/dev/shm")
_LOOK_EVERY_S = 0.1


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path_factory, monkeypatch) -> Iterator[Path]:
    """After every test no process and no file of BlendTorch's is left; gives the folder that temporary files go to.

    Processes are told by an environment variable that they inherit. Shared memory cannot be put elsewhere; there the
    folders count that this process or a marked one was seen to own, for others may be at work at the same time.
    """
    tmp_path_factory.getbasetemp()  # pytest's own is made before the change, elsewhere
    # Short: it holds ipc sockets, whose paths may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="bt-test-", dir="/tmp"))
    mark = f"BLENDTORCH_TEST={folder.name}"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv(*mark.split("="))
    watch = SharedMemoryWatch(mark)
    yield folder
    watch.close()
    left = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = marked_processes(mark)
        segments = {path.name for path in watch.owned if path.exists()}
        if not (left or segments):
            break
        time.sleep(0.1)
    files = [path.name for path in folder.iterdir() if path.name.startswith(("blend", "tmp"))]
    shutil.rmtree(folder)
    assert not left, f"processes are left: {left}"
    assert not files, f"files are left: {files}"
    assert not segments, f"shared memory is left: {segments}"


class SharedMemoryWatch:
    """Notes, on a thread, which folders in shared memory are made by this process or by those with a mark.

    Nothing tells whose a folder was once its owner is dead. Owners live longer than it takes to look: they start Blender.

    Attributes:
        owned: The folders.
    """

    def __init__(self, mark: str) -> None:
        self.owned: set[Path] = set()
        self._mark = mark
        self._others = set(owners())
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Looks a last time."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_LOOK_EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        for folder, owner in owners().items():
            if folder not in self._others:
                mine = owner == os.getpid() or has_mark(owner, self._mark)
                (self.owned if mine else self._others).add(folder)


def owners() -> dict[Path, int]:
    """The folders in shared memory that have an owner, who holds the lock in it; and that process."""
    holders = {}
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()  # 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END
        if words[1] == "FLOCK":
            holders[int(words[5].rpartition(":")[2])] = int(words[4])
    found = {}
    for lock in SHARED_MEMORY.glob("blendtorch-*/lock"):
        try:
            inode = lock.stat().st_ino
        except OSError:
            continue  # it is gone
        if inode in holders:
            found[lock.parent] = holders[inode]
    return found


def has_mark(pid: int, mark: str) -> bool:
    """Whether a process has `mark` in its environment."""
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False  # it has ended, or is not ours


def marked_processes(mark: str) -> list[str]:
    """The command lines of the living processes, but this one, that have `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and has_mark(int(process.name), mark):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
        except OSError:
            continue  # it has ended
    return found
