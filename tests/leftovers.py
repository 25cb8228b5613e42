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
    folders without a living owner are what is left; those of other tests at the same time have one.
    """
    before = set(find_leftovers(SHARED_MEMORY))
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
        segments = set(find_leftovers(SHARED_MEMORY)) - before
        if not (left or segments):
            break
        time.sleep(0.1)
    files = [path.name for path in folder.iterdir() if path.name.startswith(("blend", "tmp"))]
    shutil.rmtree(folder)
    assert not left, f"processes are left: {left}"
    assert not files, f"files are left: {files}"
    assert not segments, f"shared memory is left: {segments}"


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
