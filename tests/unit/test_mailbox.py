"""The mailbox of an environment: who may open it, and that no request and no reply is lost in it."""

import errno
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blendtorch.errors import ProtocolError, SharedMemoryError
from blendtorch.wire import mailbox as module
from blendtorch.wire.mailbox import BY_MESSAGE, HEADER_BYTES, REST_BYTES, WAIT_S, Mailbox, size_of
from blendtorch.wire.spaces import Box, Dict, Discrete, MultiBinary

OBSERVATIONS = Dict({"image": Box(0, 255, (5, 3), np.uint8), "place": Box(-1, 1, (3,)), "none": Box(0, 1, (0,))})
ACTIONS = Dict({"button": Discrete(3), "bits": MultiBinary(3)})
SPACES = OBSERVATIONS, ACTIONS, 3


@pytest.fixture
def box(tmp_path: Path) -> Mailbox:
    return Mailbox.create(tmp_path / "m", *SPACES)


def reopened(box: Mailbox) -> Mailbox:
    return Mailbox.open(box.path, box.token, *SPACES)


def test_both_ends_see_the_same_arrays(box: Mailbox) -> None:
    other = reopened(box)
    assert other.token == box.token
    arrays = [*box.arrays.actions, *box.arrays.results, *box.arrays.final_observations]
    others = [*other.arrays.actions, *other.arrays.results, *other.arrays.final_observations]
    for number, array in enumerate(arrays):
        array.fill(number % 2 if array.dtype == bool else number + 1)
    box.rest[:] = b"\xff" * REST_BYTES
    for number, (array, seen) in enumerate(zip(arrays, others, strict=True)):
        assert (seen.shape, seen.dtype) == (array.shape, array.dtype)
        assert (seen == (number % 2 if array.dtype == bool else number + 1)).all()  # so none overlaps another
        assert array.ctypes.data % 64 == 0
        assert array.shape[0] == 3
    assert bytes(other.rest) == b"\xff" * REST_BYTES
    assert (other.request, other.reply, other.rest_bytes, other.is_by_message) == (0, 0, 0, False)


def test_the_file_is_its_owners_and_has_its_size(box: Mailbox) -> None:
    status = box.path.stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_size == size_of(*SPACES)
    bytes_of_arrays = 3 * (2 * (15 + 12) + 8 + 3 + 8 + 1 + 1)
    assert HEADER_BYTES + bytes_of_arrays + REST_BYTES <= status.st_size
    assert status.st_size <= HEADER_BYTES + bytes_of_arrays + REST_BYTES + 64 * 13


def test_a_mailbox_takes_the_place_of_what_was_there(box: Mailbox) -> None:
    box.post_request(5)
    other = Mailbox.create(box.path, *SPACES)
    assert other.token != box.token
    assert other.request == 0
    with pytest.raises(ProtocolError, match="not the mailbox that the environment has named"):
        Mailbox.open(box.path, box.token, *SPACES)


def test_a_mailbox_that_was_removed_serves_those_who_have_it(box: Mailbox) -> None:
    other = reopened(box)
    box.remove()
    box.remove()
    box.post_request(7)
    assert other.request == 7
    with pytest.raises(SharedMemoryError, match="No such file"):
        reopened(box)


def make_foreign(path: Path, box: Mailbox) -> None:
    path.unlink()
    path.write_bytes(b"\0" * size_of(*SPACES))
    path.chmod(0o600)


def make_another_magic(path: Path, box: Mailbox) -> None:
    box._words[module.MAGIC_WORD] += 1


def make_a_link(path: Path, box: Mailbox) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def make_a_folder(path: Path, box: Mailbox) -> None:
    path.unlink()
    path.mkdir()


def make_a_pipe(path: Path, box: Mailbox) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def make_shorter(path: Path, box: Mailbox) -> None:
    os.truncate(path, size_of(*SPACES) - 1)


def make_longer(path: Path, box: Mailbox) -> None:
    os.truncate(path, size_of(*SPACES) + 4096)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (make_foreign, ProtocolError),
        (make_another_magic, ProtocolError),
        (make_a_link, SharedMemoryError),
        (make_a_folder, SharedMemoryError),
        (make_a_pipe, ProtocolError),
        (make_shorter, ProtocolError),
        (make_longer, ProtocolError),
        (lambda path, box: os.truncate(path, 0), ProtocolError),
        (lambda path, box: path.chmod(0o604), ProtocolError),
        (lambda path, box: path.chmod(0o660), ProtocolError),
        (lambda path, box: path.unlink(), SharedMemoryError),
    ],
)
def test_what_is_no_mailbox_of_this_users_is_refused(
    box: Mailbox, change: Callable[[Path, Mailbox], None], error: type[Exception]
) -> None:
    change(box.path, box)
    open_files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match="mailbox"):
        reopened(box)
    assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.mark.parametrize("token", [0, -1, 2**62, 2**64, 2**200])
def test_another_token_is_refused(box: Mailbox, token: int) -> None:
    with pytest.raises(ProtocolError, match="not the mailbox that the environment has named"):
        Mailbox.open(box.path, token, *SPACES)


@pytest.mark.parametrize(
    "spaces", [(OBSERVATIONS, ACTIONS, 30), (Box(0, 1, (50,)), ACTIONS, 3), (OBSERVATIONS, MultiBinary(500), 3)]
)
def test_a_mailbox_for_other_spaces_is_refused(box: Mailbox, spaces: tuple) -> None:
    with pytest.raises(ProtocolError, match="for these spaces"):
        Mailbox.open(box.path, box.token, *spaces)


def test_too_little_shared_memory_is_told_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SharedMemoryError, match=rf"{size_of(*SPACES)} bytes .* do not fit .*No space left") as caught:
        Mailbox.create(tmp_path / "m", *SPACES)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SharedMemoryError, match="cannot make the mailbox"):
        Mailbox.create(tmp_path / "no" / "m", *SPACES)


def test_requests_and_replies_have_numbers(box: Mailbox) -> None:
    client = reopened(box)
    assert not box.await_request(1, 0)
    assert not client.post_request(1)
    assert box.await_request(1, 0)
    assert not box.await_request(2, 0)
    assert not box.is_by_message
    assert not client.await_reply(1, 0)
    assert not box.post_reply(1, 17)
    assert client.await_reply(1, 0)
    assert client.rest_bytes == 17
    client.post_request(2**53, by_message=True)
    assert box.request == 2**53
    assert box.is_by_message
    box.post_reply(2**53, BY_MESSAGE)
    assert (client.reply, client.rest_bytes) == (2**53, BY_MESSAGE)
    client.post_request(3)
    assert not box.is_by_message


def test_who_sleeps_is_to_be_woken(box: Mailbox) -> None:
    client = reopened(box)
    box.say_server_sleeps(True)
    assert client.post_request(1)
    assert not box.post_reply(1, 0)
    box.say_server_sleeps(False)
    client.say_client_sleeps(True)
    assert not client.post_request(2)
    assert box.post_reply(2, 0)
    client.say_client_sleeps(False)
    assert not box.post_reply(2, 0)


PEER = """
import os, select, sys
from pathlib import Path
import numpy as np
from blendtorch.wire.mailbox import Mailbox
sys.path.insert(0, {here!r})
from test_mailbox import SPACES
wake, bell = {wake}, {bell}
box = Mailbox.open(Path({path!r}), {token}, *SPACES)
arrays = box.arrays
for number in range(1, {count} + 1):
    if not box.await_request(number, {wait_s}):
        box.say_server_sleeps(True)
        while box.request != number:
            assert select.select([wake], [], [], 20)[0], "the server was not woken"
            os.read(wake, 64)
        box.say_server_sleeps(False)
        assert box.await_request(number, 0)
    arrays.rewards[:] = arrays.actions[1] * number
    for leaf in arrays.observations:
        leaf.fill(number % 251)
    rest = str(number).encode() * (number % 7)
    box.rest[: len(rest)] = rest
    if box.post_reply(number, len(rest)):
        os.write(bell, b"x")
"""


@pytest.mark.parametrize(
    ("server_wait_s", "client_wait_s"),
    [(WAIT_S, WAIT_S), (0, 0), (20, 20), (0, WAIT_S), (1e-5, 1e-5)],
    ids=["as it is", "asleep", "awake", "one asleep", "a little"],
)
def test_two_processes_lose_nothing(box: Mailbox, server_wait_s: float, client_wait_s: float) -> None:
    count = 10_000
    wake, wakes = os.pipe()
    bell, bells = os.pipe()
    here = str(Path(__file__).parent)
    values = {"here": here, "path": str(box.path), "token": box.token, "count": count, "wait_s": server_wait_s}
    source = PEER.format(wake=wake, bell=bells, **values)
    server = subprocess.Popen([sys.executable, "-c", source], pass_fds=[wake, bells])
    os.close(wake)
    os.close(bells)
    try:
        arrays = box.arrays
        for number in range(1, count + 1):
            arrays.actions[1][:] = number % 3
            if box.post_request(number):
                os.write(wakes, b"x")
            if not box.await_reply(number, client_wait_s):
                box.say_client_sleeps(True)
                while box.reply != number:
                    assert select.select([bell], [], [], 20)[0], "the client was not woken"
                    assert os.read(bell, 64), "the server has ended"
                box.say_client_sleeps(False)
                assert box.await_reply(number, 0)
            assert arrays.rewards.tolist() == [number % 3 * number] * 3
            assert arrays.observations[0][2, 4, 2] == number % 251
            rest = str(number).encode() * (number % 7)
            assert bytes(box.rest[: box.rest_bytes]) == rest
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()
        os.close(wakes)
        os.close(bell)
