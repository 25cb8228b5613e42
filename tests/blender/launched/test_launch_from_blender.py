"""A Blender that nobody has launched launches workers of itself, as the panel does."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.blender.launched.conftest import SCRIPTS

SCRIPT = SCRIPTS / "launches_workers.py"


def start(blender: str, mode: str) -> subprocess.Popen:
    return subprocess.Popen([blender, str(SCRIPT), mode], stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen) -> dict:
    assert process.stdout
    for line in process.stdout:
        if line.startswith("TOLD "):
            return json.loads(line.removeprefix("TOLD "))
    pytest.fail(f"it ended with status {process.wait()} and told nothing")


def test_workers_are_launched_and_ended(blender) -> None:
    with start(blender, "end") as process:
        what = told(process)
        assert process.wait(30) == 0
    assert what["deviations"].keys() == {"0", "1"}
    assert min(what["deviations"].values()) > 5
    # The training side's Python has psutil, the others have none, as the executable's.
    assert what["modules"] == (["psutil"] if Path(blender) == Path(sys.executable) else [])
    assert not any(psutil.pid_exists(pid) for pid in what["pids"])


@pytest.mark.one_blender
def test_nothing_is_left_of_workers_when_blender_is_killed(blender, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a Blender that is killed leaves its own temporary files
    with start(blender, "wait") as process:
        what = told(process)
        process.kill()
    deadline = time.monotonic() + 15
    while any(map(psutil.pid_exists, what["pids"])) or any(Path(folder).exists() for folder in what["folders"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
