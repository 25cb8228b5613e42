"""`RemoteIterableDataset` against instances that speak only the wire: the stream, its workers, and its failures."""

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zmq
from instances import TRANSPORTS, FakeInstance
from torch.utils.data import DataLoader

from blendtorch.btt import RemoteIterableDataset
from blendtorch.errors import (
    BlendTorchError,
    ConfigError,
    PeerTimeout,
    PickleNotAllowedError,
    ProtocolVersionError,
    ScriptError,
)
from blendtorch.wire import Kind, Message, encode
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

Frames = list[bytes]
Start = Callable[..., FakeInstance]


def fields(number: int, **more: Any) -> dict[str, Any]:
    return {"image": np.full((2, 3), number % 256, np.uint8), "number": number, **more}


def endless() -> Iterator[dict[str, Any]]:
    return map(fields, itertools.count())


def numbers(items: Iterable[dict]) -> list[int]:
    return [item["number"] for item in items]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_sample_is_a_dict_of_the_fields_and_where_it_comes_from(instance: Start, transport: str) -> None:
    samples = [(5, fields(3, name="cube")), (5, fields(4))]
    one, other = RemoteIterableDataset(instance(samples, transport, epoch=2).address)
    assert set(one) == {"image", "number", "name", "btid", "btepoch", "btseq", "btindex"}
    assert (one["number"], one["name"]) == (3, "cube")
    assert [one[name] for name in ("btid", "btepoch", "btseq", "btindex")] == [7, 2, 0, 5]
    assert [other[name] for name in ("btid", "btepoch", "btseq", "btindex")] == [7, 2, 1, 5]
    assert one["image"].tolist() == [[3, 3, 3], [3, 3, 3]]
    assert one["image"].flags.writeable
    assert one["image"].flags.c_contiguous


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("workers", [0, 1])
def test_one_reader_gets_each_sample_once_and_in_order(instance: Start, transport: str, workers: int) -> None:
    dataset = RemoteIterableDataset(instance(endless(), transport).address, max_items=50)
    assert numbers(DataLoader(dataset, batch_size=None, num_workers=workers)) == list(range(50))


def with_worker(item: dict) -> dict:
    return {**item, "worker": torch.utils.data.get_worker_info().id}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_three_workers_share_max_items_and_repeat_nothing(instance: Start, transport: str) -> None:
    dataset = RemoteIterableDataset(instance(endless(), transport).address, max_items=50, item_transform=with_worker)
    items = list(DataLoader(dataset, batch_size=None, num_workers=3))
    by_worker = [[item["number"] for item in items if item["worker"] == worker] for worker in range(3)]
    assert [len(mine) for mine in by_worker] == [17, 17, 16]
    assert len(set(numbers(items))) == 50
    assert all(mine == sorted(mine) for mine in by_worker)


# Not tcp with workers: forked from here they inherit the ports, and nobody could stand in for who has ended.
@pytest.mark.parametrize(("transport", "workers"), [("shm", 0), ("ipc", 0), ("tcp", 0), ("shm", 2), ("ipc", 2)])
def test_the_iteration_ends_when_all_scripts_have_ended(instance: Start, transport: str, workers: int) -> None:
    counts = (30, 0, 45)
    addresses = [instance(map(fields, range(n)), transport, btid=i).address for i, n in enumerate(counts)]
    items = list(DataLoader(RemoteIterableDataset(addresses), batch_size=None, num_workers=workers))
    for btid, count in enumerate(counts):
        mine = [item for item in items if item["btid"] == btid]
        assert sorted(numbers(mine)) == list(range(count))
        assert sorted(item["btseq"] for item in mine) == list(range(count))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost_between_iterations(instance: Start, transport: str) -> None:
    dataset = RemoteIterableDataset(instance(map(fields, range(40)), transport).address, max_items=13, queue_size=4)
    assert [numbers(dataset) for _ in range(4)] == [list(range(i, min(i + 13, 40))) for i in (0, 13, 26, 39)]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_nothing_is_lost_by_workers_that_have_had_their_share(instance: Start, transport: str) -> None:
    """What is on its way to a worker that ends goes to others, or to the next iteration.

    By message an iteration may be shorter once the script has ended: a worker ends that finds all on its way to others.
    """
    address = instance(map(fields, range(50)), transport, linger_s=60).address
    dataset = RemoteIterableDataset(address, max_items=20, queue_size=2)
    got: list[list[int]] = []
    while sum(map(len, got)) < 50 and len(got) < 10:
        got.append(numbers(DataLoader(dataset, batch_size=None, num_workers=3)))
    assert [len(part) for part in got[:3]] == [20, 20, 10] if transport == "shm" else len(got[0]) == 20
    assert sorted(itertools.chain(*got)) == list(range(50))


def test_an_iteration_that_is_broken_off_takes_no_more_than_it_has_yielded(instance: Start) -> None:
    dataset = RemoteIterableDataset(instance(map(fields, range(20))).address)
    for item in dataset:
        if item["number"] == 8:
            break
    assert numbers(dataset) == list(range(9, 20))


def test_fewer_items_than_workers(instance: Start) -> None:
    dataset = RemoteIterableDataset(instance(endless()).address, max_items=1)
    assert len(list(DataLoader(dataset, batch_size=None, num_workers=2))) == 1


def test_batches_are_tensors(instance: Start) -> None:
    dataset = RemoteIterableDataset(instance(endless()).address, max_items=8)
    first, second = DataLoader(dataset, batch_size=4, num_workers=1)
    assert first["image"].shape == (4, 2, 3)
    assert first["image"].dtype == torch.uint8
    assert torch.cat([first["number"], second["number"]]).tolist() == list(range(8))
    assert torch.cat([first["btseq"], second["btseq"]]).tolist() == list(range(8))


def test_without_max_items_the_stream_does_not_end(instance: Start) -> None:
    dataset = RemoteIterableDataset(instance(endless()).address)
    assert numbers(itertools.islice(dataset, 200)) == list(range(200))


def test_no_items_need_no_publisher() -> None:
    assert list(RemoteIterableDataset("ipc:///tmp/blendtorch-nobody", max_items=0)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_the_transform_runs_where_the_sample_is_received(instance: Start, workers: int) -> None:
    dataset = RemoteIterableDataset(
        instance(endless()).address, max_items=3, item_transform=lambda item: (item["number"] * 10, os.getpid())
    )
    got = list(DataLoader(dataset, batch_size=None, num_workers=workers))
    assert [value for value, _ in got] == [0, 10, 20]
    assert {pid == os.getpid() for _, pid in got} == {workers == 0}


def test_several_publishers_are_all_heard(instance: Start) -> None:
    addresses = [instance(endless(), btid=btid).address for btid in range(2)]
    items = numbers(RemoteIterableDataset(addresses, max_items=100))
    assert max(items.count(number) for number in items) == 2


def sample(seq: int, **more: Any) -> Frames:
    message = Message(Kind.SAMPLE, fields(seq, **more), btid=7, seq=seq, index=seq)
    return [bytes(frame) for frame in encode(message, allow_pickle=True)]


GARBAGE = {
    "junk": [b"junk"],
    "no sample": encode(Message(Kind.HELLO, {})),
    "no dict": encode(Message(Kind.SAMPLE, [1])),
    "unknown kind": encode(Message("x" * 1000, {})),
    "truncated": sample(0)[:-1],
    "foreign memory": encode(Message(Kind.WELCOME, {"stream": "s", "path": "/etc/passwd", "token": 1}, btid=7)),
}


def speak(address: str, messages: list[Frames], ready: threading.Event, done: threading.Event) -> None:
    """Sends the first one who says that it is ready what it is given, well-formed or not."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(address)
        ready.set()
        while not socket.poll(20) and not done.is_set():
            pass
        if not done.is_set():
            peer = socket.recv_multipart()[0]
            for frames in messages:
                socket.send_multipart([peer, *frames])
        done.wait()
        socket.close(linger=0)


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[Callable[[list[Frames]], str]]:
    """Starts a peer that says what it is given, and returns its address."""
    done, threads = threading.Event(), []

    def start(messages: list[Frames]) -> str:
        address, ready = f"ipc://{tmp_path}/raw{len(threads)}", threading.Event()
        threads.append(threading.Thread(target=speak, args=(address, messages, ready, done)))
        threads[-1].start()
        assert ready.wait(10)
        return address

    yield start
    done.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_between_is_refused_and_the_stream_goes_on(
    name: str, speaker: Callable[[list[Frames]], str], caplog: pytest.LogCaptureFixture
) -> None:
    messages = [GARBAGE[name], sample(0), GARBAGE[name], GARBAGE[name], sample(1)]
    with caplog.at_level(logging.WARNING, "blendtorch"):
        assert numbers(RemoteIterableDataset(speaker(messages), max_items=2)) == [0, 1]
    refusals = [record.getMessage() for record in caplog.records]
    assert refusals
    assert all(refusal.startswith("refused a message") and len(refusal) < 500 for refusal in refusals)


# Torch takes 5 s to end each worker that has raised, whatever the dataset: no more of them than needed.
@pytest.mark.parametrize("workers", [0, 1])
def test_a_failed_script_raises_its_error_here(instance: Start, workers: int) -> None:
    dataset = RemoteIterableDataset(instance([], then="error").address, timeoutms=20_000)
    with pytest.raises(ScriptError) as caught:
        list(DataLoader(dataset, batch_size=None, num_workers=workers))
    for part in ("Blender instance 7 failed: ValueError: boom", "line 1 of cube.py"):
        assert part in str(caught.value)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_samples_before_the_failure_arrive(instance: Start, transport: str) -> None:
    items = iter(RemoteIterableDataset(instance(map(fields, range(9)), transport, then="error").address))
    assert numbers(itertools.islice(items, 9)) == list(range(9))
    with pytest.raises(ScriptError):
        next(items)


@pytest.mark.parametrize("workers", [0, 1])
def test_silence_raises_in_time_and_names_the_addresses(instance: Start, workers: int) -> None:
    addresses = [instance(n * [fields(0)], btid=n, then="stay").address for n in range(2)]
    dataset = RemoteIterableDataset(addresses, timeoutms=300)
    items = iter(DataLoader(dataset, batch_size=None, num_workers=workers))
    assert next(items)["number"] == 0
    started = time.monotonic()
    with pytest.raises(PeerTimeout, match=r"for 0\.3 s") as caught:
        next(items)
    assert time.monotonic() - started < 5
    assert all(address in str(caught.value) for address in addresses)


# What no waiting helps against: the message, the error, what it says.
HOPELESS = {
    "another version": (
        [sample(0)[0].replace(b'"version":1', b'"version":2'), *sample(0)[1:]],
        ProtocolVersionError,
        "same version",
    ),
    "a pickle": (sample(0, tags={1}), PickleNotAllowedError, r"body\['tags'\]"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_no_waiting_helps_against_is_raised(name: str, speaker: Callable[[list[Frames]], str]) -> None:
    message, kind, words = HOPELESS[name]
    dataset = RemoteIterableDataset(speaker([message]), timeoutms=20_000)
    with pytest.raises(kind, match=words):
        list(dataset)


@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_pickles_are_loaded_where_allowed(instance: Start, transport: str) -> None:
    samples = [fields(0, tags={1, 2})]
    dataset = RemoteIterableDataset(
        instance(samples, transport, allow_pickle=True).address, max_items=1, allow_pickle=True
    )
    assert next(iter(dataset))["tags"] == {1, 2}


@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_pickles_are_refused_where_not_allowed(instance: Start, transport: str) -> None:
    address = instance([fields(0, tags={1, 2})], transport, allow_pickle=True).address
    with pytest.raises(PickleNotAllowedError, match=r"body\['tags'\]"):
        list(RemoteIterableDataset(address, timeoutms=20_000))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"addresses": []}, "addresses is empty"),
        ({"addresses": "tcp://127.0.0.1:1", "max_items": -1}, "max_items is -1"),
        ({"addresses": "tcp://127.0.0.1:1", "queue_size": 0}, "queue_size is 0"),
        ({"addresses": "tcp://127.0.0.1:1", "timeoutms": 0}, "timeoutms 0"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RemoteIterableDataset(**options)


def test_a_malformed_address_is_refused() -> None:
    with pytest.raises(BlendTorchError, match="cannot connect to nonsense"):
        next(iter(RemoteIterableDataset("nonsense")))
