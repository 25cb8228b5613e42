"""The hub's recording: each sample is in it, bit for bit, whatever becomes of clients, disks and the hub."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from hubs import fields, until, wait_for

from blendtorch.errors import ConfigError, RecordingError, RecordingWriteError
from blendtorch.hub import SampleHub
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter
from blendtorch.recording.resume import key_of

TCP = "tcp://127.0.0.1:*"
STREAM = {"seed": 1, "scene": None, "script": None}


def settings(folder: Path, **options: Any) -> RecordingSettings:
    return RecordingSettings(folder, **{"metadata": STREAM, **options})


def check(folder: Path, indices: list[int], per_index: int = 1) -> Recording:
    recording = Recording(folder)
    assert (recording.skipped, recording.problems) == (0, [])
    assert recording.keys == [key_of(index, rank) for index in indices for rank in range(per_index)]
    for place, found in enumerate(recording):
        index, rank = indices[place // per_index], place % per_index
        expected = fields(index) | {"rank": rank, "btid": 3, "btepoch": 0, "btindex": index}
        assert found.keys() == expected.keys() | {"btseq"}
        for name, value in expected.items():
            assert_exact(found[name], value, name)
    assert not list(folder.glob("*.partial"))
    return recording


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


def test_without_clients_samples_are_recorded_alone_and_it_ends_by_itself(hub, window, tmp_path) -> None:
    hub.open_stream(TCP)
    assert hub.start_recording(settings(tmp_path / "out"), 30) == 0
    making = window()
    stats = wait_for(hub, lambda stats: not stats.recording)
    assert (stats.recorded, stats.num_samples, stats.sent, stats.recording_error) == (30, 30, 0, None)
    assert stats.recorded_bytes > 30 * 1800
    time.sleep(0.1)
    making.close()
    assert making.put <= 33  # nobody wants more
    check(tmp_path / "out", list(range(30)))


def test_samples_of_an_index_keep_their_order(hub, window, tmp_path) -> None:
    hub.start_recording(settings(tmp_path / "out"), 12)
    window(per_index=4)
    wait_for(hub, lambda stats: not stats.recording)
    check(tmp_path / "out", [0, 1, 2], per_index=4)


def test_with_clients_each_sample_is_recorded_and_sent(hub, window, client, tmp_path) -> None:
    one = client(hub.open_stream(TCP))
    hub.start_recording(settings(tmp_path / "out"))
    wait_for(hub, lambda stats: stats.clients == 1)
    window(count=50)
    until(lambda: len(one.items) == 50)
    stats = wait_for(hub, lambda stats: stats.recorded == 50)
    assert (stats.seconds_left, stats.recording) == (None, True)
    hub.stop_recording()
    assert one.indices == list(range(50))
    hub.close()
    check(tmp_path / "out", list(range(50)))


def test_progress_is_told(hub, window, tmp_path) -> None:
    hub.start_recording(settings(tmp_path / "out"), 1000)
    assert hub.stats().seconds_left is None
    window(count=10)
    stats = wait_for(hub, lambda stats: stats.recorded == 10)
    assert stats.seconds_left
    assert 0 < stats.seconds_left < 2000
    assert stats.next_index == 10


def test_a_client_that_comes_late_gets_what_is_made_from_then_on(hub, window, client, tmp_path) -> None:
    address = hub.open_stream(TCP)
    hub.start_recording(settings(tmp_path / "out"))
    making = window()
    wait_for(hub, lambda stats: stats.recorded > 10)
    one = client(address)
    until(lambda: len(one.items) > 10)
    one.close()  # says farewell; the recording goes on without it
    recorded = hub.stats().recorded
    wait_for(hub, lambda stats: stats.recorded > recorded + 50)
    making.close()
    wait_for(hub, lambda stats: stats.recorded == making.put)
    assert one.indices == list(range(one.indices[0], one.indices[0] + len(one.items)))
    hub.close()
    check(tmp_path / "out", list(range(making.put)))


def test_while_it_records_samples_wait_for_clients(hub, window, client, tmp_path) -> None:
    one = client(hub.open_stream(TCP))
    hub.start_recording(settings(tmp_path / "out"))
    wait_for(hub, lambda stats: stats.clients == 1)
    one.paused.set()
    making = window()
    until(lambda: hub.stats().waiting > 10)
    time.sleep(0.2)
    assert making.put < 40
    one.paused.clear()
    until(lambda: len(one.items) > 60)
    assert one.indices == list(range(len(one.items)))


def test_it_is_gone_on_with(hub, window, tmp_path) -> None:
    hub.start_recording(settings(tmp_path / "out"), 10)
    window(count=10)
    wait_for(hub, lambda stats: not stats.recording)
    first = hub.start_recording(settings(tmp_path / "out"), 25)
    assert first == 9  # nobody knows how many samples the last index has
    assert hub.stats().recorded == 10
    hub.discard()
    window(first=first)
    wait_for(hub, lambda stats: not stats.recording)
    check(tmp_path / "out", list(range(25)))
    before = hub.stats().recorded_bytes
    assert hub.start_recording(settings(tmp_path / "out"), 25) == 24
    assert hub.stats().recorded_bytes == sum(file.stat().st_size for file in (tmp_path / "out").glob("*.tar"))
    assert 25 * 1800 < before <= hub.stats().recorded_bytes
    assert not hub.stats().recording  # all are there


@pytest.mark.parametrize(
    ("places", "first"),
    [
        ([], 0),
        ([(0, 0)], 0),
        ([(0, 0), (1, 0), (2, 0)], 2),
        ([(0, 0), (2, 0), (3, 0)], 1),
        ([(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)], 1),
        ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)], 2),
        ([(7, 0), (2**40, 0)], 0),
    ],
)
def test_where_it_goes_on(hub, tmp_path, places, first) -> None:
    with RecordingWriter(settings(tmp_path / "out")) as writer:
        for index, rank in places:
            writer.write({"a": 1}, key_of(index, rank))
    assert hub.start_recording(settings(tmp_path / "out")) == first


def test_stopped_and_started_again_at_once(hub, window, tmp_path) -> None:
    making = window()
    for _ in range(5):
        hub.start_recording(settings(tmp_path / "out"))
        before = hub.stats().recorded
        wait_for(hub, lambda stats, before=before: stats.recorded > before + 3)
        hub.stop_recording()
        hub.stop_recording()
        assert not hub.stats().recording
    making.close()
    handled = hub.stats().next_index
    hub.close()
    check(tmp_path / "out", list(range(handled)))


def test_closed_in_the_middle_it_is_whole(hub, window, client, tmp_path) -> None:
    hub.open_stream(TCP)
    hub.start_recording(settings(tmp_path / "out"))
    making = window()
    wait_for(hub, lambda stats: stats.recorded > 20)
    hub.close()
    making.close()
    check(tmp_path / "out", list(range(hub.stats().recorded)))


def test_a_full_disk_ends_the_recording_in_words_and_the_stream_goes_on(hub, small_disk, tmp_path, client) -> None:
    one = client(hub.open_stream(TCP))
    wait_for(hub, lambda stats: stats.clients == 1)
    hub.start_recording(settings(small_disk / "out"))
    index = 0

    def put(count: int) -> None:
        nonlocal index
        for _ in range(count):
            until(hub.wants_sample)
            hub.put(index, fields(index, side=64) | {"rank": 0})
            index += 1

    put(40)
    stats = wait_for(hub, lambda stats: not stats.recording)
    for part in ("No space left on device", "samples are kept", "Make room"):
        assert part in stats.recording_error
    until(lambda: len(one.items) == 40)
    assert one.indices == list(range(40))
    assert stats.stream_error is None
    recording = Recording(small_disk / "out")
    assert recording.keys == [key_of(number, 0) for number in range(len(recording))]
    assert 3 < len(recording) == hub.stats().recorded
    hub.start_recording(settings(tmp_path / "elsewhere"))
    assert hub.stats().recording_error is None
    put(3)
    wait_for(hub, lambda stats: stats.recorded == 3)


def test_a_sample_that_the_full_disk_had_no_room_for_is_not_lost(hub, small_disk, tmp_path) -> None:
    hub.start_recording(settings(small_disk / "out"))
    index = 0
    while hub.stats().recording:
        if hub.wants_sample():
            hub.put(index, fields(index, side=64) | {"rank": 0})
            index += 1
        time.sleep(0.001)
    there = Recording(small_disk / "out").keys
    hub.start_recording(settings(tmp_path / "elsewhere"))
    wait_for(hub, lambda stats: stats.waiting == 0)
    hub.close()
    assert sorted(there + Recording(tmp_path / "elsewhere").keys) == [key_of(number, 0) for number in range(index)]


def test_a_folder_that_cannot_serve_is_refused(hub, tmp_path) -> None:
    with RecordingWriter(settings(tmp_path / "other", metadata={**STREAM, "seed": 2})) as writer:
        writer.write({"a": 1}, key_of(0, 0))
    with pytest.raises(ConfigError, match="another stream: its seed is 2, this one's is 1"):
        hub.start_recording(settings(tmp_path / "other"))
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "00-00000.tar").write_bytes(bytes(10240))
    with pytest.raises(RecordingError):
        hub.start_recording(settings(tmp_path / "tars"))
    (tmp_path / "file").touch()
    with pytest.raises(RecordingWriteError, match="Choose a folder"):
        hub.start_recording(settings(tmp_path / "file" / "out"))
    assert not hub.stats().recording
    with pytest.raises(ConfigError, match="num_samples is 0"):
        hub.start_recording(settings(tmp_path / "out"), 0)
    hub.start_recording(settings(tmp_path / "out"))
    with pytest.raises(ConfigError, match="runs already"):
        hub.start_recording(settings(tmp_path / "out2"))


def test_a_field_that_cannot_be_recorded_ends_the_recording_in_words(hub, tmp_path) -> None:
    hub.start_recording(settings(tmp_path / "out", encode={"depth": "png"}))
    hub.put(0, {"depth": np.zeros((4, 4), np.float32)})
    stats = wait_for(hub, lambda stats: not stats.recording)
    assert "depth" in stats.recording_error


def test_its_metadata_makes_no_promise_of_shares_made_in_order(hub, window, tmp_path) -> None:
    hub.start_recording(settings(tmp_path / "out", metadata={**STREAM, "num_instances": 3, "who": "me"}), 2)
    window()
    wait_for(hub, lambda stats: not stats.recording)
    metadata = Recording(tmp_path / "out").metadata
    assert "num_instances" not in metadata
    assert (metadata["seed"], metadata["who"]) == (1, "me")


def test_a_slow_disk_does_not_hold_put_up(tmp_path, monkeypatch) -> None:
    write = RecordingWriter.write

    def slowly(self: RecordingWriter, *args: Any) -> bool:
        time.sleep(0.3)
        return write(self, *args)

    monkeypatch.setattr(RecordingWriter, "write", slowly)
    hub = SampleHub()
    try:
        hub.start_recording(settings(tmp_path / "out"))
        longest, put = 0.0, 0
        started = time.monotonic()
        while put < 4:
            before = time.monotonic()
            if hub.wants_sample():
                hub.put(put, fields(put))
                put += 1
            hub.stats()
            longest = max(longest, time.monotonic() - before)
            time.sleep(0.001)
        assert time.monotonic() - started > 0.3
        assert longest < 0.2
    finally:
        hub.close()


def test_what_waits_can_be_discarded(hub, window, tmp_path) -> None:
    hub.start_recording(settings(tmp_path / "out"), 3)
    making = window()
    wait_for(hub, lambda stats: not stats.recording)
    until(lambda: not hub.wants_sample())
    making.close()
    assert making.put > 3
    hub.discard()
    assert hub.start_recording(settings(tmp_path / "out"), 6) == 2
    window(first=10)
    wait_for(hub, lambda stats: not stats.recording)
    check(tmp_path / "out", [0, 1, 2, 10, 11, 12])


@pytest.mark.parametrize("passed_on", [0, 2])
def test_an_index_that_is_made_once_more_begins_with_its_first_sample(hub, tmp_path, passed_on) -> None:
    # Given up between its second camera and its third.
    hub.start_recording(settings(tmp_path / "out"))

    def put(ranks: range) -> None:
        for rank in ranks:
            until(hub.wants_sample)
            hub.put(3, fields(3) | {"rank": rank})

    put(range(passed_on))
    wait_for(hub, lambda stats: stats.recorded == passed_on)
    hub.stop_recording()
    hub.put(3, {"given": "up"})
    hub.discard()
    hub.start_recording(settings(tmp_path / "out"), 3)
    put(range(3))
    wait_for(hub, lambda stats: not stats.recording)
    check(tmp_path / "out", [3], per_index=3)


def test_a_hub_that_has_failed_says_so_of_the_recording_too(hub, tmp_path, monkeypatch) -> None:
    # Or who asks would take it for complete.
    def fail(self: RecordingWriter, *args: Any) -> bool:
        raise RuntimeError("boom")

    hub.start_recording(settings(tmp_path / "out"), 5)
    monkeypatch.setattr(RecordingWriter, "write", fail)
    hub.put(0, fields(0))
    stats = wait_for(hub, lambda stats: not stats.recording)
    assert stats.recorded == 0
    assert "the hub has failed: RuntimeError('boom')" in stats.recording_error
    assert stats.recording_error == stats.stream_error
    assert stats.workers_error is None


def test_a_sample_on_its_way_can_be_discarded(hub, client) -> None:
    one = client(hub.open_stream(TCP), queue_size=1)
    one.paused.set()
    wait_for(hub, lambda stats: stats.clients == 1)
    index = 0
    while hub.stats().sent < 10 or hub._pump.window.has_room:  # until the queue is full, and some wait
        if hub._pump.window.has_room:
            hub.put(index, {"a": index})
            index += 1
    sent = hub.stats().sent
    hub.discard()
    hub.put(1000, {"a": 1000})
    one.paused.clear()
    until(lambda: 1000 in one.indices)
    assert one.indices == [*range(sent), 1000]
