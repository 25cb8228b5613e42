"""Disks that are full, and folders that cannot be written to: what to do is said, and what was recorded stays."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recording_samples import assert_sample, key_of, record, run, sample

from blendtorch.errors import ConfigError, RecordingWriteError
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter
from blendtorch.recording.tar import BLOCK, END

SIDE = 64  # a sample has some 33 KB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KB; only root has those."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(writer: RecordingWriter) -> tuple[int, RecordingWriteError]:
    """Writes until the disk is full."""
    for number in range(1000):
        try:
            writer.write(sample(number, SIDE))
        except RecordingWriteError as error:
            return number, error
    raise AssertionError("there was room for everything")


def check(folder: Path, count: int) -> None:
    recording = Recording(folder)
    assert (recording.skipped, recording.problems) == (0, [])
    assert recording.keys == [key_of(number) for number in range(count)]
    for number, found in enumerate(recording):
        assert_sample(found, sample(number, SIDE))


@pytest.mark.parametrize("fsync", ["never", "shard", "sample"])
def test_a_full_disk_is_told_and_what_was_written_is_kept(small_disk: Path, fsync: str) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    writer = RecordingWriter(RecordingSettings(small_disk / "recording", fsync=fsync))
    count, error = fill(writer)
    assert count > 3
    for part in (str(small_disk / "recording"), "No space left on device", f"{count} samples are kept", "Make room"):
        assert part in str(error)
    with pytest.raises(ConfigError, match="closed"):
        writer.write(sample(count, SIDE))
    writer.close()
    check(small_disk / "recording", count)

    ballast.unlink()
    with RecordingWriter(small_disk / "recording") as again:
        for number in range(count + 2):
            assert again.write(sample(number, SIDE)) == (number >= count)
    check(small_disk / "recording", count + 2)
    assert not list((small_disk / "recording").glob("*.partial"))


def test_a_disk_that_is_full_from_the_first_sample_on_leaves_nothing(small_disk: Path) -> None:
    writer = RecordingWriter(small_disk / "recording")
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"), open(ballast, "wb", 0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(RecordingWriteError, match=r"No space left on device.* 0 samples are kept"):
        writer.write(sample(0, SIDE))
    assert list((small_disk / "recording").iterdir()) == []
    ballast.unlink()
    record(small_disk / "recording", [sample(0, SIDE)])
    check(small_disk / "recording", 1)


def test_a_shard_that_has_no_room_for_its_end_is_read_without(small_disk: Path, tmp_path: Path) -> None:
    (probe,) = record(tmp_path / "probe", [{"x": np.zeros(0, np.uint8)}])
    blocks = (probe.stat().st_size - len(END)) // BLOCK
    exact = np.zeros(-blocks % 8 * BLOCK, np.uint8)  # the shard fills whole pages, its end needs one more
    writer = RecordingWriter(small_disk / "recording")
    writer.write({"x": exact})
    with pytest.raises(OSError, match="No space"), open(small_disk / "ballast", "wb", 0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(RecordingWriteError, match=r"No space left on device.* 1 samples are kept"):
        writer.close()
    (found,) = Recording(small_disk / "recording")
    assert_sample(found, {"x": exact})


def test_a_limit_of_file_size_is_told_like_a_full_disk(tmp_path: Path) -> None:
    """For systems where the test is not root. Python ignores SIGXFSZ, so that the write fails with EFBIG."""
    code = """
import resource, signal, sys
from recording_samples import sample
from blendtorch.errors import RecordingWriteError
from blendtorch.recording import RecordingWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
writer = RecordingWriter(sys.argv[1])
for number in range(100):
    try:
        writer.write(sample(number, 64))
    except RecordingWriteError as error:
        print(number)
        print(error)
        break
"""
    count, told = run(code, tmp_path).splitlines()
    assert int(count) >= 3
    assert "File too large" in told
    assert f"{count} samples are kept" in told
    check(tmp_path, int(count))
    record(tmp_path, [sample(number, SIDE) for number in range(int(count) + 1)])
    check(tmp_path, int(count) + 1)


def test_a_folder_that_is_read_only_is_told_and_read(small_disk: Path) -> None:
    (shard,) = record(small_disk / "recording", [sample(0, SIDE)])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(
        RecordingWriteError, match=r"cannot record into .*recording.*Choose a folder that can be written"
    ):
        RecordingWriter(small_disk / "recording")
    with pytest.raises(RecordingWriteError, match=r"cannot record into .*new"):
        RecordingWriter(small_disk / "new")
    for _ in range(2):  # no index can be left there
        check(small_disk / "recording", 1)
    assert os.listdir(small_disk / "recording") == [shard.name]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_a_folder_that_cannot_be_made_is_told() -> None:
    with pytest.raises(RecordingWriteError, match=r"cannot record into /proc/recording: .*Choose a folder"):
        RecordingWriter("/proc/recording")


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        RecordingWriter(path)
    with pytest.raises(RecordingWriteError, match=r"cannot record into .*Choose a folder"):
        RecordingWriter(path / "within")
    assert path.read_text() == "mine"


def test_a_folder_that_is_removed_meanwhile_is_told(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(RecordingWriteError, match="No such file"):
        writer.write(sample(0))


def test_a_disk_that_fails_when_a_shard_is_ended_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    writer = RecordingWriter(RecordingSettings(tmp_path, shard_samples=2))
    writer.write(sample(0, SIDE))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RecordingWriteError, match=r"Input/output error.* 2 samples are kept"):
        writer.write(sample(1, SIDE))
    check(tmp_path, 2)
