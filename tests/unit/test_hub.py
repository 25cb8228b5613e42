"""The hub's stream: what the window makes reaches clients, each sample once and whole."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from hubs import WAIT_S, fields, hub_threads, until, wait_for

from blendtorch.errors import AddressError, ConfigError
from blendtorch.hub import HubStats, SampleHub
from blendtorch.hub.sinks import StreamSink
from blendtorch.hub.sources import HandOver, Sample
from blendtorch.recording import RecordingSettings
from blendtorch.wire.curve import CurveKeys
from blendtorch.wire.launch_args import DEFAULT_SHM_BYTES
from blendtorch.wire.sample_sender import SampleSender

TCP = "tcp://127.0.0.1:*"


def assert_sample(item: dict[str, Any], index: int) -> None:
    assert (item["btid"], item["btepoch"], item["btindex"]) == (3, 0, index)
    for name, value in fields(index).items():
        assert_exact(item[name], value, name)


@pytest.mark.parametrize("shm", [True, False])
def test_samples_arrive_in_order_whole_and_once(hub, window, client, shm, tmp_path) -> None:
    address = hub.open_stream(f"ipc://{tmp_path}/s" if shm else TCP, shm=shm)
    one = client(address)
    window(count=200)
    until(lambda: len(one.items) == 200)
    assert one.indices == list(range(200))
    assert [item["btseq"] for item in one.items] == list(range(200))
    for index, item in enumerate(one.items):
        assert_sample(item, index)
    stats = wait_for(hub, lambda stats: stats.sent == 200)
    assert (stats.address, stats.clients, stats.next_index, stats.waiting) == (address, 1, 200, 0)
    assert stats.window_per_s > 20
    assert stats.workers_per_s == 0
    assert stats.images_per_s == pytest.approx(stats.window_per_s)
    assert (stats.stream_error, stats.recording_error, stats.workers_error) == (None, None, None)


def test_two_clients_share_the_samples(hub, window, client) -> None:
    address = hub.open_stream(TCP)
    both = [client(address), client(address)]
    wait_for(hub, lambda stats: stats.clients == 2)
    window(count=100)
    until(lambda: sum(len(one.items) for one in both) == 100)
    assert sorted(both[0].indices + both[1].indices) == list(range(100))


def test_nothing_is_wanted_until_a_client_is_there(hub, window, client) -> None:
    assert not hub.wants_sample()
    address = hub.open_stream(TCP)
    making = window(count=5)
    time.sleep(0.2)
    assert making.put == 0
    one = client(address)
    until(lambda: len(one.items) == 5)
    assert one.indices == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shm", [True, False])
def test_a_client_that_does_not_read_holds_the_window_up(hub, window, client, shm) -> None:
    one = client(hub.open_stream(TCP, shm=shm), queue_size=2)
    making = window()
    until(lambda: len(one.items) > 3)
    one.paused.set()
    last = -1
    while last != making.put:
        last = making.put
        time.sleep(0.3)
    assert not hub.wants_sample()
    assert hub.stats().waiting >= 1
    assert last - len(one.items) < 40
    one.paused.clear()
    until(lambda: len(one.items) > last + 20)
    assert one.indices == list(range(len(one.items)))


def test_a_client_that_vanishes_is_noticed_and_the_next_one_goes_on(hub, window, client) -> None:
    address = hub.open_stream(TCP)
    script = (
        "import sys, time\nfrom blendtorch.wire.sample_receiver import SampleReceiver\n"
        f"receiver = SampleReceiver([{address!r}])\n"
        "group = receiver.receive(1, 20)\ngroup.release()\nprint('there', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        making = window()
        assert other.stdout
        assert other.stdout.readline() == b"there\n"
        assert hub.stats().clients == 1
        other.kill()
    wait_for(hub, lambda stats: stats.clients == 0)
    one = client(address)
    until(lambda: len(one.items) > 20)
    making.close()
    assert one.indices == sorted(set(one.indices))


@pytest.mark.parametrize("shm", [True, False])
def test_a_client_that_comes_again_gets_lower_indices_too(hub, client, shm) -> None:
    # Of workers that are slower: that they are lower does not tell that they were delivered.
    address = hub.open_stream(TCP, shm=shm)

    def put(indices: list[int]) -> None:
        for index in indices:
            until(hub.wants_sample)
            hub.put(index, {"a": index})

    before = client(address)
    put([0, 1, 2, 10])
    until(lambda: len(before.items) == 4)
    before.close()
    wait_for(hub, lambda stats: stats.clients == 0)
    again = client(address, owed=[(4, 10, 1)], streams=[before._receiver.sources[0].stream])
    put([3, 4, 5, 10, 11])
    until(lambda: 11 in again.indices)
    assert again.indices == [3, 4, 5, 10, 11]
    assert [item["btseq"] for item in again.items] == [4, 5, 6, 7, 8]
    assert hub.stats().sent == 9


def test_the_end_is_told_and_the_same_port_can_be_opened_again_at_once(hub, window, client) -> None:
    address = hub.open_stream(TCP)
    one = client(address)
    window(count=3)
    until(lambda: len(one.items) == 3)
    hub.close_stream()
    hub.close_stream()
    assert hub.stats().address is None
    assert hub.open_stream(address) == address
    until(lambda: one.ended)
    again = client(address)
    window(first=3, count=3)
    until(lambda: len(again.items) == 3)
    assert again.indices == [3, 4, 5]
    assert hub.stats().sent == 3


def test_what_waits_at_the_end_still_arrives(hub, window, client) -> None:
    one = client(hub.open_stream(TCP))
    window(count=1)
    until(lambda: len(one.items) == 1)
    one.paused.set()
    window(first=1, count=4)
    wait_for(hub, lambda stats: stats.sent == 5)
    one.paused.clear()
    hub.close()
    until(lambda: one.ended)
    assert one.indices == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shm", [True, False])
def test_what_was_just_sent_counts_as_waiting_until_it_is_taken(client, shm) -> None:
    # Whoever ends the stream when nothing waits relies on it: the client may be slow.
    sink = StreamSink(SampleSender(TCP, 3, shm_bytes=DEFAULT_SHM_BYTES if shm else 0))
    try:
        one = client(sink.address)
        until(sink.has_room)
        one.paused.set()
        time.sleep(0.1)
        assert sink.has_room()
        assert sink.waiting == 0
        assert sink.send(Sample(0, 0, fields(0), lambda: None))
        assert sink.waiting == 1
        one.paused.clear()
        until(lambda: sink.has_room() and sink.waiting == 0)
        assert one.indices == [0]
    finally:
        sink.close(0.1)


def test_samples_of_an_index_are_counted(hub, window, client) -> None:
    one = client(hub.open_stream(TCP))
    window(count=12, per_index=3)
    until(lambda: len(one.items) == 12)
    assert one.indices == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert one.dones == [item["rank"] for item in one.items] == [0, 1, 2] * 4


class Interrupted(HandOver):
    """Stops the hub's thread when it has looked for the first time, and when it has taken a sample."""

    def __init__(self) -> None:
        super().__init__(2)
        self.looked, self.look_on, self.taken, self.go_on = (threading.Event() for _ in range(4))

    def __len__(self) -> int:
        count = super().__len__()
        if threading.current_thread().name in hub_threads() and not self.looked.is_set():
            self.looked.set()
            self.look_on.wait(WAIT_S)
        return count

    def take(self) -> Sample | None:
        sample = super().take()
        if sample is not None:
            self.taken.set()
            self.go_on.wait(WAIT_S)
        return sample


def test_a_sample_on_its_way_counts_as_waiting_whenever_it_was_put(hub, tmp_path) -> None:
    # Whoever ends everything when nothing waits would lose it.
    window = hub._pump.window = Interrupted()
    hub.start_recording(RecordingSettings(tmp_path / "out"))
    assert window.looked.wait(WAIT_S)
    hub.put(0, {"a": 0})
    assert hub.stats().waiting == 1
    window.look_on.set()
    assert window.taken.wait(WAIT_S)
    assert hub.stats().waiting == 1
    window.go_on.set()
    wait_for(hub, lambda stats: stats.waiting == 0)
    assert hub.stats().recorded == 1


def test_a_port_that_is_taken_is_told(hub) -> None:
    taken = SampleHub()
    try:
        address = taken.open_stream(TCP)
        with pytest.raises(AddressError, match="Another process listens there"):
            hub.open_stream(address)
    finally:
        taken.close()
    assert hub.stats() == HubStats()
    assert hub.open_stream(TCP)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("tcp://127.0.0.1:70000", AddressError, "Expected tcp://HOST:PORT"),
        ("nonsense", AddressError, "Expected tcp://HOST:PORT"),
        ("tcp://0.0.0.0:*", ConfigError, "no keys"),
    ],
)
def test_an_address_that_cannot_be_bound_is_told(hub, address, error, message) -> None:
    with pytest.raises(error, match=message):
        hub.open_stream(address)


def test_with_keys_other_machines_are_let_in(hub, window, client) -> None:
    keys = CurveKeys.generate()
    address = hub.open_stream("tcp://0.0.0.0:*", curve=keys.for_instances())
    one = client(address.replace("0.0.0.0", "127.0.0.1"), curve=keys.for_clients())
    window(count=3)
    until(lambda: len(one.items) == 3)


def test_a_field_that_cannot_be_sent_is_told_and_the_stream_goes_on(hub, client) -> None:
    one = client(hub.open_stream(TCP))
    until(hub.wants_sample)
    hub.put(0, {"image": np.zeros(3), "hook": object()})
    stats = wait_for(hub, lambda stats: stats.stream_error is not None)
    assert "hook" in stats.stream_error
    until(hub.wants_sample)
    hub.put(1, {"image": np.zeros(3)})
    until(lambda: len(one.items) == 1)
    assert one.indices == [1]


def test_misuse_is_refused(hub, client) -> None:
    with pytest.raises(ConfigError, match="queue_size is 0"):
        hub.open_stream(TCP, queue_size=0)
    for index in (-1, 1.5, True, 2**60):
        with pytest.raises(ConfigError, match="index is"):
            hub.put(index, {})
    with pytest.raises(ConfigError, match="field name 'btseq' is taken"):
        hub.put(0, {"btseq": 1})
    hub.put(0, {"a": 1})
    hub.put(1, {"a": 1})
    with pytest.raises(ConfigError, match=r"Expected put\(\) where wants_sample\(\) is true"):
        hub.put(2, {"a": 1})
    hub.open_stream(TCP)
    with pytest.raises(ConfigError, match="a stream is open at tcp"):
        hub.open_stream(TCP)


def test_a_closed_hub_refuses_everything(hub) -> None:
    hub.close()
    hub.close()
    hub.close_stream()
    hub.stop_recording()
    hub.remove_workers()
    assert not hub.wants_sample()
    for work in (lambda: hub.open_stream(TCP), lambda: hub.put(0, {}), lambda: hub.add_workers([])):
        with pytest.raises(ConfigError, match="closed"):
            work()
    assert hub.stats() == HubStats()


def test_an_idle_hub_uses_hardly_any_time(hub) -> None:
    hub.open_stream(TCP)
    time.sleep(0.1)
    used = time.process_time()
    time.sleep(1)
    assert time.process_time() - used < 0.2


def test_a_hub_that_nobody_closes_ends_with_the_interpreter(tmp_path: Path) -> None:
    script = (
        "import numpy as np\nfrom blendtorch.hub import SampleHub\nfrom blendtorch.recording import RecordingSettings\n"
        f"hub = SampleHub()\nhub.open_stream('tcp://127.0.0.1:*')\n"
        f"hub.start_recording(RecordingSettings({str(tmp_path / 'out')!r}))\n"
        "while not hub.wants_sample(): pass\n"
        "hub.put(0, {'image': np.zeros((64, 64))})\nwhile not hub.stats().recorded: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=30, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.suffix for path in (tmp_path / "out").iterdir() if "partial" in path.name] == []


def test_an_index_may_have_more_samples_than_another(hub, client) -> None:
    one = client(hub.open_stream(TCP))
    for index in (0, 0, 0, 1, 2, 2):
        until(hub.wants_sample)
        hub.put(index, {"a": index})
    until(lambda: len(one.items) == 6)
    assert one.dones == [0, 1, 2, 0, 0, 1]
