"""`RemoteIterableDataset` against a publisher that speaks only the wire: the stream, its workers, and its failures."""

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

Frames = list[bytes]
Publish = Callable[..., str]


def sample(seq: int, **fields: Any) -> Frames:
    fields = {"image": np.full((2, 3), seq % 256, np.uint8), "seq": seq, **fields}
    return encode(Message(Kind.SAMPLE, fields, btid=7, seq=seq), allow_pickle=True)


def endless() -> Iterator[Frames]:
    return map(sample, itertools.count())


def error() -> Frames:
    return encode(Message(Kind.ERROR, {"error": "ValueError: boom", "traceback": "line 1 of cube.py"}, btid=7))


def serve(address: str, messages: Iterable[Frames], ready: threading.Event, done: threading.Event) -> None:
    """Sends what it is given, well-formed or not, until that or the test has ended."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.SNDHWM, 5)
        socket.bind(address)
        ready.set()
        for frames in messages:
            while not done.is_set():
                try:
                    socket.send_multipart(frames, zmq.NOBLOCK)
                    break
                except zmq.Again:  # nobody is there, or has room
                    socket.poll(20, zmq.POLLOUT)
            if done.is_set():
                break
        done.wait()
        socket.close(linger=0)


@pytest.fixture
def publish(tmp_path: Path) -> Iterator[Publish]:
    """Starts a publisher of the given messages and returns its address."""
    done = threading.Event()
    threads: list[threading.Thread] = []

    def start(messages: Iterable[Frames]) -> str:
        address, ready = f"ipc://{tmp_path}/{len(threads)}", threading.Event()
        threads.append(threading.Thread(target=serve, args=(address, messages, ready, done)))
        threads[-1].start()
        assert ready.wait(10)
        return address

    yield start
    done.set()
    for thread in threads:
        thread.join()


def sequence(items: Iterable[dict]) -> list[int]:
    return [item["seq"] for item in items]


def test_a_sample_is_a_dict_of_the_fields_and_the_id(publish: Publish) -> None:
    (item,) = RemoteIterableDataset(publish([sample(3, name="cube")]), max_items=1)
    assert set(item) == {"image", "seq", "name", "btid"}
    assert (item["seq"], item["name"], item["btid"]) == (3, "cube", 7)
    assert item["image"].tolist() == [[3, 3, 3], [3, 3, 3]]
    assert item["image"].flags.writeable


@pytest.mark.parametrize("workers", [0, 1])
def test_one_reader_gets_each_sample_once_and_in_order(publish: Publish, workers: int) -> None:
    dataset = RemoteIterableDataset(publish(endless()), max_items=50)
    assert sequence(DataLoader(dataset, batch_size=None, num_workers=workers)) == list(range(50))


def with_worker(item: dict) -> dict:
    return {**item, "worker": torch.utils.data.get_worker_info().id}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_three_workers_share_max_items_and_repeat_nothing(publish: Publish) -> None:
    dataset = RemoteIterableDataset(publish(endless()), max_items=50, item_transform=with_worker)
    items = list(DataLoader(dataset, batch_size=None, num_workers=3))
    by_worker = [[item["seq"] for item in items if item["worker"] == worker] for worker in range(3)]
    assert [len(mine) for mine in by_worker] == [17, 17, 16]
    assert len(set(sequence(items))) == 50
    assert all(mine == sorted(mine) for mine in by_worker)


def test_fewer_items_than_workers(publish: Publish) -> None:
    dataset = RemoteIterableDataset(publish(endless()), max_items=1)
    assert len(list(DataLoader(dataset, batch_size=None, num_workers=2))) == 1


def test_batches_are_tensors(publish: Publish) -> None:
    dataset = RemoteIterableDataset(publish(endless()), max_items=8)
    first, second = DataLoader(dataset, batch_size=4, num_workers=1)
    assert first["image"].shape == (4, 2, 3)
    assert first["image"].dtype == torch.uint8
    assert torch.cat([first["seq"], second["seq"]]).tolist() == list(range(8))


def test_without_max_items_the_stream_does_not_end(publish: Publish) -> None:
    dataset = RemoteIterableDataset(publish(endless()))
    assert sequence(itertools.islice(dataset, 200)) == list(range(200))


def test_no_items_need_no_publisher() -> None:
    assert list(RemoteIterableDataset("ipc:///tmp/blendtorch-nobody", max_items=0)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_the_transform_runs_where_the_sample_is_received(publish: Publish, workers: int) -> None:
    dataset = RemoteIterableDataset(
        publish(endless()), max_items=3, item_transform=lambda item: (item["seq"] * 10, os.getpid())
    )
    got = list(DataLoader(dataset, batch_size=None, num_workers=workers))
    assert [value for value, _ in got] == [0, 10, 20]
    assert {pid == os.getpid() for _, pid in got} == {workers == 0}


def test_several_publishers_are_all_heard(publish: Publish) -> None:
    addresses = [publish(endless()), publish(endless())]
    items = sequence(RemoteIterableDataset(addresses, max_items=100))
    assert max(items.count(seq) for seq in items) == 2


GARBAGE = {
    "junk": [b"junk"],
    "no sample": encode(Message(Kind.HELLO, {})),
    "no dict": encode(Message(Kind.SAMPLE, [1])),
    "unknown kind": encode(Message("x" * 1000, {})),
    "truncated": [bytes(frame) for frame in sample(0)][:-1],
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_between_is_refused_and_the_stream_goes_on(
    name: str, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [GARBAGE[name], sample(0), GARBAGE[name], GARBAGE[name], sample(1)]
    with caplog.at_level(logging.WARNING, "blendtorch"):
        assert sequence(RemoteIterableDataset(publish(messages), max_items=2)) == [0, 1]
    refusals = [record.getMessage() for record in caplog.records]
    assert len(refusals) == 3
    assert all(refusal.startswith("refused a message") and len(refusal) < 500 for refusal in refusals)


# Torch takes 5 s to end each worker that has raised, whatever the dataset: no more of them than needed.
@pytest.mark.parametrize("workers", [0, 1])
def test_a_failed_script_raises_its_error_here(publish: Publish, workers: int) -> None:
    dataset = RemoteIterableDataset(publish([error()] * 10), timeoutms=20_000)
    with pytest.raises(ScriptError) as caught:
        list(DataLoader(dataset, batch_size=None, num_workers=workers))
    for part in ("Blender instance 7 failed: ValueError: boom", "line 1 of cube.py"):
        assert part in str(caught.value)


def test_samples_before_the_failure_arrive(publish: Publish) -> None:
    items = iter(RemoteIterableDataset(publish([sample(0), sample(1), error()])))
    assert [next(items)["seq"], next(items)["seq"]] == [0, 1]
    with pytest.raises(ScriptError):
        next(items)


@pytest.mark.parametrize("workers", [0, 1])
def test_silence_raises_in_time_and_names_the_addresses(publish: Publish, workers: int) -> None:
    addresses = [publish([]), publish([sample(0)])]
    dataset = RemoteIterableDataset(addresses, timeoutms=300)
    items = iter(DataLoader(dataset, batch_size=None, num_workers=workers))
    assert next(items)["seq"] == 0
    started = time.monotonic()
    with pytest.raises(PeerTimeout, match=r"for 0\.3 s") as caught:
        next(items)
    assert time.monotonic() - started < 5
    assert all(address in str(caught.value) for address in addresses)


# What no waiting helps against: the message, the error, what it says.
HOPELESS = {
    "another version": ([sample(0)[0].replace(b'"version":1', b'"version":2')], ProtocolVersionError, "same version"),
    "a pickle": ([bytes(frame) for frame in sample(0, tags={1})], PickleNotAllowedError, r"body\['tags'\]"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_no_waiting_helps_against_is_raised(name: str, publish: Publish) -> None:
    message, kind, words = HOPELESS[name]
    dataset = RemoteIterableDataset(publish([message]), timeoutms=20_000)
    with pytest.raises(kind, match=words):
        list(dataset)


def test_pickles_are_loaded_where_allowed(publish: Publish) -> None:
    dataset = RemoteIterableDataset(publish([sample(0, tags={1, 2})]), max_items=1, allow_pickle=True)
    assert next(iter(dataset))["tags"] == {1, 2}


def test_a_second_iteration_connects_anew(publish: Publish) -> None:
    dataset = RemoteIterableDataset(publish(endless()), max_items=3)
    assert sequence(dataset) == [0, 1, 2]
    assert min(sequence(dataset)) > 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"addresses": []}, "addresses is empty"),
        ({"addresses": "tcp://127.0.0.1:1", "max_items": -1}, "max_items is -1"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RemoteIterableDataset(**options)


def test_a_malformed_address_is_refused() -> None:
    with pytest.raises(BlendTorchError, match="cannot connect to nonsense"):
        next(iter(RemoteIterableDataset("nonsense")))
