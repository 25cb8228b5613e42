"""Where the batches of a `StreamLoader` lie: in memory that is used again, in shared memory, or where they are moved to."""

import gc
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from batch_parts import PARTS, content
from instances import TRANSPORTS, FakeInstance

from blendtorch.btt import StreamLoader, stream
from blendtorch.btt.buffer_pool import BufferPool, tensor_of
from blendtorch.btt.pinning import Pinner
from blendtorch.errors import ConfigError, PeerTimeout
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

Start = Callable[..., FakeInstance]
Batch = dict[str, Any]


def fields(number: int) -> Batch:
    return {"image": np.full((160, 120), number, np.int32), "number": number}


def samples(count: int | None = None) -> Iterator[Batch]:
    return map(fields, itertools.count() if count is None else range(count))


def numbers(batches: Any) -> list[int]:
    return [number for batch in batches for number in batch["number"].tolist()]


def addresses_of(batches: Any) -> list[int]:
    return [batch["image"].data_ptr() for batch in batches]


def is_right(batch: Batch) -> bool:
    return torch.equal(batch["image"], batch["number"].int()[:, None, None].expand(batch["image"].shape))


# Memory of their own


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_batches_that_are_kept_do_not_change(instance: Start, transport: str) -> None:
    with StreamLoader(instance(samples(200), transport).address, 4) as loader:
        kept = list(loader)
    assert numbers(kept) == list(range(200))
    assert all(map(is_right, kept))
    assert len(set(addresses_of(kept))) == 50


def test_memory_is_used_again_when_nothing_refers_to_it(instance: Start) -> None:
    with StreamLoader(instance(samples(400)).address, 4, prefetch=2) as loader:
        seen = []
        for batch in loader:
            seen += addresses_of([batch])
    assert len(seen) == 100
    assert len(set(seen)) <= 6


@pytest.mark.parametrize("part", PARTS)
def test_whatever_refers_to_a_batch_keeps_it(instance: Start, part: str) -> None:
    kept = []
    with StreamLoader(instance(samples(120)).address, 4) as loader:
        for batch in loader:
            kept.append((PARTS[part](batch), content(PARTS[part](batch))))
            del batch
    assert all(content(one) == expected for one, expected in kept)


def test_a_last_batch_keeps_its_memory(instance: Start) -> None:
    """A tensor of a part of it refers to the whole."""
    with StreamLoader(instance(samples(6)).address, 4) as loader:
        *_, last = loader
    assert numbers([last]) == [4, 5]
    assert is_right(last)


# Views of shared memory


def test_views_lie_in_shared_memory(instance: Start) -> None:
    """Over and over in the same few places, one batch after the other, and never copied."""
    seen, wanted = [], iter(range(400))
    with StreamLoader(instance(samples(400)).address, 4, copy=False) as loader:
        for batch in loader:
            assert is_right(batch)
            assert all(number == next(wanted) for number in batch["number"].tolist())
            seen += addresses_of([batch])
    assert len(seen) == 100
    ring = len(set(seen))
    assert 2 <= ring <= 4
    assert seen == [seen[i % ring] for i in range(100)]
    nbytes = 4 * 160 * 120 * 4
    assert sorted({address - min(seen) for address in seen}) == [i * nbytes for i in range(ring)]


def test_a_view_is_valid_until_the_next_one_is_asked_for(instance: Start) -> None:
    """Blender does not write into it meanwhile, though it has samples to get rid of."""
    started = instance(samples())
    with StreamLoader(started.address, 4, copy=False) as loader:
        batches = iter(loader)
        for _ in range(10):
            batch = next(batches)
            before = batch["image"].clone()
            published = -1
            while started.published != published:  # until it is held
                published = started.published
                threading.Event().wait(0.1)
            assert torch.equal(batch["image"], before)
            assert is_right(batch)


def test_views_of_two_instances_are_of_one_each(instance: Start) -> None:
    addresses = [instance(samples(50), btid=btid).address for btid in range(2)]
    got: dict[int, list[int]] = {0: [], 1: []}
    mixed = 0
    with StreamLoader(addresses, 4, copy=False) as loader:
        for batch in loader:
            assert is_right(batch)
            mixed += len(set(batch["btid"].tolist())) > 1
            for btid, number in zip(batch["btid"].tolist(), batch["number"].tolist(), strict=True):
                got[btid].append(number)
    assert got == {0: list(range(50)), 1: list(range(50))}
    assert mixed <= 1  # of what was left at their ends


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_cannot_be_viewed_is_copied(instance: Start, transport: str) -> None:
    """Strings, samples that differ, and those that come by message, from several instances in turn."""

    def changing(btid: int) -> Iterator[Batch]:
        for i in range(60):
            number = 100 * btid + i
            yield {**fields(number), **({"name": str(number)} if 20 <= i < 31 else {})}

    addresses = [instance(changing(0), transport, btid=0).address, instance(changing(1), "shm", btid=1).address]
    got = []
    with StreamLoader(addresses, 4, copy=False) as loader:
        for batch in loader:
            assert is_right(batch)
            for i, number in enumerate(batch["number"].tolist()):
                got.append(number)
                name = batch.get("name", [None] * 4)[i]
                assert name == (str(number) if 20 <= number % 100 < 31 else None)
    for btid in range(2):
        assert [n for n in got if n // 100 == btid] == list(range(100 * btid, 100 * btid + 60))


def test_a_trainer_that_pauses_is_no_silent_blender(instance: Start) -> None:
    """While it has a batch, and another one waits, shared memory may have no room for samples."""
    seen = []
    with StreamLoader(instance(samples(60)).address, 4, copy=False, timeoutms=200) as loader:
        for count, batch in enumerate(loader):
            seen += numbers([batch])
            if count < 3:
                threading.Event().wait(0.7)
    assert seen == list(range(60))


def test_a_silent_blender_is_told_of_though_batches_are_views(instance: Start) -> None:
    with StreamLoader(instance(samples(4), then="stay").address, 4, copy=False, timeoutms=200) as loader:
        with pytest.raises(PeerTimeout):
            list(loader)


def test_a_batch_that_one_instance_has_begun_is_not_filled_up_by_another(
    instance: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Another receiver has taken an odd sample of the first one's."""
    started = [instance(samples(), btid=0), instance(samples(), btid=1)]
    with StreamLoader(started[0].address, 1, prefetch=1) as loader:
        next(iter(loader))
    views = 0
    with (
        caplog.at_level(logging.INFO, "blendtorch"),
        StreamLoader([one.address for one in started], 4, copy=False) as loader,
    ):
        for _, batch in zip(range(40), loader, strict=False):
            assert is_right(batch)
            assert len(batch["number"]) == 4
            if batch["btid"].tolist() == [1] * 4:
                assert batch["number"][0] % 4 == 0
                views += 1
    assert views > 10
    told = [record.getMessage() for record in caplog.records if "although copy=False" in record.getMessage()]
    assert len(told) == 1


def test_slots_are_given_back_before_a_transform(instance: Start) -> None:
    """Blender can go on while a slow transform runs, of samples that are copied one by one or together."""
    go, begun = threading.Event(), threading.Event()

    def transform(batch: Batch) -> Batch:
        begun.set()
        go.wait(10)
        return batch

    with StreamLoader(instance(samples()).address, 4, transform=transform, num_batches=1) as loader:
        released: list[bool] = []
        thread = threading.Thread(target=lambda: released.append(bool(list(loader))), daemon=True)
        thread.start()
        assert begun.wait(10)
        (source,) = loader._connection.receiver.sources  # type: ignore[union-attr]
        assert not source._ring.ring.slots["busy"].any()  # type: ignore[union-attr]
        go.set()
        thread.join(10)
        assert released == [True]


# Transforms and devices


class Pair(NamedTuple):
    image: torch.Tensor
    number: list[Any]


def test_the_transform_runs_in_the_background(instance: Start) -> None:
    def transform(batch: Batch) -> Pair:
        return Pair(batch["image"].float(), [batch["number"], threading.current_thread().name])

    with StreamLoader(instance(samples()).address, 2, num_batches=1, transform=transform, device="cpu") as loader:
        (pair,) = loader
    assert isinstance(pair, Pair)
    assert pair.image.dtype == torch.float32
    assert pair.number[0].tolist() == [0, 1]
    assert pair.number[1] == "blendtorch stream loader"


@pytest.mark.parametrize("copy", [True, False])
def test_a_failing_transform_is_told_in_the_loop(instance: Start, copy: bool) -> None:
    def transform(batch: Batch) -> Batch:
        if batch["number"][0] % 8 == 4:
            raise ZeroDivisionError("a mistake in the transform")
        return batch

    seen = []
    with StreamLoader(instance(samples()).address, 4, transform=transform, copy=copy) as loader:
        for _ in range(20):  # more batches than fit into shared memory: those that failed are given back
            with pytest.raises(ZeroDivisionError, match="a mistake in the transform"):
                for batch in loader:
                    seen += numbers([batch])
    assert seen == [i for i in range(160) if i % 8 < 4]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_pinned_memory_needs_cuda() -> None:
    with pytest.raises(ConfigError, match="pin_memory=True needs CUDA"):
        StreamLoader("tcp://127.0.0.1:1", pin_memory=True)


def test_pinned_memory_is_pytorchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It alone knows when a copy to a GPU has read it."""
    made = []
    empty = torch.empty

    def pinned(*args: Any, pin_memory: bool, **options: Any) -> torch.Tensor:
        assert pin_memory
        made.append(empty(*args, **options))
        return made[-1]

    monkeypatch.setattr(torch, "empty", pinned)
    pool = BufferPool(pin_memory=True, most=2)
    for _ in range(2):  # never again, even when nothing refers to it
        array = pool.take("image", (4, 300, 500), np.dtype(np.float32))
        assert (array.shape, array.dtype) == ((4, 300, 500), np.float32)
        one, other = (tensor.untyped_storage()._cdata for tensor in (tensor_of(array), made[-1]))
        assert one == other
        del array
        gc.collect()
    assert len(made) == 2


class Cuda:
    """Stands in for the CUDA runtime."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.calls: list[str] = []

    def cudaHostRegister(self, address: int, nbytes: int, flags: int) -> int:
        self.calls.append("register")
        return self.error

    def cudaHostUnregister(self, address: int) -> int:
        self.calls.append("unregister")
        return 0

    def cudaGetLastError(self) -> int:
        self.calls.append("get error")
        return self.error


@pytest.mark.parametrize("error", [0, 2])
def test_page_locking(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Once for each memory; an error is taken away, and the memory forgotten with it."""
    cuda = Cuda(error)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream(cuda))
    pinner = Pinner()
    assert cuda.calls == []
    memory = np.empty(100)
    for _ in range(2):
        pinner.pin(memory[10:20])
    assert cuda.calls == (["register", "get error"] if error else ["register"])
    pinner.wait()
    assert cuda.calls[1:] == (["get error"] if error else ["synchronize"])
    del memory
    gc.collect()
    assert cuda.calls[2:] == ([] if error else ["unregister"])
    assert pinner._seen == pinner._pinned == set()


class Stream:
    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda

    def synchronize(self) -> None:
        self.cuda.calls.append("synchronize")


def test_views_are_given_back_when_the_gpu_has_read_them(instance: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[tuple[bool, bool]] = []
    with StreamLoader(instance(samples()).address, 4, copy=False) as loader:

        def wait(everything: bool = False) -> None:
            (source,) = loader._connection.receiver.sources  # type: ignore[union-attr]
            waits.append((everything, bool(source._ring.ring.slots["busy"].any())))  # type: ignore[union-attr]

        monkeypatch.setattr(loader._pinner, "wait", wait)
        batches = iter(loader)
        next(batches)
        next(batches)
        loader.close()
    assert waits == [(False, True), (True, True)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_instances": 2}, "use instances="),
        ({"named_sockets": ["DATA"]}, "BlenderLauncher and StreamLoader"),
        ({"addresses": ["tcp://127.0.0.1:1"]}, r"StreamLoader\(addresses\)"),
        ({"curve": None}, "keys of its own launch"),
        ({"batchsize": 2}, "Known are"),
    ],
)
def test_options_that_stream_does_not_take_say_what_to_do(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words), stream(script="cube.blend.py", **options):
        pass
