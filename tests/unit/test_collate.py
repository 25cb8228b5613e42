"""`btt.collate` makes batches as `default_collate` does, of memory that is used again when nobody uses it."""

import gc
import itertools
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from instances import FakeInstance
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from blendtorch.btt import RemoteIterableDataset, collate
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

collating = sys.modules["blendtorch.btt.collate"]  # the module: its name is the function's, too


def sample(i: int, size: int = 200) -> dict[str, Any]:
    return {
        "image": np.full((size, size, 4), i % 251, np.uint8),
        "mask": np.arange(size) < i,
        "depth": np.full((size, size), i, np.float32),
        "half": np.full(3, i, np.float16),
        "empty": np.empty((0, 4), np.float64),
        "point": np.array(float(i)),
        "number": i,
        "ratio": i / 7,
        "flag": i % 2 == 0,
        "scalar": np.int16(i),
        "name": f"cube {i}",
        "box": [i, i + 0.5],
        "nested": {"a": np.full(2, i), "b": i},
        "last": i,
    }


def expected_batch(items: list[Any]) -> Any:
    """What `default_collate` makes, but that dicts in dicts stay a list."""
    batch = default_collate(items)
    if isinstance(batch, dict):
        batch["nested"] = [item["nested"] for item in items]
    return batch


def as_tuple(i: int) -> tuple[Any, ...]:
    return tuple(sample(i).values())


class Samples(IterableDataset[Any]):
    """So many samples, split among the workers."""

    def __init__(self, count: int, make: Callable[[int], Any] = sample) -> None:
        self._count = count
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        return map(self._make, range(first, self._count, step))


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


@pytest.mark.parametrize("make", [sample, as_tuple])
@pytest.mark.parametrize("options", [{"num_workers": 0}, {"num_workers": 2}, {"num_workers": 1, "prefetch_factor": 6}])
def test_batches_are_those_of_default_collate(make: Callable[[int], Any], options: dict[str, int]) -> None:
    ours, theirs = (
        list(DataLoader(Samples(22, make), batch_size=4, collate_fn=function, **options))
        for function in (collate, expected_batch)
    )
    assert len(ours) == len(theirs) >= 6
    assert_same(ours, theirs)


SPAWNED = """
import numpy as np
from torch.utils.data import DataLoader
from blendtorch.btt import collate

samples = [{"image": np.full((200, 200), i, np.uint8), "number": i} for i in range(8)]
if __name__ == "__main__":
    for batch in DataLoader(samples, 4, num_workers=1, collate_fn=collate, multiprocessing_context="spawn"):
        print(batch["number"].tolist(), batch["image"].sum((1, 2)).div(40_000).tolist())
"""


def test_workers_that_are_spawned(tmp_path: Path) -> None:
    (tmp_path / "spawned.py").write_text(SPAWNED)
    run = subprocess.run([sys.executable, tmp_path / "spawned.py"], capture_output=True, text=True, timeout=60)
    assert run.stdout == "[0, 1, 2, 3] [0.0, 1.0, 2.0, 3.0]\n[4, 5, 6, 7] [4.0, 5.0, 6.0, 7.0]\n", run.stderr
    assert not run.stderr


def test_a_stream_through_two_workers(instance: Callable[..., FakeInstance]) -> None:
    fields = ({"image": np.full((200, 200), i % 256, np.uint8), "number": i} for i in itertools.count())
    dataset = RemoteIterableDataset(instance(fields).address, max_items=200)
    seen = []
    for batch in DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=collate):
        assert set(batch) == {"image", "number", "btid", "btepoch", "btseq", "btindex"}
        assert (batch["image"].flatten(1).float().std(1) == 0).all()
        assert batch["image"][:, 0, 0].tolist() == [number % 256 for number in batch["number"].tolist()]
        seen += batch["number"].tolist()
    assert len(set(seen)) == len(seen) == 200


# Below, this process is worker and trainer at once.


@pytest.fixture
def pass_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """Collates samples as in a worker, and gives what comes to the trainer."""
    monkeypatch.setattr(collating, "get_worker_info", lambda: "a worker")
    collating._blocks.clear()

    def make(*numbers: int, size: int = 200) -> dict[str, Any]:
        unpack, parts = collate([sample(i, size) for i in numbers]).__reduce__()
        return unpack(*parts)  # type: ignore[no-any-return]

    yield make
    collating._blocks.clear()


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"image": np.zeros(10)}, {"image": np.zeros(11)}], "stack expects each tensor to be equal size"),
        ([{"image": np.zeros(10)}, {"depth": np.zeros(10)}], "image"),
        ([{"image": np.zeros(10)}, None], "not subscriptable"),
        ([{"image": np.array(["a"])}], "can't convert np.ndarray|must contain tensors"),
    ],
)
@pytest.mark.usefixtures("pass_on")
def test_samples_that_do_not_stack(items: list[Any], message: str) -> None:
    """They are told of as `default_collate` tells."""
    for function in (default_collate, collate):
        with pytest.raises((RuntimeError, KeyError, TypeError), match=message):
            function(items)


def test_a_field_that_does_not_stack_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"field 'boxes' of the samples does not stack: .*equal size"):
        collate([{"n": 1, "boxes": np.zeros((2, 4))}, {"n": 2, "boxes": np.zeros((3, 4))}])


@pytest.mark.parametrize("workers", [0, 1])
def test_labels_whose_tables_differ_come_as_a_list(workers: int) -> None:
    samples = [{"n": i, "labels": {"box": np.zeros((i, 4)), "object": ["a"] * i}} for i in range(4)]
    (batch,) = DataLoader(samples, batch_size=4, num_workers=workers, collate_fn=collate)  # type: ignore[arg-type]
    assert batch["n"].tolist() == [0, 1, 2, 3]
    assert [len(labels["box"]) for labels in batch["labels"]] == [0, 1, 2, 3]
    assert list(batch) == ["n", "labels"]


def numbers_of(batch: dict[str, Any]) -> list[int]:
    assert (batch["image"] == batch["number"][:, None, None, None]).all()
    return batch["number"].tolist()  # type: ignore[no-any-return]


def test_memory_is_used_again(pass_on: Callable[..., dict[str, Any]]) -> None:
    for i in range(0, 40, 2):
        assert numbers_of(pass_on(i, i + 1)) == [i, i + 1]
    assert len(collating._blocks) == 1


@pytest.mark.parametrize(
    "keep", [lambda batch: batch, lambda batch: batch["number"], lambda b: b["mask"][1, 3:].numpy()]
)
def test_memory_that_is_used_is_left_alone(pass_on: Callable[..., dict[str, Any]], keep: Callable[..., Any]) -> None:
    """Whatever of it is used: a tensor, a slice of one, an array that is a view of that."""
    kept = []
    expected = []
    for i in range(0, 40, 2):
        kept.append(keep(pass_on(i, i + 1)))
        expected.append(keep(expected_batch([sample(i), sample(i + 1)])))
    assert len(collating._blocks) == collating._MOST_KEPT
    for mine, theirs in zip(kept, expected, strict=True):
        assert_same(mine, theirs) if not isinstance(mine, np.ndarray) else np.testing.assert_array_equal(mine, theirs)
    kept.clear()
    del mine
    gc.collect()
    assert not any(block[0] for block in collating._blocks)


def test_batches_of_another_size(pass_on: Callable[..., dict[str, Any]]) -> None:
    kept = [pass_on(*range(count), size=size) for count, size in itertools.product((1, 2, 3), (100, 200))]
    assert [numbers_of(batch) for batch in kept] == [[0], [0], [0, 1], [0, 1], [0, 1, 2], [0, 1, 2]]
    assert len(collating._blocks) == 1


def test_a_fork_does_not_give_back_what_its_parent_uses(pass_on: Callable[..., dict[str, Any]]) -> None:
    batches = [pass_on(1, 2)]
    child = multiprocessing.get_context("fork").Process(target=partial(batches.clear))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert [bool(block[0]) for block in collating._blocks] == [True]
    batches.clear()
    assert [bool(block[0]) for block in collating._blocks] == [False]
    assert os.getpid() != child.pid
