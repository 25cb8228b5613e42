"""The client's end of an environment inside one Blender: requests, replies, and the mailbox that steps go through."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gymnasium.error import ClosedEnvironmentError

from ...errors import InstanceError, PeerTimeout, ProtocolError, SharedMemoryError
from ...wire import Kind, Message, decode
from ...wire.codec import MAX_MESSAGE_BYTES
from ...wire.curve import CurveKeys
from ...wire.mailbox import AWAKE_IN_A_CROWD_S, BY_MESSAGE, REST_BYTES, Mailbox, size_of
from ...wire.message import script_error
from ...wire.receivers import host_id, offered_ring
from ...wire.rest import unpack
from ...wire.sockets import MessageSocket
from ...wire.spaces import Space, leaves, space_from_body
from ...wire.step_arrays import StepArrays, dtype_of
from .infos import Infos
from .replies import as_dict, check_arrays, check_begun, check_infos

# How often it is looked, while an answer is waited for, whether its Blender still lives.
_LOOK_EVERY_S = 0.05
# After how long an environment is asked once more to open, over another connection; each time it is twice as long.
_ASK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Description:
    """What an environment says of itself when it is opened.

    Attributes:
        observation_space: Of one agent.
        action_space: Of one agent.
        num_agents: How many agents it has.
        max_episode_steps: After so many steps an episode is truncated; None for no limit.
        metadata: For Gymnasium's `metadata`.
        real_time: Whether the simulation goes on by itself.
    """

    observation_space: Space
    action_space: Space
    num_agents: int
    max_episode_steps: int | None
    metadata: dict[str, Any]
    real_time: bool

    @classmethod
    def read(cls, body: dict[str, Any]) -> "Description":
        """Reads the reply to "open".

        Raises:
            ProtocolError: It is none.
        """
        try:
            found = cls(
                space_from_body(body["observation_space"]),
                space_from_body(body["action_space"]),
                *(body[name] for name in ("num_agents", "max_episode_steps", "metadata", "real_time")),
            )
        except KeyError as error:
            raise ProtocolError(f"the environment does not say what its {error} is.") from None
        limit = found.max_episode_steps
        good = {
            "num_agents": type(found.num_agents) is int and 0 < found.num_agents < 1 << 20,
            "max_episode_steps": limit is None or (type(limit) is int and 0 < limit < 1 << 53),
            "metadata": isinstance(found.metadata, dict),
            "real_time": type(found.real_time) is bool,
        }
        if wrong := [name for name, is_good in good.items() if not is_good]:
            raise ProtocolError(f"the environment says of its {', '.join(wrong)} what cannot be.")
        size = size_of(found.observation_space, found.action_space, found.num_agents)
        if size > 2 * MAX_MESSAGE_BYTES:
            raise ProtocolError(
                f"a step of the environment takes {size} bytes, expected at most {2 * MAX_MESSAGE_BYTES}: it has too many "
                "agents, or too large observations."
            )
        return found


class EnvConnection:
    """One connection to an environment; not thread-safe, but for `close`, which ends what waits on another thread.

    Args:
        address: Where it is served.
        btid: Id of the instance.
        curve: The keys of the launch, where it has some.
        check: Called now and then while an answer is waited for; raises when none will come.

    Attributes:
        description: What the environment is, once it was opened.
        arrays: What the next step takes, and what the last one gave.
        number: Of the last request.
    """

    description: Description
    arrays: StepArrays

    def __init__(self, address: str, btid: int, curve: CurveKeys | None, check: Callable[[], None]) -> None:
        self.btid = btid
        # From anywhere: what is still answered to a client that has left must not be taken for an answer to this one.
        self.number = secrets.randbits(48)
        self._check = check
        self._closed = False
        self._using = threading.Lock()  # the socket, which another thread may want to close
        self._mailbox: Mailbox | None = None
        self._early: Message | None = None  # that came while the mailbox was looked at
        self._address = address
        self._connect = partial(MessageSocket, "pair", address, bind=False, curve=curve)
        self._socket = self._connect()

    def open(
        self, autoreset: str, real_time: bool | None, timeout_s: float | None, crowded: bool = False
    ) -> Description:
        """Opens the environment.

        Args:
            autoreset: When the next episode begins; a value of Gymnasium's `AutoresetMode`.
            real_time: Whether the simulation goes on by itself; None as the environment says.
            timeout_s: How many seconds it may take; None for any.
            crowded: Whether there are more processes than cores, so that nobody should wait awake for long.

        Raises:
            PeerTimeout: No answer came in time.
            ScriptError: The environment raised.
            ProtocolError: The answer cannot be read.
        """
        asked = {"autoreset": autoreset, "real_time": real_time, "crowded": crowded}
        body = as_dict(self._ask_to_open(timeout_s, host=host_id(), **asked))
        found = Description.read(body)
        observations, actions, num_agents = found.observation_space, found.action_space, found.num_agents
        if isinstance(body.get("mailbox"), dict):
            try:
                self._mailbox = Mailbox.open(*offered_ring(body["mailbox"]), observations, actions, num_agents)
                if crowded:
                    self._mailbox.awake_s = AWAKE_IN_A_CROWD_S
            except SharedMemoryError:
                # It was said to be here, and is not. The environment has to know: then steps go by message.
                self._ask_to_open(timeout_s, host="", **asked)
        self.description = found
        self.arrays = StepArrays.allocate(observations, actions, num_agents)
        return found

    def call(self, name: str, timeout_s: float | None, **arguments: Any) -> Any:
        """Sends a request and waits for its reply.

        Raises:
            PeerTimeout: No reply came in time.
            ScriptError: The environment raised; the message carries its traceback.
            As `check` does.
        """
        self._send(name, arguments, timeout_s)
        return self._await_message(timeout_s)

    def begin_reset(
        self,
        agents: np.ndarray,
        seeds: Sequence[int],
        episodes: Sequence[int],
        options: dict[str, Any] | None,
        timeout_s: float | None,
    ) -> None:
        """Asks to have agents begin given episodes.

        Args:
            agents: Which of the environment's, ascending.
            seeds: The seed of each of them.
            episodes: The number of each one's episode.
            options: For the environment.
            timeout_s: How many seconds it may take; None for any.

        Raises:
            As `call`.
        """
        asked = {"agents": agents, "seeds": seeds, "episodes": episodes, "options": options}
        self._send("reset", asked, timeout_s)

    def end_reset(self, count: int, timeout_s: float | None) -> tuple[list[np.ndarray], Infos]:
        """Waits until the agents have begun.

        Args:
            count: How many agents `begin_reset` was given, K.
            timeout_s: How many seconds it may take; None for any.

        Returns:
            What they observe, and their infos: (K, ...) in each leaf of the space.

        Raises:
            ProtocolError: The answer cannot be read.
            As `call`.
        """
        reply = as_dict(self._await_message(timeout_s))
        wanted = [((count, *leaf.shape), dtype_of(leaf)) for _, leaf in leaves(self.description.observation_space)]
        observations = check_arrays(reply.get("observations"), wanted, "observations")
        return observations, check_infos(reply.get("infos"), count)

    def render(self, timeout_s: float | None) -> np.ndarray:
        """A picture of the environment, H x W x 3 uint8.

        Raises:
            ProtocolError: The answer is none.
            As `call`.
        """
        image = as_dict(self.call("render", timeout_s)).get("image")
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
            raise ProtocolError(f"the picture of the environment is {what}, expected uint8 (height, width, 3).")
        return image

    def begin_step(self, timeout_s: float | None) -> None:
        """Sends the actions that are in `arrays`."""
        mailbox = self._mailbox
        if mailbox is None:
            self._send("step", {"actions": self.arrays.actions}, timeout_s)
            return
        for place, leaf in zip(mailbox.arrays.actions, self.arrays.actions, strict=True):
            np.copyto(place, leaf)
        self.number += 1
        if mailbox.post_request(self.number):
            self._transmit(Message(Kind.BELL, None, self.btid, seq=self.number), timeout_s)

    def end_step(self, timeout_s: float | None) -> dict[str, Any]:
        """Waits for what comes of the step; then it is in `arrays`.

        Returns:
            What else there is: "infos", and, where episodes begin by themselves, "begun" and "begun_infos".

        Raises:
            ProtocolError: The answer cannot be read.
            As `call`.
        """
        mailbox, arrays = self._mailbox, self.arrays
        if mailbox is None or not self._await_mailbox(mailbox, timeout_s):
            said = as_dict(self._await_message(timeout_s))
            observations = said.get("observations")
            numbers = [said.get(name) for name in ("rewards", "terminated", "truncated")]
            results = _alike(
                [*observations, *numbers] if isinstance(observations, list) else observations, arrays.results
            )
            final_observations = said.get("final_observations")
        else:
            size = mailbox.rest_bytes
            if not 0 <= size <= REST_BYTES:
                raise ProtocolError(f"the rest of a step has {size} bytes, expected 0 to {REST_BYTES}.")
            said = as_dict(decode(unpack(bytearray(mailbox.rest[:size]))).body) if size else {}
            results, final_observations = mailbox.arrays.results, mailbox.arrays.final_observations
        if said:
            said["infos"] = check_infos(said.get("infos"), self.description.num_agents)
            said["begun"] = begun = check_begun(said.get("begun"), self.description.num_agents)
            if begun is not None:
                said["begun_infos"] = check_infos(said.get("begun_infos"), len(begun), "infos of new episodes")
                _copy(arrays.final_observations, _alike(final_observations, arrays.final_observations))
        _copy(arrays.results, results)
        return said

    def close(self) -> None:
        """Says farewell, without waiting for an answer. Nothing happens when that is done, or after `abandon`."""
        if self._closed:
            return
        self._closed = True
        with self._using:
            self.number += 1
            self._socket.try_send(Message(Kind.REQUEST, {"call": "close"}, self.btid, seq=self.number))
            if self._mailbox is not None:
                self._mailbox.post_request(self.number, by_message=True)
            self._socket.close(1.0)
            self._mailbox = None

    def abandon(self) -> None:
        """Closes the connection to a Blender that is gone."""
        self._closed = True
        self._socket.close()
        self._mailbox = None

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEnvironmentError(
                "the environment was closed, by another thread, while something was asked of it."
            )

    def _ask_to_open(self, timeout_s: float | None, **arguments: Any) -> Any:
        """As `call`, but asks again, over another connection.

        ZeroMQ has a PAIR socket ignore for good a connection that comes while the last client's still stands there.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        patience_s = _ASK_AGAIN_S
        while True:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                return self.call("open", patience_s if left_s is None else min(patience_s, left_s), **arguments)
            except PeerTimeout:
                if deadline is not None and time.monotonic() >= deadline:
                    raise self._timeout(timeout_s) from None
            patience_s *= 2
            self._socket.close()
            self._socket = self._connect()

    def _send(self, name: str, arguments: dict[str, Any], timeout_s: float | None) -> None:
        self.number += 1
        self._transmit(Message(Kind.REQUEST, {"call": name, **arguments}, self.btid, seq=self.number), timeout_s)
        if self._mailbox is not None:
            self._mailbox.post_request(self.number, by_message=True)

    def _transmit(self, message: Message, timeout_s: float | None) -> None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                with self._using:
                    self._check_open()
                    self._socket.send(
                        message, _LOOK_EVERY_S if deadline is None else min(_LOOK_EVERY_S, timeout_s or 0)
                    )
                break
            except PeerTimeout:
                self._check()
                if deadline is not None and time.monotonic() >= deadline:
                    raise

    def _await_mailbox(self, mailbox: Mailbox, timeout_s: float | None) -> bool:
        """Waits for the reply in the mailbox; false when a message has it."""
        if not mailbox.await_reply(self.number):
            mailbox.say_client_sleeps(True)
            try:
                deadline = None if timeout_s is None else time.monotonic() + timeout_s
                while mailbox.reply != self.number:
                    self._early = self._recv(deadline, timeout_s)
                    if self._early is not None:
                        return False
            finally:
                mailbox.say_client_sleeps(False)
            mailbox.await_reply(self.number, 0)
        return mailbox.rest_bytes != BY_MESSAGE

    def _await_message(self, timeout_s: float | None) -> Any:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        message, self._early = self._early, None
        while message is None:
            message = self._recv(deadline, timeout_s)
        if message.kind == Kind.ERROR:
            raise script_error(message)
        if message.kind == Kind.END:
            raise InstanceError(f"the script of Blender instance {self.btid} has ended.")
        return message.body

    def _recv(self, deadline: float | None, timeout_s: float | None) -> Message | None:
        """The message that answers the last request; None when none has come for a moment, or another one."""
        try:
            with self._using:
                self._check_open()
                message = self._socket.recv(_LOOK_EVERY_S)
            if message.seq == self.number and message.kind in (Kind.REPLY, Kind.ERROR):
                return message
            if message.kind == Kind.END or (message.kind == Kind.ERROR and message.seq == 0):
                return message
            # A bell, or an answer to a request that was given up on, or of another client.
        except PeerTimeout:
            self._check()
        if deadline is not None and time.monotonic() >= deadline:
            raise self._timeout(timeout_s)
        return None

    def _timeout(self, timeout_s: float | None) -> PeerTimeout:
        return PeerTimeout(
            f"Blender instance {self.btid} at {self._address} has not answered for {timeout_s} s. Does its environment "
            "hang, does it take that long, or is another client connected? Is it still there? timeout_s= says how long to "
            "wait."
        )


def _alike(found: Any, places: Sequence[np.ndarray]) -> list[np.ndarray]:
    return check_arrays(found, [(place.shape, place.dtype) for place in places], "arrays")


def _copy(places: Sequence[np.ndarray], arrays: Sequence[np.ndarray]) -> None:
    for place, array in zip(places, arrays, strict=True):
        if place.dtype == np.bool_:
            np.not_equal(array.view(np.uint8), 0, out=place)  # in shared memory there may be anything
        else:
            np.copyto(place, array)
