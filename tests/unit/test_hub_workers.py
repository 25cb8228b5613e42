"""The hub passes samples of workers on, beside those of the window: each once, with its own index."""

import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from exact import assert_exact
from hubs import fields, until, wait_for
from instances import TRANSPORTS

from blendtorch.errors import AddressError, ConfigError
from blendtorch.hub.sources import Worker
from blendtorch.recording import Recording, RecordingSettings
from blendtorch.recording.resume import key_of

TCP = "tcp://127.0.0.1:*"


def share(first: int, step: int, number: int | None = None, per_index: int = 1) -> Any:
    """The samples of one worker: indices first, first + step, ..."""
    numbers = count() if number is None else range(number)
    return ((first + step * n, fields(first + step * n) | {"rank": rank}) for n in numbers for rank in range(per_index))


def assert_sample(item: dict[str, Any]) -> None:
    assert item["btid"] == 3
    for name, value in fields(item["btindex"]).items():
        assert_exact(item[name], value, name)


@pytest.mark.parametrize("to_client", [True, False])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_samples_of_workers_and_the_window_arrive_once_and_whole(
    hub, instance, window, client, transport, to_client
) -> None:
    workers = [instance(share(k, 3, 40), transport, btid=k) for k in (1, 2)]
    one = client(hub.open_stream(TCP, shm=to_client))
    hub.add_workers([worker.address for worker in workers])
    window(first=0, step=3, count=40)
    until(lambda: len(one.items) == 120)
    assert sorted(one.indices) == list(range(120))
    for k in range(3):
        assert [index for index in one.indices if index % 3 == k] == list(range(k, 120, 3))
    for item in one.items:
        assert_sample(item)
    assert [item["btseq"] for item in one.items] == list(range(120))
    stats = wait_for(hub, lambda stats: stats.workers == 0)  # both have ended
    assert (stats.sent, stats.next_index, stats.workers_error) == (120, 120, None)
    assert stats.workers_per_s > stats.window_per_s > 0


def test_they_are_recorded_bit_for_bit_and_sent(hub, instance, client, tmp_path) -> None:
    one = client(hub.open_stream(TCP))
    wait_for(hub, lambda stats: stats.clients == 1)
    hub.start_recording(RecordingSettings(tmp_path / "out"), 60)
    workers = [instance(share(k, 2, 40), btid=k) for k in (0, 1)]
    hub.add_workers([worker.address for worker in workers])
    wait_for(hub, lambda stats: not stats.recording)
    until(lambda: len(one.items) == 80)
    recording = Recording(tmp_path / "out")
    assert len(recording) == 60
    for found in recording:
        assert_sample(found)


def test_episodes_of_several_workers_keep_their_ranks(hub, instance, client, tmp_path) -> None:
    one = client(hub.open_stream(TCP))
    wait_for(hub, lambda stats: stats.clients == 1)
    hub.start_recording(RecordingSettings(tmp_path / "out"))
    workers = [instance(share(k, 2, 5, per_index=8), btid=k, delay_s=0.001) for k in (0, 1)]
    hub.add_workers([worker.address for worker in workers])
    until(lambda: len(one.items) == 80)
    assert [item["rank"] for item in one.items] == one.dones
    assert one.indices != sorted(one.indices)  # they do mingle
    wait_for(hub, lambda stats: stats.recorded == 80)
    hub.close()
    recording = Recording(tmp_path / "out")
    assert sorted(recording.keys) == [key_of(index, rank) for index in range(10) for rank in range(8)]
    assert all(
        key_of(found["btindex"], found["rank"]) == key for key, found in zip(recording.keys, recording, strict=True)
    )


def test_workers_wait_for_clients(hub, instance, client) -> None:
    worker = instance(share(0, 1))
    hub.add_workers([worker.address])
    address = hub.open_stream(TCP)
    wait_for(hub, lambda stats: stats.workers == 1)
    time.sleep(0.3)
    assert worker.published < 30
    one = client(address)
    until(lambda: len(one.items) > 100)
    assert one.indices == list(range(len(one.items)))


def test_a_worker_that_fails_is_told_and_the_others_go_on(hub, instance, client) -> None:
    bad, good = instance(share(0, 2, 3), btid=0, then="error"), instance(share(1, 2), btid=1)
    one = client(hub.open_stream(TCP))
    hub.add_workers([bad.address, good.address])
    stats = wait_for(hub, lambda stats: stats.workers_error is not None)
    assert "ValueError: boom" in stats.workers_error
    wait_for(hub, lambda stats: stats.workers == 1)
    there = len(one.items)
    until(lambda: len(one.items) > there + 50)
    assert [index for index in one.indices if index % 2 == 0] == [0, 2, 4]
    hub.remove_workers()
    stats = wait_for(hub, lambda stats: stats.workers == 0)
    assert stats.workers_error is None


def test_a_hub_that_has_failed_says_so_of_workers_too(hub, instance, client, monkeypatch) -> None:
    def fail(self: Worker) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(Worker, "take", fail)
    client(hub.open_stream(TCP))
    hub.add_workers([instance(share(0, 1)).address])
    stats = wait_for(hub, lambda stats: stats.workers_error is not None)
    assert "the hub has failed: RuntimeError('boom')" in stats.workers_error
    assert stats.stream_error == stats.workers_error
    assert stats.recording_error is None


WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from hubs import fields
from blendtorch.wire.sample_sender import SampleSender
sender = SampleSender(sys.argv[1], 1)
print("there", flush=True)
index = 0
while True:
    sender.publish(fields(index), index)
    index += 1
"""


def test_a_worker_that_is_killed_goes_silent_and_the_others_go_on(hub, instance, client, tmp_path, window) -> None:
    address = f"ipc://{tmp_path}/w"
    one = client(hub.open_stream(TCP))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, address, str(Path(__file__).parent)], stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == b"there\n"
        hub.add_workers([address])
        until(lambda: len(one.items) > 20)
        worker.kill()
    making = window(first=10**6)
    until(lambda: sum(index >= 10**6 for index in one.indices) > 50)
    making.close()
    for item in one.items:
        assert_sample(item)
    stats = hub.stats()
    assert (stats.workers, stats.stream_error) == (1, None)
    # Its successor, which the launcher starts, is heard at the same address.
    there = len(one.items)
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, address, str(Path(__file__).parent)], stdout=subprocess.PIPE
    ) as worker:
        until(lambda: len(one.items) > there + 20)
        worker.kill()


def test_workers_are_left_while_their_samples_wait(hub, instance, client) -> None:
    worker = instance(share(0, 1), then="stay")
    one = client(hub.open_stream(TCP))
    hub.add_workers([worker.address])
    until(lambda: len(one.items) > 5)
    one.paused.set()
    time.sleep(0.3)
    hub.remove_workers()
    wait_for(hub, lambda stats: stats.workers == 0)
    hub.add_workers([worker.address])
    one.paused.clear()
    there = len(one.items)
    until(lambda: len(one.items) > there + 30)
    assert one.indices == sorted(set(one.indices))


def test_nothing_comes_of_workers_that_were_left_beyond_the_next_index(hub, instance, client) -> None:
    # The window goes on alone with the next index.
    one = client(hub.open_stream(TCP))
    for _ in range(5):
        worker = instance(share(0, 1), btid=0)
        hub.add_workers([worker.address])
        there = len(one.items)
        until(lambda there=there: len(one.items) > there + 10)
        hub.remove_workers()
        stats = hub.stats()
        assert stats.workers == 0
        wait_for(hub, lambda stats: stats.waiting == 0)
        assert max(one.indices) < stats.next_index == hub.stats().next_index
        worker.close()


def test_what_was_taken_of_a_worker_is_not_lost_when_it_is_left(hub, instance, client, tmp_path) -> None:
    one = client(hub.open_stream(TCP), queue_size=1)
    hub.start_recording(RecordingSettings(tmp_path / "out"))
    worker = instance(share(0, 1, 40))
    hub.add_workers([worker.address])
    until(lambda: len(one.items) > 5)
    one.paused.set()
    time.sleep(0.3)  # until it is recorded and waits for the client
    taken = hub._pump.pending.index
    hub.remove_workers()
    wait_for(hub, lambda stats: stats.workers == 0)
    one.paused.clear()
    wait_for(hub, lambda stats: stats.waiting == 0)
    until(lambda: len(one.items) == taken + 1)
    assert one.indices == list(range(taken + 1))
    for item in one.items:
        assert_sample(item)


def test_addresses_that_are_wrong_are_refused(hub) -> None:
    with pytest.raises(AddressError, match="cannot connect"):
        hub.add_workers([f"{TCP[:-1]}11000", "nonsense"])
    assert hub.stats().workers == 0


def test_a_hub_that_is_closed_in_the_middle_leaves_nothing(hub, instance, client, tmp_path) -> None:
    workers = [instance(share(k, 2), btid=k) for k in (0, 1)]
    one = client(hub.open_stream(TCP))
    hub.start_recording(RecordingSettings(tmp_path / "out"))
    hub.add_workers([worker.address for worker in workers])
    until(lambda: len(one.items) > 30)
    started = time.monotonic()
    hub.close()
    assert time.monotonic() - started < 2.5
    with pytest.raises(ConfigError, match="closed"):
        hub.add_workers([])
    recording = Recording(tmp_path / "out")
    assert recording.problems == []
    assert len(recording) == hub.stats().recorded
    for found in recording:
        assert_sample(found)
    assert not list((tmp_path / "out").glob("*.partial"))
