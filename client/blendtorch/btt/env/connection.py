"""The client's end of an environment inside one Blender: requests, replies, and the mailbox that steps go through."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InstanceError, PeerTimeout, ProtocolError, SharedMemoryError
from ...wire import Kind, Message, decode
from ...wire.curve import CurveKeys
from ...wire.mailbox import BY_MESSAGE, SPIN_S, Mailbox
from ...wire.message import script_error
from ...wire.receivers import host_id, offered_ring
from ...wire.rest import unpack
from ...wire.sockets import MessageSocket
from ...wire.spaces import Space, check_space, space_from_body
from ...wire.step_arrays import StepArrays

# How often it is looked, while an answer is waited for, whether its Blender still lives.
_LOOK_EVERY_S = 0.05


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
                check_space(space_from_body(body["observation_space"]), "observation_space"),
                check_space(space_from_body(body["action_space"]), "action_space"),
                *(body[name] for name in ("num_agents", "max_episode_steps", "metadata", "real_time")),
            )
        except KeyError as error:
            raise ProtocolError(f"the environment does not say what its {error} is.") from None
        if (
            type(found.num_agents) is not int
            or not 0 < found.num_agents < 1 << 20
            or not isinstance(found.metadata, dict)
        ):
            raise ProtocolError(f"the environment says of itself what cannot be: {body!r:.500}.")
        return found


class EnvConnection:
    """One connection to an environment; not thread-safe.

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
        self.number = 0
        self._check = check
        self._mailbox: Mailbox | None = None
        self._early: Message | None = None  # that came while the mailbox was looked at
        self._socket = MessageSocket("pair", address, bind=False, curve=curve)

    def open(self, autoreset: str, real_time: bool | None, timeout_s: float | None) -> Description:
        """Opens the environment.

        Args:
            autoreset: When the next episode begins; a value of Gymnasium's `AutoresetMode`.
            real_time: Whether the simulation goes on by itself; None as the environment says.
            timeout_s: How many seconds it may take; None for any.

        Raises:
            PeerTimeout: No answer came in time.
            ScriptError: The environment raised.
            ProtocolError: The answer cannot be read.
        """
        body = self.call("open", timeout_s, autoreset=autoreset, real_time=real_time, host=host_id())
        if not isinstance(body, dict):
            raise ProtocolError("the environment has answered with nothing.")
        self.description = found = Description.read(body)
        observations, actions, num_agents = found.observation_space, found.action_space, found.num_agents
        if isinstance(body.get("mailbox"), dict):
            try:
                self._mailbox = Mailbox.open(*offered_ring(body["mailbox"]), observations, actions, num_agents)
            except SharedMemoryError:
                self._mailbox = None  # it was said to be here, and is not: without one steps go by message
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
            self._socket.send(Message(Kind.BELL, None, self.btid, seq=self.number), timeout_s)

    def end_step(self, timeout_s: float | None) -> dict[str, Any]:
        """Waits for what comes of the step; then it is in `arrays`.

        Returns:
            What else there is: infos, and who has begun an episode.

        Raises:
            As `call`.
        """
        mailbox, arrays = self._mailbox, self.arrays
        if mailbox is None or not self._await_mailbox(mailbox, timeout_s):
            reply = self._await_message(timeout_s)
            try:
                self._take_arrays(reply)
            except (KeyError, TypeError, ValueError) as error:
                raise ProtocolError(f"the reply to a step cannot be read: {error!r}.") from None
            return reply
        for into, of in zip(arrays.results, mailbox.arrays.results, strict=True):
            np.copyto(into, of)
        size = mailbox.rest_bytes
        if size == 0:
            return {}
        body = decode(unpack(bytearray(mailbox.rest[:size]))).body
        if not isinstance(body, dict):
            raise ProtocolError("the rest of a step is no dict.")
        if body.get("begun") is not None:
            for into, of in zip(arrays.final_observations, mailbox.arrays.final_observations, strict=True):
                np.copyto(into, of)
        return body

    def close(self) -> None:
        """Says farewell, without waiting for an answer."""
        try:
            self._send("close", {}, 0)
        except (PeerTimeout, InstanceError):
            pass
        self._socket.close(1.0)
        self._mailbox = None

    def abandon(self) -> None:
        """Closes the connection to a Blender that is gone."""
        self._socket.close()
        self._mailbox = None

    def _send(self, name: str, arguments: dict[str, Any], timeout_s: float | None) -> None:
        self.number += 1
        message = Message(Kind.REQUEST, {"call": name, **arguments}, self.btid, seq=self.number)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                self._socket.send(message, _LOOK_EVERY_S if deadline is None else min(_LOOK_EVERY_S, timeout_s or 0))
                break
            except PeerTimeout:
                self._check()
                if deadline is not None and time.monotonic() >= deadline:
                    raise
        if self._mailbox is not None:
            self._mailbox.post_request(self.number, by_message=True)

    def _await_mailbox(self, mailbox: Mailbox, timeout_s: float | None) -> bool:
        """Waits for the reply in the mailbox; false when a message has it."""
        if not mailbox.await_reply(self.number, SPIN_S):
            mailbox.say_client_sleeps(True)
            try:
                deadline = None if timeout_s is None else time.monotonic() + timeout_s
                while mailbox.reply != self.number:
                    message = self._recv(deadline, timeout_s)
                    if message is not None and message.kind != Kind.BELL:
                        self._early = message
                        return False
            finally:
                mailbox.say_client_sleeps(False)
            mailbox.await_reply(self.number, 0)
        return mailbox.rest_bytes != BY_MESSAGE

    def _await_message(self, timeout_s: float | None) -> Any:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            message, self._early = self._early, None
            if message is None:
                message = self._recv(deadline, timeout_s)
            if message is None or message.kind == Kind.BELL:
                continue
            if message.kind == Kind.ERROR and message.seq in (self.number, 0):
                raise script_error(message)
            if message.kind == Kind.END:
                raise InstanceError(f"the script of Blender instance {self.btid} has ended.")
            if message.kind == Kind.REPLY and message.seq == self.number:
                return message.body
            # Anything else was for a request that was given up on.

    def _recv(self, deadline: float | None, timeout_s: float | None) -> Message | None:
        """The next message; None when none comes for a moment."""
        try:
            return self._socket.recv(_LOOK_EVERY_S)
        except PeerTimeout:
            self._check()
            if deadline is not None and time.monotonic() >= deadline:
                raise PeerTimeout(
                    f"Blender instance {self.btid} has not answered for {timeout_s:g} s. Does its environment hang, does "
                    "it take that long, or is another client connected? timeout_s= says how long to wait."
                ) from None
            return None

    def _take_arrays(self, reply: dict[str, Any]) -> None:
        arrays = self.arrays
        named = [*reply["observations"], reply["rewards"], reply["terminated"], reply["truncated"]]
        pairs = list(zip(arrays.results, named, strict=True))
        if reply.get("begun") is not None:
            pairs += zip(arrays.final_observations, reply["final_observations"], strict=True)
        for into, of in pairs:
            if into.shape != of.shape or into.dtype != of.dtype:
                raise ValueError(f"an array is {of.dtype} {of.shape}, expected {into.dtype} {into.shape}")
            np.copyto(into, of)
