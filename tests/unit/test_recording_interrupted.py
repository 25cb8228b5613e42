"""Killed at any moment: what `write` had returned for is there, nothing half is, and the recording is gone on with."""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_samples import assert_sample, key_of, readable, record, sample, start

from blendtorch.errors import RecordingError
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter
from blendtorch.recording.tar import END

# Prints the number of each sample once `write` has returned.
WRITE = """
import sys
from recording_samples import sample
from blendtorch.recording import RecordingSettings, RecordingWriter
folder, side, shard_samples = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
writer = RecordingWriter(RecordingSettings(folder, shard_samples=shard_samples))
for number in range(100_000):
    writer.write(sample(number, side))
    print(number, flush=True)
"""
# The same, but dies when this share of the third sample's bytes is written.
DIE_WITHIN = """
import os, signal, sys
from recording_samples import sample
from blendtorch.recording import RecordingWriter
folder, side, share = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
writer, whole = RecordingWriter(folder), os.writev

def half(descriptor, buffers):
    data = b"".join(buffers)
    os.write(descriptor, data[:int(len(data) * share)])
    os.kill(os.getpid(), signal.SIGKILL)

for number in range(3):
    if number == 2:
        os.writev = half
    writer.write(sample(number, side))
    print(number, flush=True)
"""


def check_all(folder: Path, acknowledged: int, side: int) -> int:
    """Fails unless all samples up to there can be read and are equal; gives their number, which may be one more."""
    recording = Recording(folder)
    assert recording.keys == [key_of(number) for number in range(len(recording))]
    assert acknowledged <= len(recording) <= acknowledged + 1
    for number, found in enumerate(recording):
        assert_sample(found, sample(number, side))
    return len(recording)


def check_gone_on(folder: Path, there: int, side: int) -> None:
    """Fails unless the same samples can be recorded once more and on, without gaps and anything twice."""
    total = there + 5
    with RecordingWriter(RecordingSettings(folder, shard_samples=1000)) as writer:
        assert not list(folder.glob("*.partial"))
        for number in range(total):
            assert writer.write(sample(number, side)) == (number >= there)
        assert (writer.samples, writer.duplicates) == (5, there)
    recording = Recording(folder)
    assert (recording.skipped, recording.problems) == (0, [])
    assert sorted(recording.keys) == [key_of(number) for number in range(total)]
    check_all(folder, total, side)
    listed = []
    for shard in recording.shards:
        assert shard.suffix == ".tar"
        assert shard.read_bytes().endswith(END)
        with tarfile.open(shard) as file:
            listed += [name.partition(".")[0] for name in file.getnames() if name.endswith(".json")]
    assert listed == [key_of(number) for number in range(total)]


def in_plain_tar(partial: Path) -> dict[str, bytes]:
    """The members that tarfile finds in a shard without an end."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(partial) as file:
            for one in file:
                content = file.extractfile(one)
                assert content is not None
                found[one.name] = content.read()
    except tarfile.ReadError:
        pass  # the file ends within a member
    return found


@pytest.mark.parametrize(("side", "shard_samples", "seed"), [(4, 7, 1), (700, 1000, 2), (700, 3, 3)])
def test_what_was_acknowledged_survives_a_kill_at_any_moment(
    tmp_path: Path, side: int, shard_samples: int, seed: int
) -> None:
    rng = random.Random(seed)
    process = start(WRITE, tmp_path, side, shard_samples)
    assert process.stdout is not None
    until = rng.randrange(4, 30 if side == 4 else 10)
    acknowledged = 0
    while acknowledged < until:
        assert process.stdout.readline(), process.communicate()[1]
        acknowledged += 1
    time.sleep(rng.uniform(0, 0.01))
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += len(process.stdout.read().split())
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    there = check_all(tmp_path, acknowledged, side)
    partial = list(tmp_path.glob("*.partial"))
    assert len(partial) <= 1
    in_partial = len(readable(partial)) if partial else 0
    assert in_partial <= shard_samples
    for shard in partial:
        members = in_plain_tar(shard)
        for number in range(there - in_partial, there):
            assert json.loads(members[f"{key_of(number)}.json"])["btindex"] == number
            assert members[f"{key_of(number)}.image.npy"].endswith(sample(number, side)["image"].tobytes())
    check_gone_on(tmp_path, there, side)


@pytest.mark.parametrize(("side", "share"), [(4, 0.01), (4, 0.99), (700, 0.5)])
def test_a_sample_that_is_half_written_is_not_there(tmp_path: Path, side: int, share: float) -> None:
    process = start(DIE_WITHIN, tmp_path, side, share)
    assert process.communicate()[0].split() == ["0", "1"]
    assert process.returncode == -signal.SIGKILL
    (shard,) = tmp_path.iterdir()
    assert check_all(tmp_path, 2, side) == 2
    assert shard.stat().st_size > Recording(shard)._shards[0].index.end  # or nothing was tested
    check_gone_on(tmp_path, 2, side)


def test_reading_a_shard_without_an_end_changes_nothing(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))
    (shard,) = tmp_path.iterdir()
    state = (shard.stat().st_size, shard.stat().st_mtime_ns)
    assert len(Recording(tmp_path)) == 1
    assert len(Recording(shard)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["samples-00-00000.tar.partial"]
    assert (shard.stat().st_size, shard.stat().st_mtime_ns) == state
    writer.close()


def test_a_recording_outlives_that_its_shard_gets_its_name(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))
    unread, opened = Recording(tmp_path), Recording(tmp_path)
    view = opened[0]["image"]
    writer.close()
    for recording in (unread, opened):
        assert_sample(recording[0], sample(0))
    assert np.array_equal(view, sample(0)["image"])


def test_an_unfinished_shard_without_a_sample_is_removed(tmp_path: Path) -> None:
    (shard,) = record(tmp_path / "other", [sample(0)])
    data = shard.read_bytes()
    first = 512 + 512 * -(-int(data[124:135], 8) // 512)
    last = data.index(f"{key_of(0)}.json".encode())
    for number, size in enumerate((0, 1, 511, 512, first - 1, first, first + 511, first + 513, last, last + 600)):
        (tmp_path / f"samples-00-{number:05d}.tar.partial").write_bytes(data[:size])
    RecordingWriter(tmp_path).close()
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


OTHERS: dict[str, bytes] = {
    "backup.tar.partial": b"a download that goes on " * 100,
    "empty.tar.partial": b"",
    "samples-00-00009.tar.partial": b"somebody else's",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_not_ours_is_not_removed(tmp_path: Path, name: str) -> None:
    """`samples-...` may be one whose first block a failing disk has lost; then it is told, or passed over."""
    (tmp_path / name).write_bytes(OTHERS[name])
    try:
        record(tmp_path, [sample(0)])
    except RecordingError as error:
        assert name.startswith("samples")
        told = str(error)
    else:
        told = name
        assert Recording(tmp_path).keys == [key_of(0)]
    assert name in told
    assert (tmp_path / name).read_bytes() == OTHERS[name]


def test_an_unfinished_shard_of_a_newer_version_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    (shard,) = record(tmp_path / "other", [sample(0)])
    data = shard.read_bytes().replace(b'"version": 1', b'"version": 2')[:-1024]
    newer = tmp_path / "samples-00-00000.tar.partial"
    newer.write_bytes(data)
    with pytest.raises(RecordingError, match="is of version 2"):
        RecordingWriter(tmp_path, worker=1)
    with pytest.raises(RecordingError, match="is of version 2"):
        Recording(tmp_path)
    assert newer.read_bytes() == data


def test_what_lies_behind_a_damaged_member_is_kept_when_a_shard_is_ended(tmp_path: Path) -> None:
    """Ending a shard must not make a small damage a large one: what follows may be saved by hand."""
    (shard,) = record(tmp_path, [sample(number) for number in range(5)])
    data = bytearray(shard.read_bytes()[:-1024])
    data[data.index(f"{key_of(1)}.depth".encode()) + 150] ^= 1  # a digit of the checksum
    shard.unlink()
    shard.with_name(shard.name + ".partial").write_bytes(data)
    RecordingWriter(tmp_path).close()
    (kept,) = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert f"{key_of(4)}.json".encode() in kept.read_bytes()
    assert_sample(Recording(kept)[0], sample(0))


def test_ctrl_c_within_a_write_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`append` takes back what it has written; the writer can go on."""
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))
    whole = os.writev

    def interrupted(descriptor: int, buffers: Any) -> int:
        whole(descriptor, buffers[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "writev", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.write(sample(1))
    monkeypatch.setattr(os, "writev", whole)
    writer.write(sample(2))
    assert Recording(tmp_path).keys == [key_of(0), key_of(2)]
    writer.write(sample(1))
    writer.close()
    recording = Recording(tmp_path)
    assert (recording.keys, recording.skipped) == ([key_of(0), key_of(2), key_of(1)], 0)


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux writes at most 2 GiB at once, and a signal may cut a write anywhere."""
    whole = os.write
    monkeypatch.setattr(os, "writev", lambda descriptor, buffers: whole(descriptor, b"".join(buffers)[:777]))
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:333]))
    record(tmp_path, [sample(number) for number in range(3)])
    monkeypatch.undo()
    assert check_all(tmp_path, 3, 4) == 3


def test_a_sample_of_more_buffers_than_are_written_at_once(tmp_path: Path) -> None:
    many = {f"f{i}": np.full(3, i) for i in range(250)}
    record(tmp_path, [many, {"x": 1}])
    assert_sample(Recording(tmp_path)[0], many)


NOT_CLOSED = """
import sys
from blendtorch.recording import RecordingWriter
from recording_samples import sample
writer = RecordingWriter(sys.argv[1])
for number in range(3):
    writer.write(sample(number))
"""


def test_a_writer_that_nobody_closes_ends_its_shard_at_the_end_of_the_process(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", NOT_CLOSED, str(tmp_path)],
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert [path.name for path in tmp_path.iterdir()] == ["samples-00-00000.tar"]
    assert len(Recording(tmp_path)) == 3
