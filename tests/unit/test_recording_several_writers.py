"""Several writers in one folder, readers beside them, and the moments at which they could meet."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording_samples import assert_sample, key_of, record, run, sample, start

from blendtorch.errors import BlendTorchError, ConfigError
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter, shard_files, shard_writer
from blendtorch.recording import recording as reading
from blendtorch.recording.shard_files import shards_of

WRITE = """
import sys
from recording_samples import sample
from blendtorch.recording import RecordingSettings, RecordingWriter
folder, first, last, shard_samples = sys.argv[1], *map(int, sys.argv[2:])
with RecordingWriter(RecordingSettings(folder, shard_samples=shard_samples)) as writer:
    print("open", flush=True)
    for number in range(first, last):
        writer.write(sample(number))
"""
HOLD = """
import sys
from recording_samples import sample
from blendtorch.recording import RecordingWriter
writer = RecordingWriter(sys.argv[1])
writer.write(sample(0))
print("open", flush=True)
sys.stdin.readline()
writer.write(sample(1))
writer.close()
"""


def check(folder: Path, count: int) -> None:
    recording = Recording(folder)
    assert (recording.problems, recording.skipped) == ([], 0)
    assert sorted(recording.keys) == [key_of(number) for number in range(count)]
    for key, found in zip(recording.keys, recording, strict=True):
        assert_sample(found, sample(int(key[:9])))
    assert not list(folder.glob("*.partial"))


def test_the_shard_of_a_living_writer_of_this_process_is_not_touched(tmp_path: Path) -> None:
    first = RecordingWriter(tmp_path)
    first.write(sample(0))
    (partial,) = tmp_path.iterdir()
    before = partial.read_bytes()
    second = RecordingWriter(tmp_path)
    assert partial.read_bytes() == before
    assert not second.write(sample(0))  # it has seen that of the first one
    second.write(sample(2))
    first.write(sample(1))
    first.close()
    second.close()
    check(tmp_path, 3)


def test_the_shard_of_a_living_writer_of_another_process_is_not_touched(tmp_path: Path) -> None:
    process = start(HOLD, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    with RecordingWriter(tmp_path) as writer:
        assert len(list(tmp_path.glob("*.partial"))) == 1
        writer.write(sample(2))
    errors = process.communicate("go on\n", timeout=60)[1]
    assert process.returncode == 0, errors
    check(tmp_path, 3)


def test_two_processes_write_into_one_folder_under_the_same_number(tmp_path: Path) -> None:
    """With a shard for each sample, so that they come for the same names all the time."""
    processes = [start(WRITE, tmp_path, first, first + 60, 1) for first in (0, 60)]
    for process in processes:
        assert process.wait(60) == 0, process.communicate()[1]
        process.communicate()
    check(tmp_path, 120)
    assert len(shards_of(tmp_path)) == 120


def test_writers_of_different_numbers_have_names_apart(tmp_path: Path) -> None:
    writers = [RecordingWriter(RecordingSettings(tmp_path, shard_samples=2), worker=worker) for worker in (3, 0, 11)]
    for number in range(12):
        writers[number % 3].write(sample(number))
    for writer in writers:
        writer.close()
    assert [path.name for path in shards_of(tmp_path)] == [
        f"samples-{worker:02d}-0000{number}.tar" for worker in (0, 3, 11) for number in (0, 1)
    ]
    assert [int(key[:9]) for key in Recording(tmp_path).keys] == [1, 4, 7, 10, 0, 3, 6, 9, 2, 5, 8, 11]


def test_what_two_writers_both_have_written_is_read_once(tmp_path: Path) -> None:
    writers = [RecordingWriter(tmp_path, worker=worker) for worker in range(2)]
    for writer in writers:
        assert all(writer.write(sample(number)) for number in range(3))
        writer.close()
    recording = Recording(tmp_path)
    assert recording.keys == [key_of(number) for number in range(3)]
    assert recording.skipped == 3
    assert "3 sample(s) have the key of one before" in recording.problems[0]


def test_it_is_read_while_it_is_written(tmp_path: Path) -> None:
    process = start(WRITE, tmp_path, 0, 400, 90)
    assert process.stdout is not None
    process.stdout.readline()
    most = looks = 0
    while process.poll() is None or looks == 0:
        looks += 1
        try:
            recording = Recording(tmp_path)
        except BlendTorchError:
            continue  # nothing there yet
        assert len(recording) >= most
        most = len(recording)
        assert recording.keys == [key_of(number) for number in range(most)]
        for number in {0, most // 2, most - 1} if most else ():
            assert_sample(recording[number], sample(number))
    assert process.wait() == 0, process.communicate()[1]
    process.communicate()
    check(tmp_path, 400)


def holders(folder: Path) -> set[int]:
    """The processes that have a file of this folder open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # closed in the meantime
            if os.readlink(link).startswith(str(folder)):
                found.add(int(link.parts[2]))
    return found


# --- Moments: each test has the other one act at exactly the worst of them -------------------------------------------


def at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], None], after: bool = False) -> None:
    """Acts once before (or after) the next call of a function."""
    function = getattr(owner, name)

    def acting(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, function)
        if not after:
            act()
        result = function(*arguments, **options)
        if after:
            act()
        return result

    monkeypatch.setattr(owner, name, acting)


def test_a_shard_that_is_ended_between_two_looks_into_the_folder_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))

    def glob(path: Path, pattern: str) -> list[Path]:
        found = list(original(path, pattern))
        if writer is not None:
            writer.close()
        return found

    original = Path.glob
    monkeypatch.setattr(Path, "glob", glob)
    assert [path.name for path in shards_of(tmp_path)] == ["samples-00-00000.tar"]


def test_a_shard_that_is_ended_before_it_is_opened_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))
    at(monkeypatch, reading, "shards_of", writer.close, after=True)
    recording = Recording(tmp_path)
    assert (recording.keys, recording.problems) == ([key_of(0)], [])
    assert_sample(recording[0], sample(0))


def test_the_name_of_a_shard_that_another_writer_has_ended_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its rename would put an end to the other's samples."""
    other = RecordingWriter(RecordingSettings(tmp_path / "samples", shard_samples=1))
    late = RecordingWriter(RecordingSettings(tmp_path / "samples"))
    # The late one has seen an empty folder, and that the name is free; now the other one takes and ends it.
    at(monkeypatch, os, "open", lambda: (monkeypatch.undo(), other.write(sample(0)))[0])
    late.write(sample(1))
    late.close()
    other.close()
    check(tmp_path / "samples", 2)


def test_a_shard_is_not_taken_for_abandoned_before_its_writer_has_locked_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its writer goes on in a file that has no name any more."""
    writer = RecordingWriter(tmp_path)
    at(monkeypatch, shard_writer, "lock", lambda: RecordingWriter(tmp_path, worker=1).close())
    writer.write(sample(0))
    writer.write(sample(1))
    writer.close()
    check(tmp_path, 2)


def test_a_writer_whose_shard_is_just_looked_at_by_another_one_takes_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has the lock, and removes a shard without a sample a moment later."""
    writer = RecordingWriter(tmp_path)
    held: list[int] = []

    def take() -> None:
        held.append(os.open(tmp_path / "samples-00-00000.tar.partial", os.O_RDWR))
        assert shard_files.lock(held[0])

    at(monkeypatch, shard_writer, "lock", take)
    at(monkeypatch, shard_writer, "lock", lambda: (tmp_path / "samples-00-00000.tar.partial").unlink(), after=True)
    writer.write(sample(0))
    os.close(held[0])
    writer.close()
    check(tmp_path, 1)


def test_a_shard_that_its_writer_ends_just_now_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = RecordingWriter(tmp_path)
    first.write(sample(0))
    at(monkeypatch, shard_files, "lock", first.close)  # between being opened and locked by the second one
    with RecordingWriter(tmp_path, worker=1) as second:
        assert not second.write(sample(0))
        second.write(sample(1))
    check(tmp_path, 2)


def test_two_writers_may_end_an_abandoned_shard_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shard,) = record(tmp_path, [sample(0)])
    shard.rename(shard.with_name(shard.name + ".partial"))
    at(monkeypatch, shard_files, "lock", lambda: RecordingWriter(tmp_path, worker=2).close())
    with RecordingWriter(tmp_path, worker=1) as writer:
        writer.write(sample(1))
    check(tmp_path, 2)


def test_a_writer_begins_beside_one_that_has_just_begun(tmp_path: Path) -> None:
    """Whose shard has a name and no content yet."""
    begun = os.open(tmp_path / "samples-00-00000.tar.partial", os.O_RDWR | os.O_CREAT)
    assert shard_files.lock(begun)
    with RecordingWriter(tmp_path, worker=1) as writer:
        writer.write(sample(0))
    os.close(begun)
    assert Recording(tmp_path).keys == [key_of(0)]


def test_many_writers_begin_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def begin(worker: int) -> None:
        try:
            for round_number in range(5):
                with RecordingWriter(RecordingSettings(tmp_path, shard_samples=1), worker=worker % 2) as writer:
                    writer.write(sample(20 * round_number + worker))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=begin, args=[worker]) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(Recording(tmp_path)) == 30


def test_a_shard_that_is_ended_after_it_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))

    def end_after_listing(folder: Path) -> list[Path]:
        found = [*shards_of(folder), folder / "samples-00-00009.tar.partial"]  # the last one was removed, being empty
        writer.close()
        return found

    monkeypatch.setattr(reading, "shards_of", end_after_listing)
    check(tmp_path, 1)


def test_a_child_that_outlives_its_writer_stops_nobody(tmp_path: Path) -> None:
    """Locks of an open file belong to all that have inherited it, such as the workers of a DataLoader by fork."""
    code = """
import os, sys, time
from recording_samples import sample
from blendtorch.recording import RecordingWriter
writer = RecordingWriter(sys.argv[1])
writer.write(sample(0))
child = os.fork()
if child == 0:
    os.close(1), os.close(2)
    time.sleep(60)
print(child, flush=True)
os._exit(0)
"""
    child = int(run(code, tmp_path))
    try:
        with RecordingWriter(tmp_path) as writer:
            assert not writer.write(sample(0))
            assert writer.write(sample(1))
    finally:
        os.kill(child, signal.SIGKILL)
        while (held := holders(tmp_path)) and child in held:
            time.sleep(0.01)
    RecordingWriter(tmp_path).close()
    check(tmp_path, 2)


def test_where_there_are_no_locks_writers_write_and_leave_the_shards_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems: nobody can tell whether a writer lives."""
    record(tmp_path, [sample(0)])
    (shard,) = tmp_path.glob("*.tar")
    partial = shard.rename(shard.with_name(shard.name + ".partial"))
    content = partial.read_bytes()

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(shard_files.fcntl, "flock", no_locks)
    with RecordingWriter(tmp_path) as writer:
        writer.write(sample(1))
    assert partial.read_bytes() == content
    assert Recording(tmp_path).keys == [key_of(0), key_of(1)]


def test_a_fork_of_a_writer_neither_writes_nor_ends_its_shard(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))
    child = os.fork()
    if child == 0:
        try:
            writer.write(sample(1))
        except ConfigError:
            writer.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for number in range(2, 5):
        writer.write(sample(number))
    writer.close()
    assert Recording(tmp_path).keys == [key_of(number) for number in (0, 2, 3, 4)]
    assert Recording(tmp_path).problems == []


def test_a_writer_may_be_closed_in_the_middle_of_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a handler of a signal does; the sample that is being written is whole."""
    writer = RecordingWriter(tmp_path)
    writer.write(sample(0))
    at(monkeypatch, shard_writer, "append", writer.close)
    writer.write(sample(1))
    with pytest.raises(ConfigError, match="closed"):
        writer.write(sample(2))
    check(tmp_path, 2)


def test_a_writer_that_is_dropped_is_ended_at_the_end_of_the_process(tmp_path: Path) -> None:
    code = """
import gc, sys
from blendtorch.recording import RecordingWriter
writer = RecordingWriter(sys.argv[1])
writer.write({})
del writer
gc.collect()
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["samples-00-00000.tar"]
