"""An environment without Blender: a thread of the test that answers requests, by message or through a mailbox."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from blendtorch.btt.env.connection import EnvConnection
from blendtorch.errors import PeerTimeout
from blendtorch.wire import Kind, Message, encode
from blendtorch.wire.mailbox import BY_MESSAGE, Mailbox
from blendtorch.wire.owned_folder import OwnedFolder, make_folder
from blendtorch.wire.receivers import SHARED_MEMORY
from blendtorch.wire.rest import pack
from blendtorch.wire.sockets import MessageSocket
from blendtorch.wire.spaces import Box, Discrete, Space
from blendtorch.wire.step_arrays import StepArrays

WAIT_S = 20.0
_TURN_S = 0.005
Infos = dict[str, Any] | list[dict[str, Any]] | None


class FakeEnv:
    """Serves an environment that counts: an agent observes 10 x the number of its episode + the steps of it so far.

    A step's reward is the sum of the action; an episode is over after `length` steps: terminated, for agents of an odd
    number truncated.

    Args:
        folder: Where its socket lies.
        num_agents: How many agents it has.
        length: How long an episode is.
        mailbox: Whether steps may go through shared memory.
        btid: Its id.
        observation_space: Of an agent.
        action_space: Of an agent.

    Attributes:
        address: Where it serves.
        calls: The requests that came by message.
        begun: Agent, seed and number of all episodes that have begun.
        instead: By call, what is done in place of the ordinary: a function of the request's number and its body. "step" is
            one through the mailbox, too, its body is {} then.
        opened: What the answer to "open" says otherwise.
        say: The infos, of "reset" or "step" and the agents that they are for.
        failed: What it has failed with, which is a mistake of the test.
    """

    def __init__(
        self,
        folder: Path,
        num_agents: int = 1,
        length: int = 3,
        mailbox: bool = True,
        btid: int = 0,
        observation_space: Space | None = None,
        action_space: Space | None = None,
    ) -> None:
        self.num_agents = num_agents
        self.observation_space = observation_space or Box(-np.inf, np.inf, (2,))
        self.action_space = action_space or Discrete(5)
        self.arrays = StepArrays.allocate(self.observation_space, self.action_space, num_agents)
        self.calls: list[dict[str, Any]] = []
        self.begun: list[tuple[int, int, int]] = []
        self.instead: dict[str, Callable[[int, dict[str, Any]], None]] = {}
        self.opened: dict[str, Any] = {}
        self.say: Callable[[str, np.ndarray], Infos] = lambda call, agents: None
        self.mailbox: Mailbox | None = None
        self.failed: BaseException | None = None
        self.steps_by_mailbox = 0
        self._length = length
        self._autoreset = "Disabled"
        self._owned: OwnedFolder | None = make_folder(SHARED_MEMORY) if mailbox else None
        self._number = 0
        self._counts = np.zeros(num_agents, np.int64)
        self._episodes = np.zeros(num_agents, np.int64)
        self._seeds = np.zeros(num_agents, np.int64)
        self._done = np.zeros(num_agents, np.bool_)
        self._socket = MessageSocket("pair", f"ipc://{folder}/ENV-{btid}", bind=True)
        self.address = self._socket.addresses[0]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._owned is not None:
            self._owned.close()
        if self.failed is not None:
            raise self.failed

    def send(self, kind: str, body: Any, number: int) -> None:
        """Sends the client a message; that may have left meanwhile."""
        with suppress(PeerTimeout):
            self._socket.send(Message(kind, body, 0, seq=number), 2)

    def reply(self, number: int, body: dict[str, Any], by_message: bool = False) -> None:
        """Answers a step with what is in `arrays`, and a body of infos and the like."""
        mailbox, arrays = self.mailbox, self.arrays
        if mailbox is None or by_message:
            whole = {name: getattr(arrays, name) for name in ("observations", "rewards", "terminated", "truncated")}
            self.send(Kind.REPLY, {**whole, "final_observations": arrays.final_observations, **body}, number)
            rest = BY_MESSAGE
        else:
            for into, of in zip(mailbox.arrays.results, arrays.results, strict=True):
                np.copyto(into, of)
            for into, of in zip(mailbox.arrays.final_observations, arrays.final_observations, strict=True):
                np.copyto(into, of)
            packed = pack(encode(Message(Kind.REPLY, body, 0, seq=number))) if body else b""
            mailbox.rest[: len(packed)] = packed
            rest = len(packed)
        self.post(number, rest)

    def post(self, number: int, rest_bytes: int) -> None:
        """Says in the mailbox, if there is one, that the reply is there."""
        if self.mailbox is not None and self.mailbox.post_reply(number, rest_bytes):
            self.send(Kind.BELL, None, number)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._turn()
        except BaseException as error:
            self.failed = error
        self._socket.close()

    def _turn(self) -> None:
        mailbox = self.mailbox
        if mailbox is None:
            self._take_message()
        elif mailbox.await_request(self._number + 1):
            self._take_step(mailbox)
        else:
            mailbox.say_server_sleeps(True)
            if mailbox.request != self._number + 1:
                self._take_message()
            mailbox.say_server_sleeps(False)

    def _take_step(self, mailbox: Mailbox) -> None:
        if mailbox.is_by_message:
            self._take_message()
            return
        self._number += 1
        self.steps_by_mailbox += 1
        for into, of in zip(self.arrays.actions, mailbox.arrays.actions, strict=True):
            np.copyto(into, of)
        self.instead.get("step", self._step)(self._number, {})

    def _take_message(self) -> None:
        try:
            message = self._socket.recv(_TURN_S)
        except PeerTimeout:
            return
        if message.kind == Kind.BELL:
            return
        self._number = message.seq
        self.calls.append(message.body)
        name = message.body["call"]
        if name == "step":
            for into, of in zip(self.arrays.actions, message.body["actions"], strict=True):
                np.copyto(into, of)
        ordinary = {"open": self._open, "reset": self._reset, "step": self._step, "render": self._render}
        do = self.instead.get(name) or ordinary.get(name)
        if do is not None:
            do(message.seq, message.body)

    def _open(self, number: int, body: dict[str, Any]) -> None:
        self._autoreset = body["autoreset"]
        self.mailbox = None
        if self._owned is not None and body["host"]:
            path = self._owned.path / f"m{len(self.calls)}"
            self.mailbox = Mailbox.create(path, self.observation_space, self.action_space, self.num_agents)
        place = self.mailbox and {"path": str(self.mailbox.path), "token": self.mailbox.token}
        said = {
            "observation_space": self.observation_space.to_body(),
            "action_space": self.action_space.to_body(),
            "num_agents": self.num_agents,
            "max_episode_steps": None,
            "metadata": {"render_fps": 30.0},
            "real_time": False,
            "mailbox": place,
        }
        self.send(Kind.REPLY, without({**said, **self.opened}), number)

    def _reset(self, number: int, body: dict[str, Any]) -> None:
        agents = body["agents"]
        for agent, seed, episode in zip(agents.tolist(), body["seeds"], body["episodes"], strict=True):
            self._seeds[agent], self._episodes[agent] = seed, episode - 1
        self._begin(agents)
        observations = [leaf[agents] for leaf in self.arrays.observations]
        self.send(Kind.REPLY, {"observations": observations, "infos": self.say("reset", agents)}, number)

    def _step(self, number: int, body: dict[str, Any]) -> None:
        arrays = self.arrays
        waits = self._done if self._autoreset == "NextStep" else np.zeros_like(self._done)
        begun = np.flatnonzero(waits)
        plays = ~waits
        self._counts += plays
        axes = [tuple(range(1, leaf.ndim)) for leaf in arrays.actions]
        arrays.rewards[:] = sum(leaf.sum(axis) for leaf, axis in zip(arrays.actions, axes, strict=True)) * plays
        over = (self._counts >= self._length) & plays
        odd = np.arange(self.num_agents) % 2 == 1
        arrays.terminated[:], arrays.truncated[:] = over & ~odd, over & odd
        self._observe()
        said: dict[str, Any] = {"infos": self.say("step", np.arange(self.num_agents))}
        if self._autoreset == "SameStep":
            begun = np.flatnonzero(over)
            for final, leaf in zip(arrays.final_observations, arrays.observations, strict=True):
                final[...] = leaf
        self._done = over
        if len(begun):
            self._begin(begun)
            self._done = over & (self._autoreset != "SameStep")
            said |= {"begun": begun, "begun_infos": self.say("reset", begun)}
        self.reply(number, {name: value for name, value in said.items() if value is not None})

    def _render(self, number: int, body: dict[str, Any]) -> None:
        self.send(Kind.REPLY, {"image": np.full((2, 3, 3), self._counts[0], np.uint8)}, number)

    def _begin(self, agents: np.ndarray) -> None:
        self._episodes[agents] += 1
        self._counts[agents] = 0
        self._done[agents] = False
        for agent in agents.tolist():
            self.begun.append((agent, int(self._seeds[agent]), int(self._episodes[agent])))
        self._observe()

    def _observe(self) -> None:
        value = self._episodes * 10 + self._counts
        for leaf in self.arrays.observations:
            leaf[...] = value.reshape(-1, *[1] * (leaf.ndim - 1)).astype(leaf.dtype)


def without(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what is "-"."""
    return {name: value for name, value in body.items() if not isinstance(value, str) or value != "-"}


def begin(connection: EnvConnection) -> None:
    """Has all agents begin an episode."""
    count = connection.description.num_agents
    connection.begin_reset(np.arange(count), [7] * count, [0] * count, {}, WAIT_S)
    connection.end_reset(count, WAIT_S)


def step(connection: EnvConnection, action: int = 1, timeout_s: float = WAIT_S) -> dict[str, Any]:
    """Plays a step."""
    for leaf in connection.arrays.actions:
        leaf.fill(action)
    connection.begin_step(timeout_s)
    return connection.end_step(timeout_s)
