"""Streams whose rhythm a test decides, and what tests ask of the `ReuseLoader` that gets them."""

import itertools
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)


class Tap:
    """Samples that are made when the test says so: in a rhythm that does not depend on the machine."""

    def __init__(self, sample: Callable[[int], dict[str, Any]]) -> None:
        self._sample = sample
        self._turns: queue.Queue[bool] = queue.Queue()
        self.opened = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        numbers = itertools.count()
        while self._turns.get():
            yield self._sample(next(numbers))

    def open(self, count: int) -> None:
        """Lets so many samples through."""
        self.opened += count
        for _ in range(count):
            self._turns.put(True)

    def close(self) -> None:
        """Ends the stream when these are through."""
        self._turns.put(False)


MakeTap = Callable[..., tuple[Tap, str]]


def wait_for(count: int, loader: Any) -> None:
    """Until so many batches of the stream are there."""
    deadline = time.monotonic() + 10
    while loader.stats().batches_ready < count:
        assert time.monotonic() < deadline, loader.stats()
        time.sleep(0.001)


def wait_until_it_waits(loader: Any, received: int) -> None:
    """Until so many samples have come and the trainer waits for more."""
    deadline = time.monotonic() + 10
    before = loader.stats()
    while True:
        time.sleep(0.002)
        now = loader.stats()
        if (
            now.received == received
            and now.batches_ready == 0
            and now.trainer_waited_s > before.trainer_waited_s + 0.002
        ):
            return
        assert time.monotonic() < deadline, now
        before = now


def check(batches: list[dict[str, Any]], reuse: float, capacity: int) -> int:
    """Checks batches, from the first one on, against what is promised; returns how many samples were live."""
    live = 0
    times: Counter[int] = Counter()
    for batch in batches:
        got, ages = batch["number"].tolist(), batch["btage"].tolist()
        fresh = ages.count(0)
        assert batch["btage"].dtype == torch.int64
        assert ages[:fresh] == [0] * fresh  # live ones first
        assert got[:fresh] == list(range(live, live + fresh))  # each once, in order
        assert got[fresh:] == [live - age for age in ages[fresh:]]
        assert all(1 <= age <= capacity for age in ages[fresh:])
        assert len(set(got)) == len(got)
        assert batch["btseq"].tolist() == got
        for number, image in zip(got, batch["image"], strict=True):
            assert (image == number % 256).all()
        times.update(got)
        live += fresh
    assert max(times.values()) <= np.ceil(reuse)
    assert sum(times.values()) <= reuse * live
    return live
