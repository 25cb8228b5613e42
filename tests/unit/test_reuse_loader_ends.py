"""`ReuseLoader`: the end of the stream, errors, and going on."""

import itertools
import json
import os
import signal
import threading
import time
from typing import Any

import pytest
from loader_samples import Start, fields, in_thread, numbers, samples
from reuse_streams import MakeTap, check, wait_for

from blendtorch.btt import StreamLoader
from blendtorch.btt.reuse_loader import ReuseLoader
from blendtorch.errors import ConfigError, PeerTimeout, ScriptError
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (4, [4]), (10, [4, 4, 4]), (12, [4, 4, 4])])
def test_the_end_of_the_stream_is_the_end(make_tap: MakeTap, count: int, sizes: list[int]) -> None:
    """However many recent ones there are; the last batch is filled up with them."""
    tap, address = make_tap()
    with StreamLoader(address, prefetch=4) as stream, ReuseLoader(stream, 4, reuse=4) as loader:
        batches, got = iter(loader), []
        for first in range(0, count, 4):
            fresh = min(4, count - first)
            tap.open(fresh)
            if fresh < 4:
                tap.close()
            if first:
                wait_for(fresh + (fresh < 4), loader)  # the end, too
            got.append(next(batches))
        tap.close()
        if count % 4 == 0 and count:
            wait_for(1, loader)
        assert next(batches, None) is None
        assert list(loader) == []
    assert [len(batch["number"]) for batch in got] == sizes
    assert not got or check(got, 4, 256) == count


def test_after_an_error_nothing_is_used_again(make_tap: MakeTap) -> None:
    tap, address = make_tap(then="error")
    with StreamLoader(address, prefetch=4) as stream, ReuseLoader(stream, 4, reuse=9) as loader:
        batches = iter(loader)
        for i in range(5):
            tap.open(4)
            if i:
                wait_for(4, loader)
            next(batches)
        tap.close()
        wait_for(1, loader)
        with pytest.raises(ScriptError, match="ValueError: boom"):
            next(batches)
        for _ in range(3):
            with pytest.raises(ScriptError, match="ValueError: boom"):
                next(iter(loader))


def test_a_failed_script_raises_when_all_before_it_is_delivered(instance: Start) -> None:
    got = []
    started = instance(samples(9), then="error")
    with StreamLoader(started.address, prefetch=4) as stream, ReuseLoader(stream, 4, reuse=2) as loader:
        with pytest.raises(ScriptError, match="ValueError: boom"):
            for batch in loader:
                got.append(batch)
        with pytest.raises(ScriptError, match="ValueError: boom"):
            next(iter(loader))
    assert check(got, 2, 256) == 9


def test_an_error_that_the_loop_did_not_wait_for_is_raised_by_the_next(instance: Start) -> None:
    def fail_at_six(batch: dict[str, Any]) -> Any:
        if batch["number"].item() == 6:
            raise RuntimeError("six")
        return batch

    with StreamLoader(instance(samples(8)).address, prefetch=4, transform=fail_at_six) as stream:
        loader = ReuseLoader(stream, 4, reuse=1, num_batches=2)
        assert numbers(loader) == [0, 1, 2, 3, 4, 5]
        with pytest.raises(RuntimeError, match="six"):
            next(iter(loader))
        assert numbers(loader) == [7]


def test_a_timeout_is_raised_also_where_recent_ones_are_left(make_tap: MakeTap) -> None:
    """And nothing is lost."""
    tap, address = make_tap()
    with StreamLoader(address, prefetch=4, timeoutms=300) as stream, ReuseLoader(stream, 4, reuse=50) as loader:
        tap.open(11)
        got = []
        with pytest.raises(PeerTimeout, match=r"no sample came from .* for 0\.3 s"):
            for batch in loader:
                got.append(batch)
                time.sleep(0.01)
        used = loader.stats().reused
        assert used < 11 * 49
        tap.open(5)
        tap.close()
        got += list(loader)
        assert check(got, 50, 256) == 16


def test_what_came_before_a_timeout_is_in_the_next_batch(make_tap: MakeTap) -> None:
    tap, address = make_tap()
    with StreamLoader(address, prefetch=4, timeoutms=200) as stream, ReuseLoader(stream, 4, reuse=1) as loader:
        tap.open(6)
        got = [next(iter(loader))]
        state = loader.state_dict()
        with pytest.raises(PeerTimeout):
            next(iter(loader))
        assert loader.state_dict()["positions"] == state["positions"]  # two have come, and were not delivered
        tap.open(2)
        got.append(next(iter(loader)))
        assert numbers(got) == list(range(8))


def test_ctrl_c_loses_nothing(make_tap: MakeTap) -> None:
    tap, address = make_tap()
    with StreamLoader(address, prefetch=4) as stream, ReuseLoader(stream, 4) as loader:
        tap.open(3)
        timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(iter(loader))
        tap.open(1)
        assert numbers([next(iter(loader))]) == [0, 1, 2, 3]


def test_loops_go_on_with_the_same_stream(instance: Start) -> None:
    with StreamLoader(instance(samples(40), delay_s=0.001).address, prefetch=4) as stream:
        with pytest.raises(TypeError, match="without num_batches"):
            len(ReuseLoader(stream, 4))
        loader = ReuseLoader(stream, 4, reuse=3, num_batches=5)
        assert len(loader) == 5
        got = [list(loader) for _ in range(3)]
        for batch in loader:
            got.append([batch])
            break
        loader.num_batches = None
        got.append(list(loader))
    assert [len(part) for part in got[:4]] == [5, 5, 5, 1]
    assert check(list(itertools.chain(*got)), 3, 256) == 40


@pytest.mark.parametrize("reuse", [1, 3])
def test_a_state_goes_on_behind_what_was_delivered_live(instance: Start, reuse: int) -> None:
    """For a `StreamLoader`, too; what is to be used again is not saved."""
    made = [(i, fields(i)) for i in range(60)]
    with StreamLoader(instance(made, btid=0, delay_s=0.001).address, prefetch=4) as stream:
        loader = ReuseLoader(stream, 4, reuse=reuse, num_batches=8)
        batches = iter(loader)
        got = [next(batches) for _ in range(5)]
        live = check(got, reuse, 256)
        wait_for(2, loader)  # what came since is not in it
        state = json.loads(json.dumps(loader.state_dict()))
        assert state["batches"] == 5
        with pytest.raises(ConfigError, match="has begun already"):
            loader.load_state_dict(state)
        next(batches)
        loader.close()
        loader.load_state_dict(state)
        assert loader.state_dict() == state
    with StreamLoader(instance(made, btid=1).address, prefetch=4) as stream:
        loader = ReuseLoader(stream, 4, reuse=reuse, num_batches=8)
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        first = list(loader)
        assert len(first) == 3
        assert numbers(first)[:4] == list(range(live, live + 4))
        assert loader.state_dict()["batches"] == 0
    with StreamLoader(instance(made, btid=2).address, 4) as stream:
        stream.load_state_dict(state)
        assert numbers(stream) == list(range(live, 60))


def test_close_ends_an_iteration_in_another_thread(make_tap: MakeTap) -> None:
    tap, address = make_tap()
    with StreamLoader(address, prefetch=4) as stream:
        loader = ReuseLoader(stream, 4, reuse=1)
        thread, done = in_thread(lambda: numbers(loader))
        tap.open(6)
        while loader.stats().received < 6:
            time.sleep(0.001)
        time.sleep(0.1)  # it waits, and has two
        with pytest.raises(ConfigError, match="one thread at a time"):
            next(iter(loader))
        loader.close()
        thread.join(5)
        assert done == [[0, 1, 2, 3]]
        stats = loader.stats()
        assert (stats.live, stats.reused, stats.received, stats.dropped) == (4, 0, 6, 2)


def test_a_batch_that_close_overtakes_is_counted(instance: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    take = ReuseLoader._take

    def take_and_close(self: ReuseLoader, *args: Any) -> bool:
        goes_on = take(self, *args)
        self.close()
        return goes_on

    monkeypatch.setattr(ReuseLoader, "_take", take_and_close)
    with StreamLoader(instance(samples()).address, prefetch=4) as stream:
        loader = ReuseLoader(stream, 4)
        assert list(loader) == []
        stats = loader.stats()
    assert stats.live == 0
    assert stats.received == stats.dropped >= 4


def test_a_loader_that_was_closed_begins_anew(instance: Start) -> None:
    with StreamLoader(instance(samples()).address, prefetch=4) as stream:
        loader = ReuseLoader(stream, 4, num_batches=2)
        got = []
        with loader:
            for batch in loader:
                got += numbers([batch])
                loader.close()
        assert got == [0, 1, 2, 3]
        assert loader.stats().live == 4
        batch = next(iter(loader))
        assert batch["btage"].tolist() == [0] * 4
        assert batch["number"].min() > 3
        assert loader.stats().live == 4


NOBODY = "ipc:///tmp/blendtorch-nobody"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.0}, r"batch_size is 2\.0"),
        ({"batch_size": 5}, "expected a multiple of the loader's, 2"),
        ({"batch_size": 8}, "reads 6 samples ahead.*prefetch=4"),
        ({"reuse": 0.5}, r"reuse is 0\.5"),
        ({"reuse": float("inf")}, "reuse is inf"),
        ({"reuse": float("nan")}, "reuse is nan"),
        ({"reuse": "4"}, "reuse is '4'"),
        ({"capacity": 11}, "capacity is 11, expected at least two batches, 12"),
        ({"capacity": None}, "capacity is None"),
        ({"seed": -1}, "seed is -1"),
        ({"num_batches": -1}, "num_batches is -1"),
        ({"loader": [1, 2]}, "loader is a list"),
        ({"loader": StreamLoader(NOBODY, num_batches=3)}, "Give num_batches to the ReuseLoader"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ReuseLoader(**{"loader": StreamLoader(NOBODY, 2, prefetch=3), "batch_size": 6, **options})


def test_no_batches_need_no_publisher() -> None:
    assert list(ReuseLoader(StreamLoader(NOBODY), 1, num_batches=0)) == []
