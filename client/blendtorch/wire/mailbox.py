"""A mailbox in shared memory: the steps of an environment without a message each.

One file with a place for one request and one for its reply. The client writes the actions, then the number of the request;
Blender does the step, writes what came of it, then the number of the reply. Each end waits awake for a short while,
for that is how long a step of physics takes, then says that it sleeps and waits at its ZeroMQ socket, where the other
one wakes it with a message (`docs/protocol.md`, section 14).

The file::

    header      64 words: magic, token, number of the request, number of the reply, ...
    arrays      those of `StepArrays`, in that order, each at a multiple of 64 bytes
    rest        what else the reply says, as a packed message

A word is a little-endian 64-bit integer.
"""

import mmap
import os
import secrets
import stat
import time
from pathlib import Path

import numpy as np

from ..errors import ProtocolError, SharedMemoryError
from .ring_memory import fence
from .spaces import Space
from .step_arrays import StepArrays

MAGIC = 0x31_4C_49_41_4D_54_42  # "BTMAIL1"
HEADER_BYTES = 512
REST_BYTES = 65_536
_ALIGNMENT = 64
MAGIC_WORD, TOKEN_WORD, REQUEST_WORD, REPLY_WORD, REST_WORD, SERVER_SLEEPS_WORD, CLIENT_SLEEPS_WORD = range(7)
BY_MESSAGE_WORD = 7
# What `rest_bytes` says of a reply that a message brings, its arrays, too, or an error in its place.
BY_MESSAGE = -1

# How long one waits awake. A round trip through the sockets takes about 0.1 ms, so there is no use in much more.
AWAKE_S = 150e-6
# Where more processes wait than there are cores, whoever waits awake keeps those from working for whom it waits.
AWAKE_IN_A_CROWD_S = 10e-6
# Then it naps, a sixty-fourth of the time so far, and some 60 us at least. To be woken at a socket takes longer than that,
# up to a millisecond; it is for those who wait for long.
WAIT_S = 50e-3
_NAP_S = 1e-6
_NAP_SHARE = 64
_give_way = getattr(os, "sched_yield", lambda: time.sleep(0))


class Mailbox:
    """The memory of one mailbox; `create` makes it, in Blender, and `open` finds it, at the client.

    Attributes:
        path: Its file.
        token: A number drawn when it was made: a path can be guessed, this cannot.
        arrays: What the step takes and gives.
        rest: The place for what else a reply says.
        awake_s: How many seconds this end waits awake.
    """

    def __init__(
        self, path: Path, memory: mmap.mmap, observation_space: Space, action_space: Space, num_agents: int
    ) -> None:
        self.path = path
        self.awake_s = AWAKE_S
        self._memory = memory
        self._words = memoryview(memory)[:HEADER_BYTES].cast("q")
        self.token = self._words[TOKEN_WORD]
        end = HEADER_BYTES

        def place(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            nonlocal end
            array: np.ndarray = np.ndarray(shape, dtype, memory, end)
            end = _aligned(end + array.nbytes)
            return array

        self.arrays = StepArrays.allocate(observation_space, action_space, num_agents, place)
        self.rest = memoryview(memory)[end : end + REST_BYTES]

    @classmethod
    def create(cls, path: Path, observation_space: Space, action_space: Space, num_agents: int) -> "Mailbox":
        """Makes a mailbox.

        Args:
            path: Its file, which is replaced if it is there.
            observation_space: Of one agent.
            action_space: Of one agent.
            num_agents: How many agents there are.

        Raises:
            SharedMemoryError: There is too little shared memory, or the file cannot be made.
        """
        size = size_of(observation_space, action_space, num_agents)
        try:
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SharedMemoryError(error.errno, f"cannot make the mailbox {path}: {error.strerror}.") from None
        try:
            os.posix_fallocate(descriptor, 0, size)
            memory = mmap.mmap(descriptor, size)
        except OSError as error:
            path.unlink()
            raise SharedMemoryError(
                error.errno, f"{size} bytes for the mailbox of an environment do not fit at {path}: {error.strerror}."
            ) from None
        finally:
            os.close(descriptor)
        words = memoryview(memory)[:HEADER_BYTES].cast("q")
        words[TOKEN_WORD] = secrets.randbits(62)
        words[MAGIC_WORD] = MAGIC
        words.release()
        return cls(path, memory, observation_space, action_space, num_agents)

    @classmethod
    def open(cls, path: Path, token: int, observation_space: Space, action_space: Space, num_agents: int) -> "Mailbox":
        """Finds the mailbox that an environment has made.

        Args:
            path: Its file.
            token: Its token.
            observation_space: Of one agent.
            action_space: Of one agent.
            num_agents: How many agents there are.

        Raises:
            ProtocolError: The file is no mailbox of this user's for these spaces, or not the one with that token.
            SharedMemoryError: It cannot be opened here.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise SharedMemoryError(error.errno, f"cannot open the mailbox {path}: {error.strerror}.") from None
        try:
            status = os.fstat(descriptor)
            private = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
            if not private or status.st_size != size_of(observation_space, action_space, num_agents):
                raise ProtocolError(f"{path} is no mailbox of this user's for these spaces.")
            memory = mmap.mmap(descriptor, status.st_size)
        except OSError as error:
            raise SharedMemoryError(error.errno, f"cannot map the mailbox {path}: {error.strerror}.") from None
        finally:
            os.close(descriptor)
        words = memoryview(memory)[:HEADER_BYTES].cast("q")
        good = words[MAGIC_WORD] == MAGIC and words[TOKEN_WORD] == token
        words.release()
        if not good:
            raise ProtocolError(f"{path} is not the mailbox that the environment has named.")
        return cls(path, memory, observation_space, action_space, num_agents)

    @property
    def request(self) -> int:
        """Number of the last request."""
        return self._words[REQUEST_WORD]

    @property
    def reply(self) -> int:
        """Number of the request that was answered last."""
        return self._words[REPLY_WORD]

    @property
    def rest_bytes(self) -> int:
        """How many bytes of `rest` belong to the reply; `BY_MESSAGE` when all of it comes by message."""
        return self._words[REST_WORD]

    @property
    def is_by_message(self) -> bool:
        """Whether the last request came by message, and is no step that lies here."""
        return self._words[BY_MESSAGE_WORD] != 0

    def post_request(self, number: int, by_message: bool = False) -> bool:
        """Says that a request is there, or was sent by message; whether Blender sleeps and wants to be woken."""
        self._words[BY_MESSAGE_WORD] = by_message
        fence()
        self._words[REQUEST_WORD] = number
        fence()
        return self._words[SERVER_SLEEPS_WORD] != 0

    def post_reply(self, number: int, rest_bytes: int) -> bool:
        """Says that the reply is there; whether the client sleeps and wants to be woken."""
        self._words[REST_WORD] = rest_bytes
        fence()
        self._words[REPLY_WORD] = number
        fence()
        return self._words[CLIENT_SLEEPS_WORD] != 0

    def await_request(self, number: int, wait_s: float = WAIT_S) -> bool:
        """Waits for a request or a later one, awake and then napping, `wait_s` seconds at most; whether it is there."""
        return self._await(REQUEST_WORD, number, wait_s)

    def await_reply(self, number: int, wait_s: float = WAIT_S) -> bool:
        """As `await_request`, for a reply."""
        return self._await(REPLY_WORD, number, wait_s)

    def say_server_sleeps(self, sleeps: bool) -> None:
        """Says whether Blender wants to be woken. Look once more, after this, whether there is a request."""
        self._words[SERVER_SLEEPS_WORD] = sleeps
        fence()

    def say_client_sleeps(self, sleeps: bool) -> None:
        """Says whether the client wants to be woken. Look once more, after this, whether there is a reply."""
        self._words[CLIENT_SLEEPS_WORD] = sleeps
        fence()

    def remove(self) -> None:
        """Removes the file; the memory goes with the last who uses it."""
        self.path.unlink(missing_ok=True)

    def _await(self, word: int, number: int, wait_s: float) -> bool:
        words = self._words
        if words[word] < number:
            give_way = _give_way
            started = time.perf_counter()
            until, awake_until = started + wait_s, started + min(self.awake_s, wait_s)
            while words[word] < number:
                now = time.perf_counter()
                if now < awake_until:
                    give_way()
                elif now < until:
                    time.sleep(max(_NAP_S, (now - started) / _NAP_SHARE))
                else:
                    return False
        fence()
        return True


def size_of(observation_space: Space, action_space: Space, num_agents: int) -> int:
    """Size of the file, in bytes."""
    end = HEADER_BYTES

    def count(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        nonlocal end
        end = _aligned(end + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        return np.empty(0, dtype)

    StepArrays.allocate(observation_space, action_space, num_agents, count)
    return end + REST_BYTES


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
