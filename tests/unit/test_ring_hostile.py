"""A receiver whose ring is written to by somebody else: refused or wrong pixels, never a crash, and it goes on."""

import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from impostors import Impostor

from blendtorch.errors import PickleNotAllowedError
from blendtorch.wire import Kind
from blendtorch.wire.ledger import Position
from blendtorch.wire.owned_folder import make_folder
from blendtorch.wire.receivers import SHARED_MEMORY
from blendtorch.wire.ring_chain import RingChain
from blendtorch.wire.ring_memory import BLOCKS_OFFSET, SLOT_WORDS, SLOTS_OFFSET
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.source import Source

NUM_SLOTS = 8
WORDS = [0, 1, 2, 7, 8, 9, 63, 64, 2**15, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.fixture
def folder() -> Iterator[Path]:
    owned = make_folder(SHARED_MEMORY)
    yield owned.path
    owned.close()


class Forger:
    """Offers a receiver rings, and changes them behind its back."""

    def __init__(self, folder: Path, receiver: SampleReceiver, impostor: Impostor, batch: int) -> None:
        self._folder = folder
        self._batch = batch
        self._source: Source = receiver.sources[0]
        self._impostor = impostor
        self.made = 0
        self.rings = 0
        self.path = folder
        self._chain: RingChain | None = None

    def new_ring(self) -> None:
        if self._chain is not None:
            self._chain.close()
            self.path.unlink(missing_ok=True)
        self.rings += 1
        self._chain = RingChain(self._folder, f"x{self.rings}", 10**6, NUM_SLOTS)
        self._chain.ask(self._batch, False)
        self.fill(NUM_SLOTS)
        self.path = self._chain.to_read().path

    def fill(self, number: int) -> None:
        for _ in range(number):
            image = np.full((9, 7, 3), self.made % 256, np.uint8)
            fields = {"image": image, "number": self.made, "flag": True, "text": "é" * (self.made % 5)}
            if self._chain.write(Position(self.made, self.made, 0), fields, 0, True):
                self.made += 1

    def offer(self) -> None:
        self._impostor.say(Kind.WELCOME, {"stream": "s", "path": str(self.path), "token": self._chain.to_read().token})
        deadline = time.monotonic() + 5
        refused = self._source.refused
        while not self._source.reads_ring and self._source.refused == refused and time.monotonic() < deadline:
            self._source.listen()

    def forge(self, rng: random.Random) -> None:
        """Changes some bytes, of the words above all."""
        size = self.path.stat().st_size
        with self.path.open("r+b", buffering=0) as file:
            for _ in range(rng.randint(1, 4)):
                slots = NUM_SLOTS * len(SLOT_WORDS)
                place = rng.choice(["header", "blocks", "slot", "slot", "slot", "anywhere", "rest", "rest"])
                offset = {
                    "header": 8 * rng.randrange(12),
                    "blocks": BLOCKS_OFFSET + 8 * rng.randrange(2),
                    "slot": SLOTS_OFFSET + 8 * rng.randrange(slots),
                    "anywhere": rng.randrange(size - 8),
                    "rest": max(0, size - rng.randrange(1, 2 * 4096)) // 8 * 8,
                }[place]
                file.seek(min(offset, size - 8))
                file.write(struct.pack("<Q", rng.choice([*WORDS, rng.getrandbits(64)])))

    def close(self) -> None:
        if self._chain is not None:
            self._chain.close()


@pytest.fixture(params=[0, 4], ids=["any number", "whole batches"])
def setting(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path
) -> Iterator[tuple[Forger, SampleReceiver, Source]]:
    impostor = Impostor(f"ipc://{tmp_path}/s")
    receiver = SampleReceiver([impostor.address], batch=request.param)
    impostor.meet(receiver)
    forger = Forger(folder, receiver, impostor, request.param)
    yield forger, receiver, receiver.sources[0]
    forger.close()
    receiver.close()
    impostor.close()


def take_some(source: Source, turns: int) -> list[int]:
    """What can be taken; the numbers of the samples."""
    numbers = []
    for turn in range(turns):
        try:
            source.listen()
            source.peek()
            group = source.take(3, (2**53, True) if turn % 2 else None)
        except PickleNotAllowedError:
            continue
        if group is not None:
            for item in group.items():
                assert {"btid", "btseq", "btindex"} <= item.keys()
                if "image" in item and item["image"].shape == (9, 7, 3):
                    numbers.append(item.get("number"))
            group.release()
    return numbers


@pytest.mark.parametrize("seed", range(3))
def test_a_ring_that_changes_while_it_is_read_does_no_harm(
    setting: tuple[Forger, SampleReceiver, Source], seed: int
) -> None:
    forger, _, source = setting
    rng = random.Random(seed)
    source.account.begin(0)
    for _ in range(60):
        forger.new_ring()
        if rng.random() < 0.3:
            forger.forge(rng)
        forger.offer()
        for _ in range(4):
            forger.forge(rng)
            take_some(source, rng.randint(1, 4))
        source._drop_ring()
        assert source.queued >= 0
    assert source.refused > 20
    # Then an honest one: new numbers, as the account may have heard of any.
    forger.made = 2**60
    source.account = type(source.account)()
    forger.new_ring()
    forger.offer()
    assert take_some(source, 40) == list(range(2**60, 2**60 + NUM_SLOTS))


@pytest.mark.parametrize("seed", range(2))
def test_a_layout_that_was_changed_is_refused_or_fits(
    setting: tuple[Forger, SampleReceiver, Source], seed: int
) -> None:
    forger, _, source = setting
    rng = random.Random(seed)
    opened = 0
    for _ in range(100):
        forger.new_ring()
        with forger.path.open("r+b", buffering=0) as file:
            file.seek(512)
            text = bytearray(file.read(300))
            text = text[: text.index(0)]
            for _ in range(rng.randint(1, 3)):
                at = rng.randrange(len(text))
                text[at] = rng.choice(b'0123456789[]{},":-e') if rng.random() < 0.7 else rng.randrange(256)
            file.seek(512)
            file.write(text)
        forger.offer()
        opened += source.reads_ring
        take_some(source, 4)
        source._drop_ring()
    assert source.refused > 50
    assert opened < 50
