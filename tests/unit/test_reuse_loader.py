"""`ReuseLoader` against instances that speak only the wire: what is live, what is used again, how often; ends, errors."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from loader_samples import Start, in_thread, numbers, samples
from reuse_streams import MakeTap, check, wait_for, wait_until_it_waits

from blendtorch.btt import StreamLoader
from blendtorch.btt.reuse_loader import ReuseLoader
from blendtorch.errors import ConfigError
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

# Live and recent


@pytest.mark.parametrize("reuse", [1, 1.5, 2, 4, 7.3])
@pytest.mark.parametrize("taken", [1, 2, 4])
def test_every_sample_comes_live_once_and_then_at_most_so_often(instance: Start, reuse: float, taken: int) -> None:
    """The trainer is as fast as it can be."""
    started = instance(samples(60), delay_s=0.002)
    with StreamLoader(started.address, taken, prefetch=4) as stream:
        loader = ReuseLoader(stream, 4, reuse=reuse, capacity=20)
        got = list(loader)
        assert list(loader) == []
        stats = loader.stats()
    assert check(got, reuse, 20) == 60
    assert all(len(batch["number"]) == 4 for batch in got[:-1])
    assert (stats.live, stats.reused, stats.received, stats.dropped) == (60, len(numbers(got)) - 60, 60, 0)
    assert str(stats).startswith(f"60 live, {stats.reused} reused; 60 received, ")


def test_training_is_as_much_faster_as_samples_are_reused(make_tap: MakeTap) -> None:
    """Two samples make a batch of eight, at each time: they are not used up in equal batches one after the other."""
    tap, address = make_tap()
    with StreamLoader(address, prefetch=8) as stream, ReuseLoader(stream, 8, reuse=4) as loader:
        batches = iter(loader)
        tap.open(8)
        got = [next(batches)]
        for _ in range(30):
            thread, done = in_thread(lambda: next(batches))
            tap.open(2)
            thread.join(10)
            got += done
        thread, done = in_thread(lambda: next(batches))
        tap.open(1)
        thread.join(0.2)
        assert thread.is_alive()  # one is not enough
        tap.open(1)
        thread.join(10)
        got += done
        assert check(got, 4, 256) == 8 + 31 * 2
    shares = [(batch["btage"] == 0).sum().item() for batch in got]
    assert shares == [8] + [2] * 31
    for one, next_one in itertools.pairwise(numbers([batch]) for batch in got):
        assert set(one) != set(next_one)


@pytest.mark.parametrize("reuse", [1.5, 2.5, 4, 7.3])
def test_a_trainer_that_waits_has_used_what_it_could(make_tap: MakeTap, reuse: float) -> None:
    """Each sample comes when the trainer waits for it: then there are fewer recent ones than make two batches."""
    tap, address = make_tap()
    got: list[dict[str, Any]] = []
    with StreamLoader(address, prefetch=4) as stream, ReuseLoader(stream, 4, reuse=reuse) as loader:
        thread, _ = in_thread(lambda: got.extend(loader))
        for _ in range(60):
            tap.open(1)
            wait_until_it_waits(loader, tap.opened)
        delivered = loader.stats().live + loader.stats().reused
        loader.close()
        thread.join(5)
    assert delivered >= reuse * 60 - 7 * (np.ceil(reuse) - 1) - 4 * reuse
    assert check(got, reuse, 256) > 56


def test_a_pause_is_bridged(make_tap: MakeTap) -> None:
    """With recent samples for many batches none is waited for, until there are two batches' left."""
    tap, address = make_tap()
    with StreamLoader(address, prefetch=4) as stream, ReuseLoader(stream, 4, reuse=4) as loader:
        batches = iter(loader)
        got = []
        for i in range(8):
            tap.open(4)
            if i:
                wait_for(4, loader)
            got.append(next(batches))
        assert numbers(got) == list(range(32))
        # Each three times more, but at most seven, which are too few to choose from.
        got += [next(batches) for _ in range((32 * 3 - 7 * 3) // 4)]
        assert check(got, 4, 256) == 32
        assert loader.stats().batches_ready == 0


def test_when_blender_is_faster_all_are_live(instance: Start) -> None:
    with StreamLoader(instance(samples()).address, prefetch=8) as stream, ReuseLoader(stream, 8) as loader:
        got = []
        for batch in loader:
            got.append(batch)
            if len(got) == 50:
                break
            wait_for(8, loader)
        assert check(got, 4, 256) == 400
        assert loader.stats().reused == 0


def test_only_the_most_recent_are_used_again(make_tap: MakeTap) -> None:
    tap, address = make_tap()
    with StreamLoader(address, prefetch=4) as stream, ReuseLoader(stream, 4, reuse=100, capacity=8) as loader:
        batches = iter(loader)
        got = []
        for i in range(20):
            tap.open(4)
            if i:
                wait_for(4, loader)
            got.append(next(batches))
        got += [next(batches) for _ in range(100)]
        assert check(got, 100, 8) == 80
    assert set(numbers(got[20:])) == set(range(72, 80))


def test_in_the_same_rhythm_the_same_are_chosen(make_tap: MakeTap) -> None:
    def run(btid: int, seed: int) -> list[list[int]]:
        tap, address = make_tap(btid=btid)
        got = []
        with StreamLoader(address, prefetch=4) as stream, ReuseLoader(stream, 4, reuse=3, seed=seed) as loader:
            batches = iter(loader)
            for i, count in enumerate([4, 2, 2, 3, 2, 4, 2, 2, 2, 3]):
                tap.open(count)
                if i:
                    wait_for(count, loader)
                got.append(numbers([next(batches)]))
        return got

    first = run(0, 1)
    assert run(1, 1) == first
    assert run(2, 2) != first


# Batches


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize("taken", [1, 2, 4])
def test_batches_are_those_of_a_stream_loader(instance: Start, transport: str, taken: int) -> None:
    dtypes = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int64", "float16", "float32", "complex64")
    made = [
        {
            **{name: np.arange(i, i + 6).reshape(2, 3).astype(name) for name in dtypes},
            "number": i,
            "flag": i % 3 == 0,
            "part": i / 3,
            "scalar": np.float32(i),
            "zero": np.array(i, np.int16),
            "empty": np.zeros((0, 3), np.float32),
            "name": f"cube {i}",
            "size": np.full((1 + i % 5 // 4, 2), i, np.uint8),  # of one shape in the first batch
            "kind": (1, 1.5, True, 2)[i % 4],
            "huge": 2**70 if i % 4 == 2 else i,
            "labels": {"boxes": np.full((i, 4), i), "names": [f"cube {n}" for n in range(i)]},
            **({"some": i} if i % 3 else {}),
            **({"tag": np.full(3, i)} if i % 4 == 1 else {}),
        }
        for i in range(12)
    ]
    with StreamLoader(instance(made, transport, btid=0, epoch=3).address, 4) as stream:
        expected = list(stream)
    with StreamLoader(instance(made, transport, btid=0, epoch=3).address, taken, prefetch=4) as stream:
        got = list(ReuseLoader(stream, 4, reuse=1))
    assert len(got) == len(expected) == 3
    for batch, like in zip(got, expected, strict=True):
        assert batch.pop("btage").tolist() == [0] * 4
        assert batch.keys() == like.keys()
        for name in like:
            assert_equal(batch[name], like[name], name)


def assert_equal(one: Any, other: Any, name: str) -> None:
    assert type(one) is type(other), name
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.numpy().tobytes() == other.numpy().tobytes(), name
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, list):
        assert len(one) == len(other), name
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b, name)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key], f"{name}[{key!r}]")
    else:
        assert one == other, name


@pytest.mark.parametrize("copy", [True, False])
def test_what_the_trainer_does_to_a_batch_stays_in_it(make_tap: MakeTap, copy: bool) -> None:
    """Nor does the shared memory matter that large samples came in, and which Blender writes to again."""

    def sample(number: int) -> dict[str, Any]:
        stacks = {"image": np.full((200, 200, 3), number, np.uint8), "number": number}
        if not copy:  # nothing else is taken from where it lies
            return stacks
        labels = {"boxes": np.full((2, 4), number), "names": [str(number)]}
        return {**stacks, "size": np.full(1 + number % 2, number), "labels": labels}

    tap, address = make_tap(sample=sample)
    reused = 0
    with StreamLoader(address, prefetch=4, copy=copy) as stream:
        batches = iter(ReuseLoader(stream, 4, reuse=3))
        tap.open(4)
        for _ in range(30):
            batch = next(batches)
            for i, number in enumerate(batch["number"].tolist()):
                assert (batch["image"][i] == number).all()
                if copy:
                    assert_equal(batch["size"][i].numpy(), sample(number)["size"], "size")
                    assert_equal(batch["labels"][i], sample(number)["labels"], "labels")
            reused += (batch["btage"] > 0).sum().item()
            for tensor in [batch["image"], batch["number"], *batch.get("size", [])]:
                tensor += 100
            for labels in batch.get("labels", []):
                labels["boxes"][:] = -1
                labels["names"].append("changed")
                labels["more"] = 1
            tap.open(2)
            wait_for(2, stream)
    assert reused == 2 * 29


def test_a_batch_may_be_kept(instance: Start) -> None:
    with StreamLoader(instance(samples(40), delay_s=0.001).address, prefetch=4) as stream:
        got = [(batch, batch["number"].tolist()) for batch in ReuseLoader(stream, 4, reuse=3)]
    assert len(got) > 20
    for batch, kept in got:
        assert batch["number"].tolist() == kept
        assert (batch["image"] == batch["number"].view(-1, 1, 1)).all()


def test_the_transform_sees_each_batch_and_what_it_makes_goes_to_the_device(instance: Start) -> None:
    with StreamLoader(instance(samples(12)).address, prefetch=4) as stream:
        loader = ReuseLoader(
            stream, 4, transform=lambda batch: (batch["image"], batch["btage"].tolist()), device="meta"
        )
        got = list(loader)
    assert all(image.device.type == "meta" and image.shape == (4, 2, 3) for image, _ in got)
    assert sum(ages.count(0) for _, ages in got) == 12


def test_batches_lie_where_those_of_the_loader_lie(instance: Start) -> None:
    with StreamLoader(instance(samples(8)).address, prefetch=4, device="meta") as stream:
        got = list(ReuseLoader(stream, 4, reuse=2))
    assert got
    assert {value.device.type for batch in got for value in batch.values()} == {"meta"}


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (lambda batch: batch["image"], "the loader gives a Tensor"),
        (lambda batch: {"image": batch["image"], "mean": batch["image"].float().mean()}, "a batch with image, mean"),
        (lambda batch: {"image": batch["image"], "both": [1, 2]}, "a batch with image, both"),
        (lambda batch: {"image": batch["image"].repeat(2, 1, 1)}, "a batch with image, expected .* up to 1 samples"),
        (lambda batch: {}, "a batch with "),
    ],
)
def test_batches_that_are_none_of_samples_are_refused(instance: Start, transform: Any, words: str) -> None:
    with StreamLoader(instance(samples()).address, prefetch=4, transform=transform) as stream:
        with pytest.raises(ConfigError, match=f"{words}.*give that to the ReuseLoader"):
            next(iter(ReuseLoader(stream, 4)))


def test_the_loaders_transform_may_drop_samples(instance: Start) -> None:
    """Then a batch may be smaller, where the next samples that are taken together do not fit."""

    def drop_some(batch: dict[str, Any]) -> dict[str, Any]:
        wanted = batch["number"] % 10 < 5
        return {name: values[wanted] for name, values in batch.items()}

    with StreamLoader(instance(samples(20)).address, 2, prefetch=2, transform=drop_some) as stream:
        got = [numbers([batch]) for batch in ReuseLoader(stream, 4, reuse=1)]
    assert got == [[0, 1, 2, 3], [4, 10, 11], [12, 13, 14]]
