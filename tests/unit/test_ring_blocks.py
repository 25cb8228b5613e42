"""Rings in blocks: a block that a reader keeps is passed over, and the order of the samples stays."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from blendtorch.wire.layout import Layout
from blendtorch.wire.ring import RingReader, RingWriter

BLOCKS, SLOTS_EACH = 4, 3
LAYOUT = Layout.of({"image": np.zeros((4, 5), np.uint8), "number": 0}, 64)

Ends = tuple[RingWriter, RingReader]


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    writer = RingWriter.create(tmp_path / "x.ring", LAYOUT, BLOCKS * SLOTS_EACH, BLOCKS)
    reader = RingReader(writer.path, writer.token)
    yield writer, reader
    for end in (reader, writer):
        end.close()


def put(writer: RingWriter, number: int) -> bool:
    if not writer.has_room():
        return False
    present, _ = writer.write({"image": np.full((4, 5), number % 256, np.uint8), "number": number})
    writer.commit(number, 10 * number, 0, 0, 0, present)
    return True


def fill(writer: RingWriter, count: int) -> int:
    """Puts so many samples; how many there was room for."""
    return sum(put(writer, number) for number in range(writer.head, writer.head + count))


class Taken:
    """Claimed samples that are kept, and what they were."""

    def __init__(self, reader: RingReader, most: int = 100) -> None:
        self.number, self._slot, self.count = reader.claim(most)
        self._reader = reader
        self.block = self._slot // SLOTS_EACH

    @property
    def is_right(self) -> bool:
        there = slice(self._slot, self._slot + self.count)
        numbers = list(range(self.number, self.number + self.count))
        images = self._reader.fields["image"][there]
        return self._reader.fields["number"][there].tolist() == numbers and all(
            (image == number % 256).all() for image, number in zip(images, numbers, strict=True)
        )

    def release(self) -> None:
        self._reader.release(self._slot, self.count)


def test_blocks_are_used_in_turn_when_nothing_is_kept(ends: Ends) -> None:
    writer, reader = ends
    blocks = []
    for _ in range(3 * BLOCKS):
        assert fill(writer, SLOTS_EACH) == SLOTS_EACH
        taken = Taken(reader)
        assert (taken.count, taken.is_right) == (SLOTS_EACH, True)
        blocks.append(taken.block)
        taken.release()
    assert blocks == [0, 1, 2, 3] * 3
    assert reader.in_use == 0


def test_nobody_takes_samples_of_two_blocks_at_once(ends: Ends) -> None:
    writer, reader = ends
    assert fill(writer, 100) == BLOCKS * SLOTS_EACH
    counts = []
    for most in (2, 2, 2, 100, 100, 1, 100):
        taken = Taken(reader, most)
        assert taken.is_right
        counts.append(taken.count)
        taken.release()
    assert counts == [2, 1, 2, 1, 3, 1, 2]


def test_what_is_kept_is_passed_over(ends: Ends) -> None:
    writer, reader = ends
    kept = []
    for number in range(BLOCKS - 1):  # one after the other is kept, and the stream goes on in the others
        fill(writer, SLOTS_EACH)
        kept.append(Taken(reader))
        assert reader.in_use == number + 1
        for _ in range(7):
            assert fill(writer, SLOTS_EACH) == SLOTS_EACH
            taken = Taken(reader)
            assert taken.is_right
            assert taken.block not in [one.block for one in kept]
            taken.release()
        assert all(one.is_right for one in kept)
    fill(writer, SLOTS_EACH)
    kept.append(Taken(reader))
    assert fill(writer, 1) == 0
    kept.pop(1).release()
    assert fill(writer, 100) == SLOTS_EACH
    assert Taken(reader).is_right


def test_a_block_that_is_half_taken_is_not_written_to(ends: Ends) -> None:
    """Not even where it has been given back."""
    writer, reader = ends
    fill(writer, 100)
    Taken(reader, 2).release()
    assert fill(writer, 1) == 0
    Taken(reader, 1).release()
    assert fill(writer, 100) == SLOTS_EACH


def test_a_successor_goes_on_amid_a_block_beside_what_is_kept(ends: Ends) -> None:
    writer, reader = ends
    fill(writer, SLOTS_EACH)
    kept = Taken(reader)
    for _ in range(BLOCKS):
        fill(writer, SLOTS_EACH)
        Taken(reader).release()
    fill(writer, 2)
    successor = RingWriter.adopt(writer.path)
    last = successor.last()
    assert last is not None
    assert last["seq"] == successor.head - 1
    assert fill(successor, 5) == 5
    counts = []
    while (taken := Taken(reader)).count:
        assert taken.is_right
        counts.append(taken.count)
        taken.release()
    assert counts == [3, 3, 1]
    assert kept.is_right
    successor.close()


def test_what_a_dead_reader_has_kept_is_freed(ends: Ends) -> None:
    writer, reader = ends
    fill(writer, 2 * SLOTS_EACH)
    Taken(reader)
    other = RingReader(writer.path, writer.token)
    other.claim(2)
    other.close()
    del other  # with it go its memory and its lock: it is as good as dead
    fill(writer, 100)
    assert writer.reclaim() == 2
    assert reader.in_use == 1
    assert reader.reclaimed == 2


def test_what_was_delivered_where_it_lies_is_not_lost_with_its_reader(ends: Ends) -> None:
    writer, reader = ends
    fill(writer, 2 * SLOTS_EACH)
    other = RingReader(writer.path, writer.token)
    _, slot, count = other.claim(SLOTS_EACH)
    other.keep(slot, count)
    other.claim(1)
    assert writer.reclaim() == 0
    assert reader.in_use == 2
    another = RingReader(writer.path, writer.token)
    assert another._id not in (reader._id, other._id)
    other.close()
    del other
    assert writer.reclaim() == 1
    assert reader.in_use == 0
    another.close()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_kept_all_samples_come_in_order(ends: Ends, seed: int) -> None:
    writer, reader = ends
    rng = random.Random(seed)
    kept: list[Taken] = []
    expected = 0
    moves: list[Callable[[], object]] = [
        lambda: fill(writer, rng.randint(1, 7)),
        lambda: kept.append(Taken(reader, rng.choice([1, 2, SLOTS_EACH, 100]))),
        lambda: kept and kept.pop(rng.randrange(len(kept))).release(),
    ]
    for _ in range(3000):
        before = len(kept)
        rng.choice(moves)()
        if len(kept) > before:
            assert kept[-1].number == expected or not kept[-1].count
            expected += kept[-1].count
        assert all(one.is_right for one in kept)
    assert expected > 100
