"""Folders go with the process that made them, however it ends, and never before."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from blendtorch.wire.owned_folder import make_folder, remove_leftovers

MAKE_AND_WAIT = """
import sys, time
from blendtorch.wire.owned_folder import make_folder
folder = make_folder(sys.argv[1])
(folder.path / "content").mkdir()
print(folder.path, flush=True)
time.sleep(100)
"""


def test_a_folder_is_this_users_own_and_goes_when_closed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert folder.path.parent == tmp_path
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    (folder.path / "socket").touch()
    folder.close()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_living_process_stays_and_of_a_killed_one_goes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE_AND_WAIT, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout:
        theirs = Path(process.stdout.readline().strip())
    assert remove_leftovers(tmp_path) == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    ours = make_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [ours.path]
    assert not theirs.exists()
    assert remove_leftovers(tmp_path) == []  # its own is not given up either
    ours.close()


def test_a_child_process_does_not_keep_the_folder(tmp_path: Path) -> None:
    """The lock is not inherited by what is executed."""
    folder = make_folder(tmp_path)
    child = subprocess.Popen(["sleep", "100"], close_fds=False)
    assert folder._lock is not None
    os.close(folder._lock)  # as at the end of this process
    assert remove_leftovers(tmp_path) == [folder.path]
    child.kill()
    child.wait()


def test_what_is_not_a_leftover_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (tmp_path / "blendtorch-link").symlink_to(elsewhere)
    (tmp_path / "blendtorch-being-made").mkdir()  # has no lock yet
    (tmp_path / "blendtorch-file").touch()
    other = tmp_path / "blendtorch-linked-lock"
    other.mkdir()
    (other / "lock").symlink_to(elsewhere / "lock")
    assert remove_leftovers(tmp_path) == []
    assert (elsewhere / "lock").exists()


@pytest.mark.parametrize("content", [b"", b"pid 7", b"BTLOCK1 another-boot\n", b"BTLOCK1 \n"])
def test_locks_of_others_are_left_alone(tmp_path: Path, content: bytes) -> None:
    """Of other programs, and of other machines that share the folder, whose locks may not be seen here."""
    other = tmp_path / "blendtorch-training-run"
    other.mkdir()
    (other / "lock").write_bytes(content)
    (other / "results").touch()
    assert remove_leftovers(tmp_path) == []
    assert (other / "results").exists()
