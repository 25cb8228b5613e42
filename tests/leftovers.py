"""The fixture that sees whether a test leaves processes or files behind."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blendtorch.wire.owned_folder import find_leftovers

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path_factory, monkeypatch) -> Iterator[Path]:
    """After every test no process and no file of BlendTorch's is left; gives the folder that temporary files go to.

    Processes are told by an environment variable that they inherit. In shared memory, which cannot be put elsewhere,
    folders are left that have no living owner any more, or this process. Folders of others who are at work have one;
    but these may be killed, too, and nothing tells whose it was: while others test, only what this process owns counts.
    """
    before = {*find_leftovers(SHARED_MEMORY), *owned_here()}
    alone = not others_test()
    tmp_path_factory.getbasetemp()  # pytest's own is made before the change, elsewhere
    # Short: it holds ipc sockets, whose paths may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="bt-test-", dir="/tmp"))
    mark = f"BLENDTORCH_TEST={folder.name}"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv(*mark.split("="))
    yield folder
    left = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = marked_processes(mark)
        alone = alone and not others_test()
        segments = {*(find_leftovers(SHARED_MEMORY) if alone else []), *owned_here()} - before
        if not (left or segments):
            break
        time.sleep(0.1)
    files = [path.name for path in folder.iterdir() if path.name.startswith(("blend", "tmp"))]
    shutil.rmtree(folder)
    assert not left, f"processes are left: {left}"
    assert not files, f"files are left: {files}"
    assert not segments, f"shared memory is left: {segments}"


def owned_here() -> set[Path]:
    """The folders in shared memory whose lock this process holds."""
    held = set()
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()  # 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END
        if words[1] == "FLOCK" and words[4] == str(os.getpid()):
            held.add(int(words[5].rpartition(":")[2]))
    return {lock.parent for lock in SHARED_MEMORY.glob("blendtorch-*/lock") if _inode(lock) in held}


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1  # it is gone


def others_test() -> bool:
    """Whether another pytest runs on this machine."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) not in (os.getpid(), os.getppid()) and b"pytest" in (process / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


def marked_processes(mark: str) -> list[str]:
    """The command lines of the living processes, but this one, that have `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
        except OSError:
            continue  # it has ended, or is not ours
    return found
