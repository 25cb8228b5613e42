"""Batches of one instance's large samples stay in shared memory as long as anybody refers to them, and no longer."""

import contextlib
import gc
import itertools
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batch_parts import PARTS, content
from instances import FakeInstance

from blendtorch.btt import StreamLoader
from blendtorch.errors import PeerTimeout, ScriptError
from blendtorch.wire import Kind, Message
from blendtorch.wire.owned_folder import make_folder
from blendtorch.wire.receivers import SHARED_MEMORY
from blendtorch.wire.ring import RingReader
from blendtorch.wire.sample_sender import SampleSender
from blendtorch.wire.sockets import answer
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

Start = Callable[..., FakeInstance]
Batch = dict[str, Any]
BATCH_SIZE = 4


def fields(number: int) -> Batch:
    return {
        "image": np.full((160, 200), number, np.int32),
        "mask": np.full((300, 300), number % 2 == 0),
        "small": np.full(3, number, np.float32),
        "number": number,
    }


def samples(count: int | None = None) -> Iterator[Batch]:
    return map(fields, itertools.count() if count is None else range(count))


def numbers(batches: Any) -> list[int]:
    return [number for batch in batches for number in batch["number"].tolist()]


def is_right(batch: Batch) -> bool:
    number = batch["number"][:, None, None]
    return bool(
        (batch["image"] == number).all()
        and (batch["mask"] == (number % 2 == 0)).all()
        and (batch["small"] == number[:, 0]).all()
    )


def ring_of(loader: StreamLoader) -> RingReader:
    (source,) = loader._connection.receiver.sources  # type: ignore[union-attr]
    return source._ring.ring  # type: ignore[union-attr]


def is_in_ring(batch: Batch, ring: RingReader) -> bool:
    place = ring.fields["image"]
    return 0 <= batch["image"].data_ptr() - place.ctypes.data < place.nbytes


class Background:
    """Runs something on a thread."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_batches_lie_where_they_were_written(instance: Start) -> None:
    """Over and over in the same few places, and never copied while the trainer keeps one."""
    seen, wanted = [], itertools.count()
    with StreamLoader(instance(samples()).address, BATCH_SIZE, num_batches=60) as loader:
        for batch in loader:
            assert batch["number"].tolist() == list(itertools.islice(wanted, BATCH_SIZE))
            assert is_right(batch)
            assert [tensor.dtype for tensor in (batch["image"], batch["mask"])] == [torch.int32, torch.bool]
            seen.append(is_in_ring(batch, ring_of(loader)))
    # Those that come while one is in use and others are ready are copied.
    assert sum(seen) > 15
    assert seen[0]


@pytest.mark.parametrize("how_many", [0, 1, 2, 5, 1000])
def test_what_is_kept_does_not_change_and_does_not_hold_up_the_stream(instance: Start, how_many: int) -> None:
    kept = []
    with StreamLoader(instance(samples()).address, BATCH_SIZE, num_batches=100, timeoutms=5000) as loader:
        seen = 0
        for batch in loader:
            assert is_right(batch)
            seen += BATCH_SIZE
            if len(kept) < how_many:
                kept.append(batch)
        ring = ring_of(loader)
    assert seen == 400
    assert numbers(kept) == list(range(BATCH_SIZE * min(100, how_many)))
    assert all(map(is_right, kept))
    in_ring = sum(is_in_ring(batch, ring) for batch in kept)
    assert (in_ring > 0) == (how_many > 0)
    assert in_ring < ring.num_blocks


@pytest.mark.parametrize("part", PARTS)
def test_whatever_refers_to_a_batch_keeps_it(instance: Start, part: str) -> None:
    kept = []
    with StreamLoader(instance(samples()).address, BATCH_SIZE, num_batches=60) as loader:
        for batch in loader:
            if loader._batches % 20 == 1:
                kept.append((PARTS[part](batch), content(PARTS[part](batch))))
            del batch
    assert len(kept) == 3
    assert all(content(one) == expected for one, expected in kept)


def test_memory_is_given_back_when_the_last_tensor_has_gone(instance: Start) -> None:
    with StreamLoader(instance(samples(2 * BATCH_SIZE), then="stay").address, BATCH_SIZE) as loader:
        batches = iter(loader)
        one, other = next(batches), next(batches)
        ring = ring_of(loader)
        assert is_in_ring(one, ring)
        assert is_in_ring(other, ring)
        del other, batches  # the iterator holds the batch that it has yielded
        gc.collect()
        assert ring.in_use == 1
        image = one.pop("image")
        del one["mask"]
        assert ring.in_use == 1
        row = image[2, 5]
        del image
        assert ring.in_use == 1
        del row
        assert ring.in_use == 0


def test_a_trainer_may_write_into_its_batch(instance: Start) -> None:
    with StreamLoader(instance(samples()).address, BATCH_SIZE, num_batches=50) as loader:
        for batch in loader:
            assert is_right(batch)
            batch["image"] += 7
            batch["image"].numpy()[:] = 3


def test_what_is_kept_outlives_loader_and_instance(instance: Start) -> None:
    one = instance(samples(7 * BATCH_SIZE + 1))
    with StreamLoader(one.address, BATCH_SIZE) as loader:
        kept = list(loader)
    one.close()
    del loader
    gc.collect()
    assert numbers(kept) == list(range(7 * BATCH_SIZE + 1))
    assert all(map(is_right, kept))


def test_a_loader_that_is_closed_drops_what_is_ready(instance: Start) -> None:
    with StreamLoader(instance(samples()).address, BATCH_SIZE) as loader:
        batches = iter(loader)
        batch = next(batches)
        ring = ring_of(loader)
        deadline = time.monotonic() + 10
        while ring.in_use < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ring.in_use >= 2
    assert is_right(batch)
    del batch, batches
    gc.collect()
    assert ring.in_use == 0
    stats = loader.stats()
    assert stats.received == BATCH_SIZE + stats.dropped


def test_an_end_does_not_wait_for_what_is_kept(instance: Start) -> None:
    """Else every script would end late: after the last loop its variable still refers to a batch."""
    started = time.monotonic()
    with StreamLoader(instance(samples(3 * BATCH_SIZE), linger_s=60).address, BATCH_SIZE) as loader:
        kept = list(loader)
    assert numbers(kept) == list(range(3 * BATCH_SIZE))
    assert time.monotonic() - started < 20


def test_a_successor_goes_on_beside_what_is_kept(tmp_path: Path) -> None:
    """The instance is killed and started again, while the trainer keeps batches."""
    owned = make_folder(SHARED_MEMORY)
    address = f"ipc://{tmp_path}/s"
    kept: list[Batch] = []
    with StreamLoader(address, BATCH_SIZE, timeoutms=20_000) as loader:
        batches = iter(loader)
        for epoch, count in enumerate((5, 6, 30)):
            sender = SampleSender(address, 0, epoch=epoch, folder=owned.path)
            is_last = epoch == 2

            def publish(sender: SampleSender = sender, count: int = count) -> None:
                for _ in range(count * BATCH_SIZE + 1):
                    sender.publish(fields(sender.made))

            with contextlib.closing(Background(publish)):
                kept += itertools.islice(batches, count)
            if not is_last:
                sender._router.close()  # as the kernel does when it is killed
                sender._rings.close()
    assert numbers(kept) == list(range(len(kept) * BATCH_SIZE))
    assert all(map(is_right, kept))
    sender.close(0)
    owned.close()


TRAINER = """
import sys
from blendtorch.btt import StreamLoader

loader = StreamLoader(sys.argv[1], 4, num_batches=5)
for batch in loader:
    pass
loader.close()
"""


def test_what_a_trainer_keeps_to_its_end_is_not_lost(instance: Start) -> None:
    """Its variable refers to a batch that was delivered to it."""
    address = instance(samples()).address
    subprocess.run([sys.executable, "-c", TRAINER, address], check=True, timeout=60)
    with StreamLoader(address, BATCH_SIZE) as loader:
        deadline = time.monotonic() + 10
        for batch in loader:
            assert is_right(batch)
            if ring_of(loader).in_use < 4 and time.monotonic() > deadline - 8:  # the instance has looked for it
                break
        assert loader.stats().lost == 0


def test_a_fork_does_not_give_back_what_its_parent_keeps(instance: Start) -> None:
    with StreamLoader(instance(samples()).address, BATCH_SIZE, num_batches=1) as loader:
        kept = list(loader)
        ring = ring_of(loader)
    assert ring.in_use == 1
    child = multiprocessing.get_context("fork").Process(target=partial(kept.clear))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert ring.in_use == 1
    kept.clear()
    assert ring.in_use == 0


def test_samples_that_grow_need_no_room_that_is_kept(instance: Start) -> None:
    """They have another ring, for which there is no room beside the one of before, and the loop keeps a batch of that."""
    many = ({**fields(i), "boxes": np.full(3 if i < 40 else 600, i % 7)} for i in range(100))
    shm_bytes = 4 * BATCH_SIZE * 230_000
    with StreamLoader(instance(many, shm_bytes=shm_bytes).address, BATCH_SIZE, timeoutms=10_000) as loader:
        kept = list(loader)
    assert numbers(kept) == list(range(100))
    assert all(map(is_right, kept))


@pytest.mark.parametrize("options", [{"shm_bytes": 700_000}, {"queue_size": 3}])
def test_in_a_small_ring(instance: Start, options: dict[str, int]) -> None:
    with StreamLoader(instance(samples(), **options).address, BATCH_SIZE, num_batches=30) as loader:
        kept = list(loader)
    assert numbers(kept) == list(range(120))
    assert all(map(is_right, kept))


def test_a_mask_that_was_drawn_in_place_is_of_zeros_and_ones(tmp_path: Path) -> None:
    """What a renderer draws may be 0 and 255, which numpy and PyTorch take for a bool as it is."""
    sender = SampleSender(f"ipc://{tmp_path}/s", 0)

    def publish() -> None:
        for _ in range(2 * BATCH_SIZE):
            mask = sender.reserve("mask", (400, 400), np.bool_)
            mask.view(np.uint8)[:] = 255
            sender.publish({"mask": mask})

    with StreamLoader(sender.address, BATCH_SIZE, num_batches=2) as loader, contextlib.closing(Background(publish)):
        for batch in loader:
            assert batch["mask"].view(torch.uint8).max() == 1
            assert batch["mask"].all()
    sender.close(0)


@pytest.mark.parametrize("copy", [True, False])
def test_a_batch_may_take_longer_than_a_sample(instance: Start, copy: bool) -> None:
    """The limit is on samples, though whole batches are waited for."""
    address = instance(samples(2 * BATCH_SIZE + 1), delay_s=0.3, then="stay").address
    with StreamLoader(address, BATCH_SIZE, copy=copy, timeoutms=1000) as loader:
        batches = iter(loader)
        assert numbers([next(batches), next(batches)]) == list(range(2 * BATCH_SIZE))
        with pytest.raises(PeerTimeout, match="no sample came"):
            next(batches)


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("kind", [Kind.ERROR, Kind.END])
def test_the_end_of_an_instance_that_was_killed_amid_a_batch(tmp_path: Path, kind: Kind, copy: bool) -> None:
    """The launcher says it in its place, and what it had made comes before."""
    sender = SampleSender(f"ipc://{tmp_path}/s", 0)
    made = BATCH_SIZE + 3
    got: list[Batch] = []
    over = threading.Event()

    def publish() -> None:
        for number in range(made):
            sender.publish(fields(number))

    body = {"error": "was killed by SIGKILL", "traceback": ""} if kind == Kind.ERROR else {"made": made}
    with StreamLoader(sender.address, BATCH_SIZE, copy=copy, timeoutms=20_000) as loader:
        batches = iter(loader)
        with contextlib.closing(Background(publish)):
            got.append(next(batches))
        sender._router.close()  # and its ring is not closed
        stand_in = Background(lambda: answer(sender.address, Message(kind, body, 0, 0, made), over))
        with pytest.raises(ScriptError, match="SIGKILL") if kind == Kind.ERROR else contextlib.nullcontext():
            got += batches
        stats = loader.stats()
    over.set()
    stand_in.close()
    sender.close(0, ended=False)
    assert stats.received == made
    if kind == Kind.END:
        assert numbers(got) == list(range(made))


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "beside a loader of one instance"])
def test_batches_of_several_instances_are_copied(instance: Start, shared: bool) -> None:
    addresses = [instance(samples(), btid=btid).address for btid in range(2)]
    if shared:
        with StreamLoader(addresses[0], BATCH_SIZE, num_batches=1) as loader:
            (batch,) = loader
            assert is_in_ring(batch, ring_of(loader))
    with StreamLoader(addresses, BATCH_SIZE, num_batches=50) as loader:
        for batch in loader:
            assert is_right(batch)
            sources = loader._connection.receiver.sources  # type: ignore[union-attr]
            rings = [source._ring.ring for source in sources if source._ring]  # one may not have been found yet
            assert not any(is_in_ring(batch, ring) for ring in rings)
        assert len(rings) == 2
