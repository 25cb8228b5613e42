"""These tests launch Blender from the training side, and look at what comes, and at what is left behind."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blenders import BLENDERS, missing, skip_is_failure

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(params=list(BLENDERS))
def blender(request) -> str:
    """The path of a Blender, one version after the other."""
    if reason := missing(request.param):
        (pytest.fail if skip_is_failure() else pytest.skip)(reason)
    return str(BLENDERS[request.param])


@pytest.fixture
def script():
    """The path of a script of these tests, by name."""
    return lambda name: SCRIPTS / f"{name}.py"


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path_factory, monkeypatch) -> Iterator[Path]:
    """After every test no process and no file of BlendTorch's is left; gives the folder that temporary files go to.

    Processes are told by an environment variable that they inherit.
    """
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
    while time.monotonic() < deadline and (left := marked_processes(mark)):
        time.sleep(0.1)
    files = [path.name for path in folder.iterdir() if path.name.startswith("blendtorch-")]
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    assert not left, f"processes are left: {left}"
    assert not files, f"files are left: {files}"


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
