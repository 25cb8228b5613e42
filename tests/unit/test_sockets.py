"""Messages over real sockets: order, backpressure, no copies, no loss, and garbage that does not stop the stream."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import zmq
from exact import assert_exact

from blendtorch.errors import AddressError, PeerTimeout, PickleNotAllowedError, ProtocolError, ProtocolVersionError
from blendtorch.wire import Kind, Message, encode, sockets
from blendtorch.wire.curve import CurveKeys
from blendtorch.wire.sockets import MessageSocket, answer

WAIT_S = 20.0
MakeSocket = Callable[..., MessageSocket]


@pytest.fixture
def push_pull(address: str, make_socket: MakeSocket) -> Callable[..., tuple[MessageSocket, MessageSocket]]:
    """Makes a bound sender and a receiver that is connected to it."""

    def make(send_queue: int = 10, recv_queue: int = 10) -> tuple[MessageSocket, MessageSocket]:
        sender = make_socket("push", address, bind=True, queue_size=send_queue)
        receiver = make_socket("pull", sender.addresses, bind=False, queue_size=recv_queue)
        assert sender.can_send(WAIT_S)
        return sender, receiver

    return make


@pytest.fixture
def raw_push() -> Iterator[Callable[[str], zmq.Socket]]:
    """Makes plain ZeroMQ sockets that send what they like."""
    context = zmq.Context()

    def make(address: str) -> zmq.Socket:
        socket = context.socket(zmq.PUSH)
        socket.connect(address)
        return socket

    yield make
    context.destroy(linger=0)


def sample(seq: int, body: object = None) -> Message:
    return Message(Kind.SAMPLE, {"x": body}, btid=0, seq=seq)


def take(socket: MessageSocket, count: int) -> list[int]:
    return [socket.recv(WAIT_S).seq for _ in range(count)]


def test_messages_arrive_in_order(push_pull: Callable) -> None:
    sender, receiver = push_pull()
    got = []
    for seq in range(300):
        while not sender.can_send():
            got += take(receiver, 1)
        sender.send(sample(seq), WAIT_S)
    assert got + take(receiver, 300 - len(got)) == list(range(300))


def test_a_message_arrives_whole_and_its_arrays_can_be_written_to(push_pull: Callable) -> None:
    sender, receiver = push_pull()
    body = {"image": np.arange(300_000, dtype=np.uint16).reshape(3, -1), "id": np.array(7), "name": ("a", b"b", 1.0)}
    sender.send(Message(Kind.SAMPLE, body, btid=3, epoch=2, seq=9), WAIT_S)
    message = receiver.recv(WAIT_S)
    assert (message.kind, message.btid, message.epoch, message.seq) == ("sample", 3, 2, 9)
    assert_exact(message.body, body)
    for name in ("image", "id"):
        assert message.body[name].flags.writeable
        assert message.body[name].flags.aligned


def test_a_full_queue_holds_the_sender_and_loses_nothing(push_pull: Callable) -> None:
    sender, receiver = push_pull(send_queue=2, recv_queue=2)
    image = np.zeros(1 << 22, np.uint8)  # more than the operating system buffers
    image.flags.writeable = False
    sent = 0
    with pytest.raises(PeerTimeout, match="nobody took a message"):
        while sent < 50:
            started = time.monotonic()
            sender.send(sample(sent, image), 0.5)
            sent += 1
    assert 0.5 <= time.monotonic() - started < 5
    assert 2 <= sent < 20
    assert take(receiver, sent) == list(range(sent))
    assert sender.can_send(WAIT_S)


def test_a_sender_without_receivers_is_held(address: str, make_socket: MakeSocket) -> None:
    sender = make_socket("push", address, bind=True)
    with pytest.raises(PeerTimeout, match=sender.addresses[0]):
        sender.send(sample(0), 0.05)


def test_a_receiver_without_messages_gives_up_in_time(push_pull: Callable) -> None:
    _, receiver = push_pull()
    started = time.monotonic()
    with pytest.raises(PeerTimeout, match=receiver.addresses[0]):
        receiver.recv(0.1)
    assert 0.1 <= time.monotonic() - started < 2


@pytest.mark.parametrize("size", [8, 1 << 20])
def test_a_writable_array_may_be_overwritten_right_after_send(push_pull: Callable, size: int) -> None:
    sender, receiver = push_pull(send_queue=10, recv_queue=1)
    canvas = np.zeros(size, np.uint8)
    for seq in range(6):
        canvas.fill(seq)
        sender.send(sample(seq, canvas), WAIT_S)
    canvas.fill(99)
    for seq in range(6):
        assert (receiver.recv(WAIT_S).body["x"] == seq).all()


def test_a_read_only_array_is_sent_without_a_copy(push_pull: Callable) -> None:
    sender, receiver = push_pull(send_queue=10, recv_queue=1)
    canvas = np.zeros(1 << 22, np.uint8)
    view = canvas.view()
    view.flags.writeable = False
    for seq in range(6):
        sender.send(sample(seq, view), WAIT_S)
    canvas.fill(99)  # the last messages still wait at this end, and refer to it
    last = [receiver.recv(WAIT_S).body["x"] for _ in range(6)][-1]
    assert (last == 99).all()


def test_what_is_sent_may_be_forgotten(push_pull: Callable) -> None:
    sender, receiver = push_pull(recv_queue=1)
    for seq in range(6):
        array = np.frombuffer(bytes([seq]) * (1 << 20), np.uint8)
        sender.send(sample(seq, array), WAIT_S)
        del array
    for seq in range(6):
        assert (receiver.recv(WAIT_S).body["x"] == seq).all()


def test_two_receivers_share_without_loss_or_duplicates(address: str, make_socket: MakeSocket) -> None:
    sender = make_socket("push", address, bind=True, queue_size=2)
    receivers = [make_socket("pull", sender.addresses, bind=False, queue_size=2) for _ in range(2)]
    got: list[list[int]] = [[], []]
    sent = 0
    while sent < 200 or not all(got) or len(got[0]) + len(got[1]) < sent:
        if (sent < 200 or not all(got)) and sender.can_send():
            sender.send(sample(sent))
            sent += 1
        for receiver, mine in zip(receivers, got, strict=True):
            with suppress(PeerTimeout):
                mine.append(receiver.recv(0).seq)
    assert sorted(got[0] + got[1]) == list(range(sent))
    assert all(mine == sorted(mine) for mine in got)


def test_one_receiver_takes_from_two_senders(address: str, make_socket: MakeSocket, tmp_path: Path) -> None:
    addresses = [address, f"ipc://{tmp_path}/other"]
    senders = [make_socket("push", one, bind=True) for one in addresses]
    receiver = make_socket("pull", [sender.addresses[0] for sender in senders], bind=False)
    for btid, sender in enumerate(senders):
        sender.send(Message(Kind.SAMPLE, btid=btid), WAIT_S)
    assert sorted(receiver.recv(WAIT_S).btid for _ in range(2)) == [0, 1]


def test_a_pair_speaks_both_ways(address: str, make_socket: MakeSocket) -> None:
    one = make_socket("pair", address, bind=True)
    other = make_socket("pair", one.addresses, bind=False)
    for source, target in [(one, other), (other, one)]:
        for seq in range(5):
            source.send(Message(Kind.DUPLEX, {}, seq=seq), WAIT_S)
        assert take(target, 5) == list(range(5))


GARBAGE = {
    "junk": ([b"junk"], ProtocolError),
    "empty": ([b""], ProtocolError),
    "many frames": ([b"", b"", b"x"] * 50, ProtocolError),
    "truncated": ([bytes(frame) for frame in encode(sample(0, np.ones(3)))][:-1], ProtocolError),
    "another version": ([encode(sample(0))[0].replace(b'"version":1', b'"version":2')], ProtocolVersionError),
    "a pickle": ([bytes(frame) for frame in encode(sample(0, {1}), allow_pickle=True)], PickleNotAllowedError),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_and_the_next_message_arrives(
    name: str, address: str, make_socket: MakeSocket, raw_push: Callable
) -> None:
    frames, error = GARBAGE[name]
    receiver = make_socket("pull", address, bind=True)
    sender = raw_push(receiver.addresses[0])
    sender.send_multipart(frames)
    sender.send_multipart(encode(sample(5)))
    with pytest.raises(error):
        receiver.recv(WAIT_S)
    assert receiver.recv(WAIT_S).seq == 5


def test_oversized_frames_do_not_stop_the_others(
    address: str, make_socket: MakeSocket, raw_push: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_MESSAGE_BYTES", 1000)
    receiver = make_socket("pull", address, bind=True)
    raw_push(receiver.addresses[0]).send_multipart([b"x" * 5000])
    raw_push(receiver.addresses[0]).send_multipart(encode(sample(5)))
    assert receiver.recv(WAIT_S).seq == 5


def test_pickles_pass_where_both_sockets_allow_them(address: str, make_socket: MakeSocket) -> None:
    sender = make_socket("push", address, bind=True, allow_pickle=True)
    receiver = make_socket("pull", sender.addresses, bind=False, allow_pickle=True)
    sender.send(sample(0, {1, 2}), WAIT_S)
    assert receiver.recv(WAIT_S).body == {"x": {1, 2}}
    with pytest.raises(PickleNotAllowedError, match=r"body\['x'\]"):
        make_socket("push", "tcp://127.0.0.1:*", bind=True).send(sample(0, {1, 2}), WAIT_S)


def test_a_free_port_is_found_and_told(make_socket: MakeSocket) -> None:
    ports = {make_socket("push", "tcp://127.0.0.1:*", bind=True).addresses[0].rpartition(":")[2] for _ in range(3)}
    assert len(ports) == 3
    assert all(port.isdigit() for port in ports)


def test_a_port_in_use_is_an_address_error(make_socket: MakeSocket) -> None:
    taken = make_socket("push", "tcp://127.0.0.1:*", bind=True).addresses[0]
    with pytest.raises(AddressError, match=f"cannot bind {taken}: .*Another process listens there"):
        make_socket("push", taken, bind=True)


def test_an_address_of_another_machine_is_an_address_error(make_socket: MakeSocket) -> None:
    with pytest.raises(AddressError, match="No network interface of this machine"):
        # An address for documentation alone (RFC 5737).
        make_socket("push", "tcp://192.0.2.1:5555", bind=True, curve=CurveKeys.generate())


BAD_ADDRESSES = ["", "nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "http://127.0.0.1:1", "tcp://:x"]


@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.parametrize("bad", BAD_ADDRESSES)
def test_a_malformed_address_is_an_address_error(bad: str, bind: bool, make_socket: MakeSocket) -> None:
    with pytest.raises(AddressError, match="Expected tcp://HOST:PORT or ipc:///PATH"):
        make_socket("push", bad, bind=bind)


def test_an_ipc_path_that_is_too_long_or_nowhere_is_an_address_error(make_socket: MakeSocket, tmp_path: Path) -> None:
    for path in ("/tmp/" + "x" * 120, f"{tmp_path}/missing/s"):
        with pytest.raises(AddressError, match="cannot bind ipc://"):
            make_socket("push", f"ipc://{path}", bind=True)


def test_what_is_queued_at_close_still_arrives(push_pull: Callable) -> None:
    sender, receiver = push_pull(send_queue=10, recv_queue=1)
    for seq in range(6):
        sender.send(sample(seq, np.zeros(1 << 20, np.uint8)), WAIT_S)
    sender.close(linger_s=WAIT_S)
    assert take(receiver, 6) == list(range(6))


# A process that ends at once, as Blender does, with messages still in its queues.
PUBLISH_AND_EXIT = """
import os, sys
import numpy as np
from blendtorch.wire import Kind, Message
from blendtorch.wire.sockets import MessageSocket, flush
sender = MessageSocket("push", sys.argv[1], bind=True)
for seq in range(6):
    sender.send(Message(Kind.SAMPLE, np.zeros(1 << 20, np.uint8), seq=seq), 20)
sender.close(linger_s=float(sys.argv[2]))
flush(float(sys.argv[3]))
os._exit(0)
"""


def test_flush_lets_a_process_end_only_when_all_has_left(make_socket: MakeSocket, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/flush"
    receiver = make_socket("pull", address, bind=False, queue_size=1)
    process = subprocess.Popen([sys.executable, "-c", PUBLISH_AND_EXIT, address, "20", "20"])
    assert take(receiver, 6) == list(range(6))
    assert process.wait(WAIT_S) == 0


def test_flush_gives_up_in_time(make_socket: MakeSocket, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/flush"
    make_socket("pull", address, bind=False, queue_size=1)  # takes one or two, and never reads
    subprocess.run([sys.executable, "-c", PUBLISH_AND_EXIT, address, "600", "0.2"], check=True, timeout=WAIT_S)


@contextmanager
def answering(address: str, message: Message) -> Iterator[None]:
    """Answers at an address for as long as the block runs."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(answer, address, message, stop)
        try:
            yield
        finally:
            stop.set()
        done.result(WAIT_S)


def ask(receiver: MessageSocket) -> Message:
    receiver.send(Message(Kind.READY, {}), WAIT_S)
    return receiver.recv(WAIT_S)


def test_an_answer_reaches_all_who_ask_as_often_as_they_do(make_socket: MakeSocket, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/answer"
    failure = Message(Kind.ERROR, {"error": "x", "traceback": "y"}, 4)
    early = make_socket("dealer", address, bind=False)
    with answering(address, failure):
        late = make_socket("dealer", address, bind=False)
        assert [ask(receiver) for receiver in (early, late, late)] == [failure] * 3


def test_what_is_no_message_does_not_end_the_answers(make_socket: MakeSocket, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/answer"
    end = Message(Kind.END, {"made": None}, 4)
    with answering(address, end), zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.connect(address)
        stranger.send(b"hello?")
        assert ask(make_socket("dealer", address, bind=False)) == end


def test_answers_end_soon_when_nobody_comes(tmp_path: Path) -> None:
    started = time.monotonic()
    with answering(f"ipc://{tmp_path}/answer", sample(0)):
        pass
    assert time.monotonic() - started < 2


def test_an_answer_leaves_a_living_sender_its_address(make_socket: MakeSocket) -> None:
    taken = make_socket("push", "tcp://127.0.0.1:*", bind=True).addresses[0]
    with pytest.raises(AddressError):
        answer(taken, sample(0), threading.Event())
