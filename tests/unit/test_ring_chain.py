"""The rings of a channel one after the other: what a predecessor leaves, and how much memory they take."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blendtorch.wire.ledger import Position
from blendtorch.wire.owned_folder import make_folder
from blendtorch.wire.receivers import SHARED_MEMORY
from blendtorch.wire.ring import RingReader, RingWriter
from blendtorch.wire.ring_chain import RingChain
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.sample_sender import SampleSender

NAME = "DATA[1]-3"


@pytest.fixture
def folder() -> Iterator[Path]:
    owned = make_folder(SHARED_MEMORY)
    yield owned.path
    owned.close()


def chain(folder: Path | None, **changes: Any) -> RingChain:
    return RingChain(**{"folder": folder, "name": NAME, "budget_bytes": 10**6, "num_slots": 4, **changes})


def write(chain: RingChain, seq: int, size: int = 10) -> bool:
    return chain.write(Position(seq, 2 * seq, 1), {"x": np.full(size, seq % 256, np.uint8)}, 0, False)


def read_out(chain: RingChain) -> list[int]:
    """Reads as a receiver does: ring after ring."""
    seqs = []
    while (ring := chain.to_read()) is not None:
        reader = RingReader(ring.path, ring.token)
        while reader.waiting:
            _, slot, count = reader.claim(9)
            seqs += reader.words(slot, count)[:, 0].tolist()
            reader.release(slot, count)
        reader.close()
        if not ring.closed:
            break
    return seqs


def test_a_successor_goes_on_in_the_ring_that_is_there(folder: Path) -> None:
    first = chain(folder)
    assert first.made is None
    assert [write(first, seq) for seq in range(5)] == [True] * 4 + [False]
    second = chain(folder)  # the first has died
    assert second.made == Position(4, 6, 2)
    assert second.first == 0
    assert not second.has_room()
    assert read_out(second) == [0, 1, 2, 3]
    assert write(second, 4)
    assert not second.changed
    assert len(list(folder.glob("*.ring"))) == 1
    for one in (first, second):
        one.close()


def test_a_predecessor_may_have_died_between_two_rings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is there, and the old one does not say yet that nothing follows in it."""
    first = chain(folder)
    write(first, 0)
    monkeypatch.setattr(first, "retire", lambda: None)
    write(first, 1, size=20_000)
    second = chain(folder)
    assert second.made == Position(2, 2, 2)
    assert read_out(second) == [0, 1]
    assert write(second, 2)
    assert read_out(second) == [2]
    for one in (first, second):
        one.close()


def test_other_files_are_left_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (f"{NAME}.x.ring", f"{NAME}.ring", "DATA1-3.0.ring", f"{NAME}.1.ring.old", f"{NAME}.7.ring"):
        (folder / name).write_bytes(b"foreign")
    one = chain(folder)
    assert one.made is None
    assert "left alone" in caplog.text
    assert len(caplog.records) == 1
    assert write(one, 0)
    assert one.to_read().path.name == f"{NAME}.8.ring"
    assert len(list(folder.glob("*.ring*"))) == 6
    one.close()


def test_rings_that_are_not_read_out_share_the_budget(folder: Path) -> None:
    one = chain(folder)
    written = [write(one, seq, 1000 * 2**seq) for seq in range(9)]
    made = written.count(True)
    assert 2 <= made < 9
    assert written == [True] * made + [False] * (9 - made)  # held, and not sent by message
    assert one.possible
    assert sum(file.stat().st_size for file in folder.glob("*.ring")) < 1.1 * 10**6
    assert read_out(one) == list(range(made))
    assert write(one, made, 1000 * 2**made)
    assert len(list(folder.glob("*.ring"))) == 1
    one.close()


def test_a_folder_of_its_own_goes_with_it() -> None:
    one = chain(None)
    assert write(one, 0)
    path = one.to_read().path
    assert path.parent.parent == SHARED_MEMORY
    one.close()
    assert not path.parent.exists()


@pytest.mark.parametrize("folder_", [Path("/tmp"), Path("/dev/shmx")])
def test_elsewhere_there_are_no_rings(folder_: Path) -> None:
    one = chain(folder_)
    assert (one.possible, one.host) == (False, "")


@pytest.mark.parametrize(("batch", "shape"), [(0, (7, 1)), (3, (9, 3)), (20, (40, 2)), (1 << 20, (7, 1))])
def test_blocks_are_whole_batches_where_two_fit(
    folder: Path, batch: int, shape: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    one = chain(folder, num_slots=7)
    one.ask(batch, keeps=False)
    assert write(one, 0)
    ring = one.to_read()
    assert (ring.num_slots, ring.num_blocks) == shape
    assert ("are copied together" in caplog.text) == (batch > 20)
    one.close()


@pytest.mark.parametrize(("batch", "shape"), [(1, (8, 4)), (2, (8, 4)), (8, (32, 4)), (40, (80, 2)), (60, (7, 1))])
def test_blocks_to_be_kept_are_more_for_large_samples(
    folder: Path, batch: int, shape: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    one = chain(folder, num_slots=7, budget_bytes=10**7)
    one.ask(batch, keeps=True)
    assert write(one, 0)  # a small one
    assert write(one, 1, 100_000)
    small, large = one._rings
    assert (small.num_slots, small.num_blocks) == (7, 1)
    assert (large.num_slots, large.num_blocks) == shape
    assert not caplog.text
    one.close()


def test_what_dies_with_a_receiver_of_a_ring_that_was_removed_is_counted(folder: Path) -> None:
    one = chain(folder)
    for seq in range(3):
        assert write(one, seq)
    ring = one.to_read()
    dead, other = (RingReader(ring.path, ring.token) for _ in range(2))
    dead.claim(2)
    other.release(*other.claim(1)[1:])
    assert write(one, 3, 5000)  # in a larger one
    assert len(list(folder.glob("*.ring"))) == 1
    one.tidy()
    assert other.reclaimed == 0
    dead.close()
    del dead  # with it go its memory and its lock
    one.tidy()
    assert other.reclaimed == 2
    assert not one._removed
    other.close()
    one.close()


def test_how_far_one_has_come_is_noted_before_a_ring_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed before there is a sample in the next one has left no other trace."""
    sender = SampleSender(f"ipc://{folder}/s", 0, folder=folder)
    receiver = SampleReceiver([sender.address])
    receiver.sources[0].say_ready()
    for number in range(5):
        sender.publish({"x": np.full(10, number)})
        group = receiver.receive(1, 10)
        assert group is not None
        group.release()
    monkeypatch.setattr(RingWriter, "create", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sender.publish({"x": np.full(5000, 5)})
    assert not list(folder.glob("*.ring"))
    sender._router.close()
    successor = SampleSender(sender.address, 0, folder=folder, epoch=1)
    assert successor.made == 5
    receiver.close()
    for one in (successor, sender):
        one.close(0, ended=False)


def test_batches_that_must_lie_side_by_side_come_before_those_that_may(folder: Path) -> None:
    one = chain(folder, num_slots=7, budget_bytes=10**7)
    one.ask(12, keeps=True)
    one.ask(8, keeps=False)
    assert write(one, 0, 100_000)
    ring = one.to_read()
    assert (ring.num_slots, ring.num_blocks) == (16, 2)
    one.close()


def test_many_small_batches_share_blocks(folder: Path) -> None:
    one = chain(folder, num_slots=3000, budget_bytes=10**7)
    one.ask(2, keeps=False)
    assert write(one, 0)
    ring = one.to_read()
    assert (ring.num_slots, ring.block_slots) == (3000, 6)
    one.close()


def test_a_ring_of_ordinary_size_is_made_where_batches_do_not_fit_into_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallocate = os.posix_fallocate

    def full(descriptor: int, offset: int, size: int) -> None:
        if size > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        fallocate(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    one = chain(folder, num_slots=7, budget_bytes=10**7)
    one.ask(20, keeps=False)
    assert write(one, 0, 100_000)
    ring = one.to_read()
    assert (ring.num_slots, ring.num_blocks) == (7, 1)
    one.close()
