"""Sample channels from one end to the other: in order, each sample once, as it was, at the pace of who takes it."""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from instances import ERROR, TRANSPORTS, FakeInstance

from blendtorch.errors import ConfigError, EncodeError, PeerTimeout, PickleNotAllowedError, ScriptError
from blendtorch.wire.sample_receiver import SampleReceiver
from blendtorch.wire.sample_sender import SampleSender

Start = Callable[..., FakeInstance]
Item = dict[str, Any]
transports = pytest.mark.parametrize("transport", TRANSPORTS)
WHO = ("btid", "btepoch", "btseq", "btindex")


def fields(number: int, **more: Any) -> Item:
    return {"image": np.full((2, 3), number % 256, np.uint8), "number": number, **more}


def endless() -> Iterator[Item]:
    return map(fields, itertools.count())


@pytest.fixture
def receiver() -> Iterator[Callable[..., SampleReceiver]]:
    made: list[SampleReceiver] = []

    def make(*instances: FakeInstance, **options: Any) -> SampleReceiver:
        made.append(SampleReceiver([instance.address for instance in instances], **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def take(receiver: SampleReceiver, most: int) -> list[Item]:
    """So many samples, or as many as come before the stream ends."""
    items: list[Item] = []
    while len(items) < most:
        group = receiver.receive(most - len(items), 10)
        if group is None:
            break
        items += group.items()
        group.release()
    return items


def numbers(items: list[Item]) -> list[int]:
    assert all((item["image"] == item["number"] % 256).all() for item in items)
    return [item["number"] for item in items]


@transports
def test_one_receiver_gets_each_sample_once_and_in_order_until_the_end(
    instance: Start, receiver: Any, transport: str
) -> None:
    one = receiver(instance(map(fields, range(500)), transport, epoch=3))
    items = take(one, 1000)
    assert numbers(items) == list(range(500))
    assert [[item[name] for name in WHO] for item in items] == [[7, 3, i, 7 + i] for i in range(500)]
    assert one.receive(1, 0.1) is None
    account = one.sources[0].account
    assert (account.received, account.duplicated, account.lost, one.sources[0].refused) == (500, 0, 0, 0)


@transports
def test_three_receivers_share(instance: Start, receiver: Any, transport: str) -> None:
    started = instance(map(fields, range(600)), transport, queue_size=4)
    receivers = [receiver(started, queue_size=4) for _ in range(3)]
    shares: list[list[Item]] = [[], [], []]
    threads = [
        threading.Thread(target=lambda i=i: shares[i].extend(take(receivers[i], 1000)), daemon=True) for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(number for share in shares for number in numbers(share)) == list(range(600))
    assert all(numbers(share) == sorted(numbers(share)) and share for share in shares)


@transports
def test_a_sender_is_held_when_nobody_takes(instance: Start, receiver: Any, transport: str) -> None:
    started = instance(endless(), transport, queue_size=4)
    time.sleep(0.1)
    assert started.published == 0  # nobody is there
    one = receiver(started, queue_size=3)
    take(one, 1)
    most = 1 + 4 if transport == "shm" else 1 + 4 + 3
    time.sleep(0.2)
    assert started.published <= most
    before = started.published
    time.sleep(0.1)
    assert started.published == before
    assert numbers(take(one, 20)) == list(range(1, 21))


@transports
def test_publishing_to_nobody_times_out(tmp_path: Path, transport: str) -> None:
    address = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/s"
    sender = SampleSender(address, 0)
    with pytest.raises(PeerTimeout, match=r"nobody took a sample at .* for 0.05 s"):
        sender.publish({"a": 1}, timeout_s=0.05)
    assert sender.waited_s >= 0.05
    sender.close(0)


def test_receiving_from_nobody_times_out(tmp_path: Path) -> None:
    one = SampleReceiver([f"ipc://{tmp_path}/none"])
    with pytest.raises(PeerTimeout, match=r"no sample came from .*none for 0.05 s"):
        one.receive(1, 0.05)
    one.close()


@transports
def test_several_senders_are_taken_from_in_turn(instance: Start, receiver: Any, transport: str) -> None:
    started = [instance(map(fields, range(100)), transport, btid=btid, num_instances=3) for btid in range(3)]
    items = take(receiver(*started), 400)
    for btid in range(3):
        assert [item["btseq"] for item in items if item["btid"] == btid] == list(range(100))
    assert sorted(item["btindex"] for item in items) == list(range(300))


@transports
def test_samples_by_index_are_merged(instance: Start, receiver: Any, transport: str) -> None:
    """Whoever is faster: the order is that of the indices, and of the instances where these are equal."""
    indices = [[0, 0, 3, 9], [1, 3, 3, 4], [2, 9, 10]]
    started = [
        instance([(index, fields(index)) for index in own], transport, btid=btid, delay_s=0.02 * btid)
        for btid, own in enumerate(indices)
    ]
    items = take(receiver(*started, order="index"), 20)
    expected = sorted((index, btid) for btid, own in enumerate(indices) for index in own)
    assert [(item["btindex"], item["btid"]) for item in items] == expected


def test_a_long_queue_waits_for_its_turn_without_turning_in_circles(instance: Start, receiver: Any) -> None:
    fast = instance(map(fields, range(1000)), "tcp", btid=0, num_instances=2, queue_size=300)
    slow = instance(map(fields, range(1)), "tcp", btid=1, num_instances=2, then="stay")
    one = receiver(fast, slow, order="index", queue_size=2)
    assert [item["btindex"] for item in take(one, 2)] == [0, 1]
    started_s, started_cpu_s = time.monotonic(), time.thread_time()
    with pytest.raises(PeerTimeout):
        one.receive(1, 0.5)
    assert time.thread_time() - started_cpu_s < 0.5 * (time.monotonic() - started_s)
    assert one.sources[0].queued <= 2 * 2 + 64


VALUES = {
    "none": None,
    "true": True,
    "int": -5,
    "long": 2**70,
    "float": float("-inf"),
    "text": "é\ud800",
    "bytes": b"\0\xff",
    "list": [1, [2.5, None], (3,)],
    "dict": {"a": {"b": np.arange(3)}, 1: (2,)},
    "tuple": (),
    "scalar": np.float16(1.5),
    "bool scalar": np.bool_(True),
    "complex": np.complex128(1 + 2j),
    "array": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    "big-endian": np.arange(4, dtype=">f8"),
    "big-endian scalar": np.array([1], ">i4")[0],
    "strided": np.arange(24).reshape(4, 6)[::-2, 1::2],
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "zero-d": np.array(3),
    "zero-d bool": np.array(False),
    "empty": np.empty((3, 0, 2), np.float32),
    "mask": np.array([[True, False]]),
    "read-only": np.frombuffer(b"abc", np.uint8),
    "32 dimensions": np.zeros((1,) * 32, np.uint8),
}


@transports
def test_every_value_comes_back_type_for_type(instance: Start, receiver: Any, transport: str) -> None:
    samples = [VALUES, dict(reversed(VALUES.items())), {"x": 1}, VALUES, {}]
    items = take(receiver(instance(samples, transport)), 9)
    assert len(items) == len(samples)
    for item, sample in zip(items, samples, strict=True):
        assert item.keys() == {*sample, *WHO}
        for name, value in sample.items():
            assert_exact(item[name], value, name)


@transports
def test_what_was_published_can_be_drawn_into_again(instance: Start, receiver: Any, transport: str) -> None:
    image = np.zeros((200, 500), np.uint8)

    def draw() -> Iterator[Item]:
        for number in range(50):
            image[...] = number
            yield {"image": image, "number": number}

    assert numbers(take(receiver(instance(draw(), transport)), 50)) == list(range(50))


@transports
def test_samples_may_change_between_sizes_and_fields(instance: Start, receiver: Any, transport: str) -> None:
    sizes = [(2, 3), (4, 5), (2, 3), (4, 5), (1,), (2, 3), (300, 400), (4, 5)] * 5
    samples = [
        {"x": np.full(size, i, np.uint16), "i": i, **({"name": str(i)} if i % 3 else {})}
        for i, size in enumerate(sizes)
    ]
    items = take(receiver(instance(samples, transport)), 99)
    assert [item["i"] for item in items] == list(range(len(sizes)))
    for item, sample in zip(items, samples, strict=True):
        assert item.keys() == {*sample, *WHO}
        assert_exact(item["x"], sample["x"])


@transports
def test_more_fields_than_have_a_place(instance: Start, receiver: Any, transport: str) -> None:
    samples = [{f"x{i}": i + number for i in range(70)} for number in range(3)]
    items = take(receiver(instance(samples, transport)), 9)
    assert [[item[f"x{i}"] for i in range(70)] for item in items] == [list(sample.values()) for sample in samples]


@transports
def test_texts_that_grow_and_grow(instance: Start, receiver: Any, transport: str) -> None:
    """Each is larger than what there was room for; still no more wait than may."""
    texts = ["x" * (400 * 2**i) for i in range(10)]
    started = instance([fields(i, text=text) for i, text in enumerate(texts)], transport, queue_size=2)
    one = receiver(started, queue_size=2)
    items = take(one, 1)
    time.sleep(0.1)
    assert started.published <= 1 + 4 + 3
    items += take(one, 99)
    assert [item["text"] for item in items] == texts


def test_a_sample_beyond_the_budget_goes_by_message_with_one_warning(
    instance: Start, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    large = np.arange(200_000, dtype=np.uint8)
    samples = [fields(0), fields(1, x=large), fields(2), fields(3, x=large), fields(4)]
    with caplog.at_level(logging.WARNING):
        items = take(receiver(instance(samples, shm_bytes=300_000)), 9)
    assert numbers(items) == [0, 1, 2, 3, 4]
    assert_exact(items[3]["x"], large)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 1
    assert "samples go by message" in texts[0]
    assert "shm_bytes" in texts[0]


def test_a_batch_that_does_not_fit_does_not_cost_the_ring(instance: Start, receiver: Any) -> None:
    """Whatever one receiver asks for, it must not slow down the others."""
    one = receiver(instance(map(fields, range(30))), batch=1 << 20)
    group = one.receive(9, 5)
    assert group.in_shared_memory
    items = group.items()
    group.release()
    assert numbers(items + take(one, 99)) == list(range(30))


def test_whole_batches_lie_side_by_side(instance: Start, receiver: Any) -> None:
    one = receiver(instance(map(fields, range(30))), batch=8)
    groups = []
    while (group := one.receive(8, 5)) is not None:
        groups.append(group.seq.tolist())
        assert group.in_shared_memory
        group.release()
    assert groups == [list(range(i, min(i + 8, 30))) for i in range(0, 30, 8)]


@pytest.fixture
def taken_from(tmp_path: Path) -> Iterator[Callable[[str], SampleSender]]:
    """Makes senders for this thread, from which another thread takes."""
    senders: list[SampleSender] = []
    over = threading.Event()

    def make(transport: str, **options: Any) -> SampleSender:
        address = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/s"
        sender = SampleSender(address, 0, shm_bytes=10**6 * (transport == "shm"), **options)
        senders.append(sender)
        thread.start()
        return sender

    def run() -> None:
        receiver = SampleReceiver([senders[0].address])
        while not over.is_set():
            with contextlib.suppress(PeerTimeout):
                if (group := receiver.receive(1, 0.05)) is not None:
                    group.release()
        receiver.close()

    thread = threading.Thread(target=run)
    yield make
    over.set()
    thread.join()
    senders[0].close(0)


@transports
def test_a_pickle_that_is_not_allowed_is_not_sent(taken_from: Callable, transport: str) -> None:
    sender = taken_from(transport)
    with pytest.raises(PickleNotAllowedError, match=r"body\['x'\]"):
        sender.publish({"x": {1, 2}}, timeout_s=5)
    sender.publish({"x": 1}, timeout_s=5)


@pytest.mark.parametrize("index", [-1, 2**53 + 1])
@transports
def test_an_index_out_of_range_is_refused_on_every_transport(taken_from: Callable, transport: str, index: int) -> None:
    sender = taken_from(transport)
    with pytest.raises(EncodeError, match="index"):
        sender.publish({"a": 1}, index, timeout_s=5)
    sender.publish({"a": 1}, 2**53, timeout_s=5)


@transports
def test_closing_takes_no_longer_than_asked(tmp_path: Path, transport: str) -> None:
    address = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/s"
    sender = SampleSender(address, 0, shm_bytes=10**6 * (transport == "shm"))
    one = SampleReceiver([sender.address])
    one._listen(0)
    sender.publish({"a": 1}, timeout_s=5)
    begun = time.monotonic()
    sender.close(0.3)  # nobody takes it
    assert 0.3 <= time.monotonic() - begun < 2
    one.close()


@transports
def test_pickles_need_both_ends(instance: Start, receiver: Any, transport: str) -> None:
    samples = [fields(0), fields(1, x={1, 2}), fields(2)]
    allowed = instance(samples, transport, btid=2, allow_pickle=True)
    assert take(receiver(allowed, allow_pickle=True), 9)[1]["x"] == {1, 2}
    one = receiver(instance(samples, transport, btid=3, allow_pickle=True))
    got, refused = [], 0
    for _ in range(4):
        try:
            got += take(one, 1)
        except PickleNotAllowedError:
            refused += 1
    assert (numbers(got), refused) == ([0, 2], 1)


@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_an_error_comes_after_the_samples(instance: Start, receiver: Any, transport: str) -> None:
    one = receiver(instance(map(fields, range(5)), transport, then="error"))
    assert numbers(take(one, 5)) == list(range(5))
    with pytest.raises(ScriptError, match=ERROR["error"]):
        one.receive(1, 5)


@transports
def test_who_comes_late_gets_what_is_left(instance: Start, receiver: Any, transport: str) -> None:
    started = instance(map(fields, range(30)), transport, queue_size=2)
    first = receiver(started, queue_size=2)
    assert numbers(take(first, 10)) == list(range(10))
    first.close()
    late = receiver(started, queue_size=2)
    assert numbers(take(late, 99)) == list(range(10, 30))
    assert late.sources[0].account.lost == 0


@transports
def test_a_receiver_that_leaves_takes_nothing_along(instance: Start, receiver: Any, transport: str) -> None:
    """Neither what is on its way to it, nor what differs from the samples before."""
    samples = [fields(i, **({"more": 1} if i % 2 else {})) for i in range(60)]
    started = instance(samples, transport, queue_size=8, linger_s=5)
    got: list[int] = []
    for share in (3, 5, 1, 100):
        one = receiver(started, queue_size=8)
        got += numbers(take(one, share))
        one.close()
    assert sorted(got) == list(range(60))


@transports
def test_the_stream_goes_on_from_where_it_was_asked_to(instance: Start, receiver: Any, transport: str) -> None:
    """`owed` of the first receiver: a script that counts from 0 again is passed over so far."""
    samples = [(index, fields(2 * index + done)) for index in range(10) for done in range(2)]
    started = instance(samples, transport)
    items = take(receiver(started, owed=[(7, 3, 1)]), 99)
    assert numbers(items) == list(range(7, 20))
    assert [(item["btseq"], item["btindex"]) for item in items] == [(i, i // 2) for i in range(7, 20)]


def test_a_queue_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="queue_size is 0"):
        SampleSender(f"ipc://{tmp_path}/s", queue_size=0)
