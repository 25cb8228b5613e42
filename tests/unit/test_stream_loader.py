"""`StreamLoader` against instances that speak only the wire: what a batch is, loops, ends, errors, accounts."""

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from instances import TRANSPORTS
from loader_samples import Start, fields, numbers, samples, threads
from torch.utils.data import default_collate

from blendtorch.btt import StreamLoader
from blendtorch.errors import ConfigError, PeerTimeout, PickleNotAllowedError, ScriptError
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

# What batches are

DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int64")
DTYPES += ("float16", "float32", "float64", "complex64", "complex128")
ALIKE: dict[str, Callable[[int], Any]] = {
    "bool": lambda i: i % 2 == 0,
    "int": lambda i: i - 1,
    "float": lambda i: i / 3,
    **{f"numpy {name}": lambda i, name=name: np.dtype(name).type(i) for name in ("bool", "int16", "int64", "float32")},
    **{f"array of {name}": lambda i, name=name: np.arange(i, i + 6).reshape(2, 3).astype(name) for name in DTYPES},
    "array without axes": lambda i: np.array(i, np.int32),
    "empty array": lambda i: np.zeros((0, 3), np.float32),
    "strings": lambda i: f"cube {i}",
}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_batch_is_what_a_data_loader_makes_of_its_samples(instance: Start, transport: str) -> None:
    made = [{name: value(i) for name, value in ALIKE.items()} for i in range(4)]
    with StreamLoader(instance(made, transport).address, 4) as loader:
        (batch,) = loader
    expected = default_collate(made)
    assert batch.keys() - expected.keys() == {"btid", "btepoch", "btseq", "btindex"}
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert batch[name].dtype == value.dtype, name
            assert batch[name].shape == value.shape, name
            assert batch[name].numpy().tobytes() == value.numpy().tobytes(), name
        else:
            assert batch[name] == value


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_does_not_stack_is_a_list(instance: Start, transport: str) -> None:
    made = [
        {"size": np.zeros((2, 3), np.uint8), "kind": 1, "some": 0.5, "one": 1, "huge": 2**70, "big": 2**63, "tags": {}},
        {"size": np.zeros((2, 4), np.uint8), "kind": 1.5, "other": 2, "one": 2, "huge": 1, "big": -1, "tags": {"a": 1}},
        {"size": np.zeros((2, 3), np.uint8), "kind": True, "some": 2.5, "other": 3, "huge": 2, "big": 0, "tags": {}},
    ]
    with StreamLoader(instance(made, transport).address, 3) as loader:
        (batch,) = loader
    assert [image.shape for image in batch["size"]] == [(2, 3), (2, 4), (2, 3)]
    assert all(image.dtype == torch.uint8 for image in batch["size"])
    for name in ("kind", "some", "other", "one", "huge", "big", "tags"):
        expected = [sample.get(name) for sample in made]
        assert batch[name] == expected
        assert list(map(type, batch[name])) == list(map(type, expected)), name


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_batches_tell_where_their_samples_come_from(instance: Start, transport: str) -> None:
    made = [(i // 2, fields(i)) for i in range(6)]
    with StreamLoader(instance(made, transport, epoch=3).address, 6) as loader:
        (batch,) = loader
    for name, expected in [
        ("btid", [7] * 6),
        ("btepoch", [3] * 6),
        ("btseq", range(6)),
        ("btindex", [0, 0, 1, 1, 2, 2]),
    ]:
        assert batch[name].dtype == torch.int64
        assert batch[name].tolist() == list(expected)


def test_every_batch_of_a_changing_stream_is_right(instance: Start) -> None:
    """Also those that are put together of samples of several layouts, from several instances."""

    def changing(btid: int) -> Iterator[dict[str, Any]]:
        for i in range(101):
            number = 1000 * btid + i
            more = {"tag": str(number)} if i % 7 < 2 else {"mask": np.full(3, number)} if i % 7 == 3 else {}
            yield {"image": np.full((1 + (i // 20) % 2, 2), number), "number": number, **more}

    addresses = [instance(changing(btid), btid=btid).address for btid in range(2)]
    seen = []
    with StreamLoader(addresses, 8) as loader:
        for batch in loader:
            for i, number in enumerate(batch["number"].tolist()):
                seen.append(number)
                assert (batch["image"][i] == number).all()
                assert batch["btid"][i] * 1000 + batch["btseq"][i] == number
                kind = number % 1000 % 7
                assert (batch["tag"][i] == str(number)) if kind < 2 else (batch.get("tag", [None] * 8)[i] is None)
                assert (batch["mask"][i] == number).all() if kind == 3 else batch.get("mask", [None] * 8)[i] is None
    assert sorted(seen) == [*range(101), *range(1000, 1101)]


# Loops and ends


@pytest.mark.parametrize("drop_last", [False, True])
def test_the_last_batch_may_be_smaller(instance: Start, drop_last: bool) -> None:
    with StreamLoader(instance(samples(10)).address, 4, drop_last=drop_last) as loader:
        with pytest.raises(TypeError, match="without num_batches"):
            len(loader)
        got = list(loader)
        assert list(loader) == []
    assert [len(batch["number"]) for batch in got] == ([4, 4] if drop_last else [4, 4, 2])
    assert [batch["image"].shape[0] for batch in got] == ([4, 4] if drop_last else [4, 4, 2])


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("copy", [True, False])
def test_loops_over_one_loader_lose_nothing(instance: Start, transport: str, copy: bool) -> None:
    with StreamLoader(instance(samples(50), transport).address, 4, num_batches=3, copy=copy) as loader:
        assert len(loader) == 3
        got = [numbers(loader) for _ in range(3)]
        for batch in loader:
            got.append(numbers([batch]))
            break
        got += [numbers(loader), numbers(loader)]
        assert numbers(loader) == []
        assert loader.stats().received == 50
    assert [len(part) for part in got] == [12, 12, 12, 4, 10, 0]
    assert sum(map(len, got)) == 50
    assert list(itertools.chain(*got)) == list(range(50))


def test_no_batches_need_no_publisher() -> None:
    with StreamLoader("ipc:///tmp/blendtorch-nobody", num_batches=0) as loader:
        assert list(loader) == []


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("copy", [True, False])
def test_a_loader_that_is_closed_amid_a_loop_leaves_the_stream_to_the_next(
    instance: Start, transport: str, copy: bool
) -> None:
    started = instance(samples(), transport)
    seen: list[int] = []
    for _ in range(3):
        with StreamLoader(started.address, 4, copy=copy) as loader:
            for batch in loader:
                seen += numbers([batch])
                if len(seen) % 12 == 0:
                    break
            loader.close()
            assert threads() == []
        loader.close()
    assert len(seen) == 36
    assert seen == sorted(set(seen))  # what was prefetched is gone, nothing came twice


def test_a_loader_goes_on_after_close(instance: Start) -> None:
    started = instance(samples())
    loader = StreamLoader(started.address, 4, num_batches=2)
    first = numbers(loader)
    loader.close()
    second = numbers(loader)
    loader.close()
    assert first == list(range(8))
    assert second == list(range(second[0], second[0] + 8))
    assert second[0] >= 8


def test_a_sample_that_nobody_wants_yet_is_not_made(instance: Start) -> None:
    """What is ahead of the trainer is bounded, by shared memory and by message."""
    for transport, most in [("shm", 10 + (2 + 2) * 4), ("tcp", 10 + 10 + (2 + 2) * 4)]:
        started = instance(samples(), transport, queue_size=10, btid=len(transport))
        with StreamLoader(started.address, 4, prefetch=2) as loader:
            next(iter(loader))
            time.sleep(0.5)
            held_at = started.published
            time.sleep(0.3)
            assert started.published == held_at <= most + 4
            assert loader.stats().batches_ready == 2


def test_a_program_that_does_not_close_its_loader_ends(instance: Start) -> None:
    code = f"""
        from blendtorch.btt import StreamLoader
        print(next(iter(StreamLoader({instance(samples()).address!r})))["number"])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "tensor([0])\n", "")


# Order, and going on


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("copy", [True, False])
def test_by_index_the_stream_is_the_same_however_slow_an_instance_is(
    instance: Start, transport: str, copy: bool
) -> None:
    """Two samples an index; the one instance is slower."""

    def start(btid: int) -> str:
        made = [(index, fields(2 * index + i)) for index in range(btid, 40, 2) for i in range(2)]
        return instance(made, transport, btid=btid, delay_s=0.004 * btid).address

    with StreamLoader([start(0), start(1)], 8, order="index", copy=copy) as loader:
        assert numbers(loader) == list(range(80))


def made_from(btid: int, count: int) -> list[tuple[int, dict[str, Any]]]:
    return [(index, fields(3 * index + i)) for index in range(btid, count, 2) for i in range(3)]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("order", ["index", "arrival"])
def test_a_state_goes_on_where_it_was_taken(instance: Start, transport: str, order: str) -> None:
    """On other instances: they make everything again, and what was delivered does not come again."""

    def start(first: int) -> list[str]:
        return [instance(made_from(btid, 20), transport, btid=first + btid).address for btid in range(2)]

    with StreamLoader(start(0), 4, num_batches=5, order=order) as loader:
        before = numbers(loader)
        state = json.loads(json.dumps(loader.state_dict()))
        assert loader.state_dict() == state
        loader.num_batches = None
        expected = list(loader)
    with StreamLoader(start(2), 4, order=order) as loader:
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        got = list(loader)
    assert len(before) == 20
    assert sorted(before + numbers(got)) == list(range(60))
    if order == "index":
        assert numbers(got) == numbers(expected)
        for one, other in zip(got, expected, strict=True):
            for name in ("image", "btseq", "btindex"):
                assert torch.equal(one[name], other[name])


def test_states_that_do_not_fit_are_refused(instance: Start) -> None:
    with StreamLoader(instance(samples()).address) as loader:
        good = {"version": 1, "positions": [[0, 0, 0]], "batches": 0}
        positions: tuple[Any, ...] = ([[0, 0]], [[0, 0, 0, 0]], [0], [[0, -1, 0]], [[0, 1.0, 0]], [["1", 0, 0]])
        for state in (
            {},
            [],
            {**good, "version": 99},
            {name: good[name] for name in ("version", "positions")},
            *({**good, "batches": batches} for batches in (-1, 1.5, "3", None, True)),
            *({**good, "positions": wrong} for wrong in (*positions, [[2**64, 0, 0]], None)),
        ):
            with pytest.raises(ConfigError, match="not the state of a StreamLoader"):
                loader.load_state_dict(state)
        with pytest.raises(ConfigError, match="the state is of 2 instances, this loader has 1"):
            loader.load_state_dict({"version": 1, "positions": [[0, 0, 0]] * 2, "batches": 0})
        state = loader.state_dict()
        next(iter(loader))
        with pytest.raises(ConfigError, match="has begun already"):
            loader.load_state_dict(state)


def test_a_state_amid_an_iteration_goes_on_with_the_rest_of_it(instance: Start) -> None:
    made = [(i, fields(i)) for i in range(60)]
    with StreamLoader(instance(made, btid=0).address, 2, num_batches=5) as loader:
        assert len(numbers(loader)) == 10
        assert loader.state_dict()["batches"] == 0
        batches = iter(loader)
        assert numbers([next(batches), next(batches)]) == [10, 11, 12, 13]
        state = loader.state_dict()
        assert state["batches"] == 2
    with StreamLoader(instance(made, btid=1).address, 2, num_batches=5) as loader:
        loader.load_state_dict(state)
        assert numbers(loader) == list(range(14, 20))
        assert numbers(loader) == list(range(20, 30))


# Accounts and errors


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_account_adds_up_to_the_last_sample(instance: Start, transport: str) -> None:
    counts = (33, 8, 0)
    addresses = [instance(samples(n), transport, btid=i).address for i, n in enumerate(counts)]
    loader = StreamLoader(addresses, 4)
    assert (loader.stats().received, len(loader.stats().instances)) == (0, 3)
    with loader:
        taken = len(numbers(loader))
        stats = loader.stats()
    assert taken == sum(counts) == stats.received
    assert [one.received for one in stats.instances] == list(counts)
    assert (stats.lost, stats.duplicated, stats.refused, stats.restarts, stats.queued, stats.batches_ready) == (0,) * 6
    assert stats.trainer_waited_s > 0
    assert "\n" not in str(stats)
    assert str(stats).startswith("41 received, 0 lost, 0 duplicated, 0 refused, 0 restarts; ")
    assert loader.stats() == stats


@pytest.mark.parametrize("copy", [True, False])
def test_the_account_can_be_asked_for_at_any_time(instance: Start, copy: bool) -> None:
    """While the background thread changes what it is about, from one ring to the next."""

    def growing() -> Iterator[dict[str, Any]]:
        for i in range(300):
            yield {"image": np.zeros(1 + i // 10, np.uint8), "number": i, **({"tag": i} if i % 3 else {})}

    received, highest = [], 0
    with StreamLoader([instance(growing(), btid=i).address for i in range(2)], 4, copy=copy) as loader:
        done = threading.Event()
        thread = threading.Thread(target=lambda: (received.append(numbers(loader)), done.set()), daemon=True)
        thread.start()
        while not done.is_set():
            stats = loader.stats()
            assert (stats.lost, stats.duplicated, stats.refused) == (0, 0, 0)
            assert 0 <= stats.queued <= 600
            highest = max(highest, stats.queued)
        thread.join()
        assert loader.stats().received == len(received[0]) == 600
    assert highest > 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("copy", [True, False])
def test_what_came_and_was_not_delivered_is_counted(instance: Start, transport: str, copy: bool) -> None:
    with StreamLoader(instance(samples(200), transport).address, 4, copy=copy) as loader:
        batches = iter(loader)
        delivered = numbers([next(batches) for _ in range(3)])
        time.sleep(0.2)  # some are prefetched, and one is begun
    stats = loader.stats()
    assert stats.dropped >= 4
    assert stats.received == len(delivered) + stats.dropped
    with StreamLoader(instance(samples(10), transport, btid=8).address, 4, copy=copy, drop_last=True) as loader:
        assert len(list(loader)) == 2
        assert loader.stats().dropped == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_failed_script_raises_when_all_before_it_is_delivered(instance: Start, transport: str) -> None:
    seen = []
    with StreamLoader(instance(samples(9), transport, then="error").address, 4) as loader:
        with pytest.raises(ScriptError, match="ValueError: boom"):
            for batch in loader:
                seen += numbers([batch])
        with pytest.raises(ScriptError, match="ValueError: boom"):
            next(iter(loader))
    assert seen == list(range(8))
    assert threads() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_after_a_timeout_the_stream_goes_on_and_nothing_is_lost(instance: Start, transport: str) -> None:
    go = threading.Event()

    def hesitant() -> Iterator[dict[str, Any]]:
        yield from samples(6)
        go.wait(20)
        yield from map(fields, range(6, 12))

    seen = []
    with StreamLoader(instance(hesitant(), transport).address, 4, timeoutms=300) as loader:
        with pytest.raises(PeerTimeout, match=r"no sample came from .* for 0\.3 s"):
            for batch in loader:
                seen += numbers([batch])
        go.set()
        seen += numbers(loader)
    assert seen == list(range(12))


def test_pickles_are_refused_where_not_allowed(instance: Start) -> None:
    with StreamLoader(instance([{"tags": {1}}], allow_pickle=True).address) as loader:
        with pytest.raises(PickleNotAllowedError, match=r"body\['tags'\]"):
            next(iter(loader))


def test_ctrl_c_in_the_loop(instance: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Also while the trainer waits for a batch that does not come."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    with caplog.at_level(logging.WARNING, "blendtorch"):
        with StreamLoader(instance(samples(4), then="stay").address, 4) as loader:
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                list(loader)
    assert threads() == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"addresses": []}, "addresses is empty"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"prefetch": 0}, "prefetch is 0"),
        ({"queue_size": 0}, "queue_size is 0"),
        ({"num_batches": -1}, "num_batches is -1"),
        ({"timeoutms": 0}, "timeoutms is 0"),
        ({"order": "random"}, "order is 'random'"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        StreamLoader(**{"addresses": "tcp://127.0.0.1:1", **options})
