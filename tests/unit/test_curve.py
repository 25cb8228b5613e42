"""Keys: with the launch's own everything passes; without, or with others, nothing does, in either direction."""

import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import zmq

from blendtorch.btt import CurveKeys
from blendtorch.btt import DuplexChannel as Client
from blendtorch.errors import AddressError, AuthenticationError, ConfigError, PeerTimeout
from blendtorch.wire import Kind, Message, encode, handshake
from blendtorch.wire.curve import ENVIRONMENT_VARIABLE, needs_curve
from blendtorch.wire.duplex import DuplexChannel
from blendtorch.wire.sockets import MessageSocket, RouterSocket, answer

WAIT_S = 20.0
SILENCE_S = 0.4
ANY_PORT = "tcp://127.0.0.1:*"
KEYS = CurveKeys.generate()
OTHERS = CurveKeys.generate()
SECRET = b"what nobody else may read " * 4
MakeSocket = Callable[..., MessageSocket]

# Who must stay outside: the keys, and what the client is told.
STRANGERS = {
    "no keys": (None, "wants keys. Pass curve="),
    "keys of another launch": (OTHERS, "not the server key of curve="),
    "the right server key but an unknown client's": (
        CurveKeys(KEYS.server_public, OTHERS.client_public, client_secret=OTHERS.client_secret),
        "does not know the client key",
    ),
}


class Instance(DuplexChannel):
    """The end of a duplex channel that binds, without Blender."""

    _binds = True


@pytest.fixture
def make_router() -> Iterator[Callable[..., RouterSocket]]:
    made = []

    def make(curve: CurveKeys | None = KEYS, address: str = ANY_PORT) -> RouterSocket:
        made.append(RouterSocket(address, curve))
        return made[-1]

    yield make
    for router in made:
        router.close()


def ready(seq: int = 0) -> Message:
    return Message(Kind.READY, {}, seq=seq)


def test_a_router_and_a_dealer_with_the_keys_talk(make_router: Callable, make_socket: MakeSocket) -> None:
    router = make_router(KEYS.for_instances())
    dealer = make_socket("dealer", router.address, bind=False, curve=KEYS.for_clients())
    dealer.send(ready(3), WAIT_S)
    peer, heard = router.recv(WAIT_S)
    assert heard.seq == 3
    image = np.arange(1 << 20, dtype=np.uint8)
    assert router.send(peer, encode(Message(Kind.SAMPLE, {"image": image}, 0)))
    np.testing.assert_array_equal(dealer.recv(WAIT_S).body["image"], image)
    assert dealer.refused is None


@pytest.mark.parametrize("address", [ANY_PORT, "ipc://{}/s"])
def test_a_duplex_channel_with_the_keys(address: str, tmp_path: Path) -> None:
    instance = Instance(address.format(tmp_path), 0, curve=KEYS.for_instances())
    client = Client(instance.address, curve=KEYS.for_clients())
    client.send(value=SECRET)
    assert instance.recv()["value"] == SECRET
    instance.send(value=7)
    assert client.recv()["value"] == 7
    client.close()
    instance.close()


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_hears_and_says_nothing(
    who: str, make_router: Callable, make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "_MANY_FAILURES", 3)
    monkeypatch.setattr(handshake, "_PATIENCE_S", 0.3)
    keys, why = STRANGERS[who]
    router = make_router()
    for _ in range(2):
        stranger = make_socket("dealer", router.address, bind=False, curve=keys)
        with suppress(AuthenticationError):
            stranger.send(ready(66), 1)
        started = time.monotonic()
        with pytest.raises(AuthenticationError, match=re.escape(router.address) + ".*" + re.escape(why)):
            stranger.recv(WAIT_S)
        assert time.monotonic() - started < WAIT_S / 2
        with pytest.raises(AuthenticationError):
            stranger.try_recv()
        assert why in stranger.refused
    assert router.recv(SILENCE_S) is None
    # The rightful client is served all the same.
    friend = make_socket("dealer", router.address, bind=False, curve=KEYS)
    friend.send(ready(1), WAIT_S)
    assert router.recv(WAIT_S)[1].seq == 1


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_does_not_get_what_a_pair_sends(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_MANY_FAILURES", 3)
    monkeypatch.setattr(handshake, "_PATIENCE_S", 0.3)
    keys, why = STRANGERS[who]
    instance = Instance(ANY_PORT, 0, curve=KEYS, timeoutms=500)
    stranger = Client(instance.address, curve=keys, timeoutms=WAIT_S * 1000)
    with suppress(AuthenticationError):
        stranger.send(command="render")
    with pytest.raises(PeerTimeout):
        instance.send(value=SECRET)
    with pytest.raises(AuthenticationError, match=re.escape(why)):
        stranger.recv()
    assert instance.recv(timeoutms=100) is None
    stranger.close()
    instance.close()


def test_refusals_are_logged_once_an_address_and_counted(
    make_router: Callable, make_socket: MakeSocket, caplog: pytest.LogCaptureFixture
) -> None:
    router = make_router()
    handshake._gate.refused.clear()  # of other tests
    for who, where in [
        ("the right server key but an unknown client's", "127.0.0.1"),
        ("no keys", router.address),  # which peer it was ZeroMQ does not tell
    ]:
        caplog.clear()
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                make_socket("dealer", router.address, bind=False, curve=STRANGERS[who][0]).recv(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while handshake.refused_peers().get(where) != 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert handshake.refused_peers()[where] == 3
        (record,) = [record for record in caplog.records if f"refused a peer at {where}:" in record.message]
        assert record.levelno == logging.WARNING


def test_one_failed_handshake_is_no_refusal(make_socket: MakeSocket) -> None:
    """A tunnel whose other end is not there yet takes the connection and closes it: the receiver goes on trying."""
    with socket.create_server(("127.0.0.1", 0)) as tunnel:
        port = tunnel.getsockname()[1]
        client = make_socket("dealer", f"tcp://127.0.0.1:{port}", bind=False, curve=KEYS)
        tunnel.accept()[0].close()
        with pytest.raises(PeerTimeout, match=r"connection\(s\) to tcp://127\.0\.0\.1:\d+ ended in the handshake"):
            client.recv(0.5)
    router = RouterSocket(f"tcp://127.0.0.1:{port}", KEYS)
    client.send(ready(9), WAIT_S)
    assert router.recv(WAIT_S)[1].seq == 9
    router.close()
    with pytest.raises(PeerTimeout, match=r"for 0\.1 s\.$"):
        client.recv(0.1)
    assert client.refused is None


def listen(port: int) -> socket.socket:
    """ZeroMQ lets go of a port in the background."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@contextmanager
def broken_tunnel(port: int) -> Iterator[list[int]]:
    """Takes connections and closes them, as `ssh -L` does with nobody behind it; counts them."""
    count = [0]
    with listen(port) as tunnel:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    tunnel.accept()[0].close()
                    count[0] += 1

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        yield count
        tunnel.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT_S)


def test_a_tunnel_that_is_broken_for_some_seconds_is_no_refusal(make_socket: MakeSocket) -> None:
    """However many connections it closes meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with broken_tunnel(port) as count:
        client = make_socket("dealer", f"tcp://127.0.0.1:{port}", bind=False, curve=KEYS)
        with pytest.raises(PeerTimeout, match="ended in the handshake"):
            client.recv(5)
        assert count[0] > handshake._MANY_FAILURES


def test_keys_that_were_right_are_not_blamed(make_socket: MakeSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their instance is being restarted, behind a tunnel that still takes connections."""
    monkeypatch.setattr(handshake, "_MANY_FAILURES", 3)
    monkeypatch.setattr(handshake, "_PATIENCE_S", 0.3)
    router = RouterSocket(ANY_PORT, KEYS)
    address = router.address
    client = make_socket("dealer", address, bind=False, curve=KEYS)
    client.send(ready(1), WAIT_S)
    assert router.recv(WAIT_S)[1].seq == 1
    router.close()
    with broken_tunnel(int(address.rpartition(":")[2])) as count:
        with pytest.raises(PeerTimeout):
            client.recv(2)
        assert count[0] > 3
    router = RouterSocket(address, KEYS)
    client.send(ready(2), WAIT_S)
    assert router.recv(WAIT_S)[1].seq == 2
    router.close()


def test_a_client_with_keys_does_not_talk_to_who_has_none(make_router: Callable, make_socket: MakeSocket) -> None:
    router = make_router(None)
    client = make_socket("dealer", router.address, bind=False, curve=KEYS)
    with pytest.raises(AuthenticationError, match=r"it has no keys\. Leave curve= out"):
        client.recv(WAIT_S)
    assert router.recv(SILENCE_S) is None


def test_nobody_comes_in_when_nobody_checks(make_router: Callable, make_socket: MakeSocket) -> None:
    """The gate failing must not open it."""
    script = """
import sys
from blendtorch.wire.curve import CurveKeys
from blendtorch.wire import Kind, Message, handshake
from blendtorch.wire.sockets import MessageSocket, RouterSocket
handshake.Gate._answer = None  # its thread ends on the first question
keys = CurveKeys.generate()
router = RouterSocket("tcp://127.0.0.1:*", keys)
for _ in range(2):
    client = MessageSocket("dealer", router.address, bind=False, curve=keys)
    client.send(Message(Kind.READY, {}), 5)
    assert router.recv(1) is None
    client.close()
print("closed")
"""
    end = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "closed" in end.stdout, end.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "192.0.2.1", "example.org", "[::]"])
def test_other_machines_need_keys(host: str, make_socket: MakeSocket, make_router: Callable) -> None:
    address = f"tcp://{host}:0"
    assert needs_curve(address)
    for bind in (
        lambda: make_socket("push", address, bind=True),
        lambda: make_router(None, address),
        lambda: answer(address, ready(), threading.Event()),
        lambda: Instance(address),
    ):
        with pytest.raises(ConfigError, match=f"(?s)binding {re.escape(address)} .*{ENVIRONMENT_VARIABLE}"):
            bind()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "tcp://localhost:5", "tcp://[::1]:5", "ipc:///tmp/0.0.0.0:1"])
def test_this_machine_needs_none(address: str) -> None:
    assert not needs_curve(address)


def test_other_transports_are_refused(make_socket: MakeSocket) -> None:
    for address in ("ws://0.0.0.0:0", "udp://0.0.0.0:5", "inproc://x", "vmci://*:*"):
        with pytest.raises(AddressError):
            make_socket("push", address, bind=True)


def test_all_interfaces_with_keys(make_router: Callable, make_socket: MakeSocket) -> None:
    router = make_router(KEYS, "tcp://0.0.0.0:*")
    dealer = make_socket("dealer", router.address.replace("0.0.0.0", "127.0.0.1"), bind=False, curve=KEYS)
    dealer.send(ready(2), WAIT_S)
    assert router.recv(WAIT_S)[1].seq == 2


def test_the_keys_of_the_other_end_do_not_serve(make_socket: MakeSocket) -> None:
    with pytest.raises(ConfigError, match="server_secret"):
        make_socket("pair", ANY_PORT, bind=True, curve=KEYS.for_clients())
    with pytest.raises(ConfigError, match="client_secret"):
        make_socket("pair", "tcp://127.0.0.1:5", bind=False, curve=KEYS.for_instances())


def test_an_answer_in_place_of_an_instance_is_for_clients_alone(make_router: Callable, make_socket: MakeSocket) -> None:
    placeholder = make_router()
    address = placeholder.address
    placeholder.close()
    stop = threading.Event()

    def answer_once_free() -> None:  # ZeroMQ lets go of an address in the background
        while not stop.is_set():
            with suppress(AddressError):
                answer(address, Message(Kind.ERROR, {"error": "x"}, 1), stop, KEYS)

    thread = threading.Thread(target=answer_once_free)
    thread.start()
    try:
        client = make_socket("dealer", address, bind=False, curve=KEYS.for_clients())
        client.send(ready(), WAIT_S)
        assert client.recv(WAIT_S).kind == Kind.ERROR
        with pytest.raises(AuthenticationError):
            make_socket("dealer", address, bind=False).recv(WAIT_S)
    finally:
        stop.set()
        thread.join(WAIT_S)


class Wiretap:
    """A tcp proxy for one connection, which keeps all that passes."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._target = (host, int(port))
        self.heard = bytearray()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(self._target)
        threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
        self._pump(client, server)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self.heard += data
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(("keys", "readable"), [(KEYS, False), (None, True)])
def test_who_listens_in_on_the_way_reads_nothing(keys: CurveKeys | None, readable: bool) -> None:
    instance = Instance(ANY_PORT, 0, curve=keys)
    tap = Wiretap(instance.address)
    client = Client(tap.address, curve=keys)
    client.send(value=SECRET)
    assert instance.recv()["value"] == SECRET
    instance.send(value=np.frombuffer(SECRET * 1000, np.uint8))
    assert client.recv()["value"].tobytes() == SECRET * 1000
    client.close()
    instance.close()
    assert len(tap.heard) > len(SECRET) * 1000
    assert (SECRET[:20] in tap.heard) is readable
    assert (b"BLENDTORCH" in tap.heard) is readable


def test_a_process_with_keys_ends_at_once() -> None:
    """As Blender ends: flushed, with sockets that still are open, and a client that goes on trying."""
    script = """
import os, sys
from blendtorch.wire.curve import CurveKeys
from blendtorch.wire import Kind, Message
from blendtorch.wire.sockets import MessageSocket, RouterSocket, flush
keys = CurveKeys.from_text(sys.stdin.read())
for turn in range(3):  # a gate for each context
    router = RouterSocket("tcp://127.0.0.1:*", keys)
    pair = MessageSocket("pair", "tcp://127.0.0.1:*", bind=True, curve=keys)
    client = MessageSocket("pair", pair.addresses, bind=False, curve=keys)
    stranger = MessageSocket("pair", router.address, bind=False)
    client.send(Message(Kind.DUPLEX, {}, seq=turn), 10)
    assert pair.recv(10).seq == turn
    if turn % 2:
        client.close(), pair.close(), router.close()
    flush(10)
    client.close(), pair.close(), router.close()  # once more, or late
print("ended", flush=True)
os._exit(0)
"""
    started = time.monotonic()
    end = subprocess.run(
        [sys.executable, "-c", script], input=KEYS.to_text(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (end.returncode, end.stdout) == (0, "ended\n"), end.stderr
    assert time.monotonic() - started < 20


def test_a_forked_process_has_a_gate_of_its_own(make_router: Callable) -> None:
    make_router()
    script = """
import os
from blendtorch.wire.curve import CurveKeys
from blendtorch.wire import Kind, Message
from blendtorch.wire.sockets import MessageSocket, RouterSocket
keys = CurveKeys.generate()
def talk():
    router = RouterSocket("tcp://127.0.0.1:*", keys)
    client = MessageSocket("dealer", router.address, bind=False, curve=keys)
    client.send(Message(Kind.READY, {}), 10)
    assert router.recv(10) is not None
talk()
if os.fork() == 0:
    talk()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    end = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert end.stdout == "7\n", end.stderr


def test_another_authenticator_in_this_process_is_told_of() -> None:
    script = """
import zmq
from blendtorch.wire.curve import CurveKeys
from blendtorch.errors import AddressError
from blendtorch.wire.sockets import RouterSocket
zap = zmq.Context.instance().socket(zmq.REP)
zap.bind("inproc://zeromq.zap.01")
try:
    RouterSocket("tcp://127.0.0.1:*", CurveKeys.generate())
except AddressError as error:
    print(error)
"""
    end = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "ZAP authenticator" in end.stdout, end.stderr


def test_zmq_enforces_what_we_rely_on() -> None:
    assert zmq.has("curve")
    assert zmq.zmq_version_info() >= (4, 3, 3)  # before, peers took part before their handshakes ended
