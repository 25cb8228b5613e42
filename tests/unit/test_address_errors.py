"""What is said of an address that cannot be bound, also where ZeroMQ's numbers of errors are not Python's: on Windows."""

import errno
import importlib.util
import sys

import pytest
import zmq

from blendtorch.errors import AddressError
from blendtorch.wire import sockets
from blendtorch.wire.sockets import MessageSocket


@pytest.fixture
def on_windows(monkeypatch):
    """The table of errors that pyzmq has on Windows."""
    spec = importlib.util.find_spec("zmq.constants")
    constants = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        spec.loader.exec_module(constants)
    monkeypatch.setattr(zmq, "Errno", constants.Errno)
    return constants.Errno


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("EADDRINUSE", "Another process listens there"),
        ("EADDRNOTAVAIL", "No network interface"),
        ("EINVAL", "Expected"),
    ],
)
def test_errors_have_pythons_numbers_whatever_zeromqs_are(on_windows, name, advice):
    error = zmq.ZMQError(on_windows[name].value)
    told = sockets._address_error("tcp://127.0.0.1:5000", True, error)
    assert told.errno == getattr(errno, name)
    assert advice in str(told)


def test_numbers_that_zeromq_has_no_name_for_stay(on_windows):
    told = sockets._address_error("tcp://127.0.0.1:80", True, zmq.ZMQError(errno.EACCES))
    assert told.errno == errno.EACCES
    told = sockets._address_error("tcp://127.0.0.1:80", True, zmq.ZMQError(on_windows.ETERM.value))
    assert told.errno == on_windows.ETERM  # `errno` has none for it


def test_a_port_that_is_taken_is_told_by_its_number():
    first = MessageSocket("push", "tcp://127.0.0.1:*", bind=True)
    try:
        with pytest.raises(AddressError, match="Another process listens there") as raised:
            MessageSocket("push", first.addresses, bind=True)
        assert raised.value.errno == errno.EADDRINUSE
    finally:
        first.close()
