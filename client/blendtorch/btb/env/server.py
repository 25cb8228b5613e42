"""Serves an environment to one client: requests come in, steps are played, replies go out."""

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...errors import ConfigError, EncodeError, PeerTimeout, PickleNotAllowedError, ProtocolError, SharedMemoryError
from ...wire import Kind, Message, encode
from ...wire.curve import CurveKeys
from ...wire.mailbox import AWAKE_IN_A_CROWD_S, BY_MESSAGE, REST_BYTES, WAIT_S, Mailbox
from ...wire.owned_folder import OwnedFolder, make_folder
from ...wire.receivers import SHARED_MEMORY, host_id
from ...wire.rest import pack
from ...wire.sockets import MessageSocket
from .base_env import BaseEnv
from .base_vector_env import BaseVectorEnv
from .episodes import Autoreset, Episodes, StepInfos
from .frames import Frames
from .real_time import RealTime
from .single_agent import SingleAgent

log = logging.getLogger(__name__)

_SEND_TIMEOUT_S = 2.0  # to a client that has left meanwhile; the next one connects in its place
_MESSAGE_TIMEOUT_S = 1.0  # for a message that the mailbox has announced


class EnvServer:
    """Serves an environment to one client at a time: while one is connected, others are not heard.

    Args:
        env: The environment.
        address: What to bind, see `MessageSocket`.
        btid: Id of this instance.
        real_time: Whether the simulation goes on by itself at its frame rate, unless the client says.
        curve: The keys of the launch, where it has some.
        folder: Where the mailbox lies, of this launch alone; None makes a folder that goes with this process.
        shm: Whether a client on this machine may use a mailbox in shared memory.

    Raises:
        ConfigError: What the environment declares cannot be.
        AddressError: The address is in use, malformed, or not of this machine.

    Attributes:
        env: The environment.
        episodes: Its episodes.
        steps: How many steps were played.
        last_error: What a call, or a step that the clock has asked for, has failed with last; None while none has.
    """

    def __init__(
        self,
        env: BaseEnv | BaseVectorEnv,
        address: str,
        btid: int = 0,
        *,
        real_time: bool = False,
        curve: CurveKeys | None = None,
        folder: Path | None = None,
        shm: bool = True,
    ) -> None:
        self.env = env
        self.btid = btid
        self.episodes = Episodes(SingleAgent(env) if isinstance(env, BaseEnv) else env)
        self.steps = 0
        self.last_error: Exception | None = None
        self._is_open = False
        self._step_s = Frames(bpy.context.scene).step_s * env.frames_per_step
        self._real_time_by_default = real_time
        self._real_time: RealTime | None = None
        self._waiting: int | None = None  # the number of a step that the clock will answer
        self._untold: Exception | None = None  # that the clock has met while no step was under way
        self._number = 0  # of the last request
        self._folder = folder
        self._owned: OwnedFolder | None = None
        self._shm = shm
        self._mailbox: Mailbox | None = None
        self._calls: dict[str, Callable[[dict[str, Any]], Any]] = {
            "open": self._open,
            "reset": self._reset,
            "step": self._step,
            "render": self._render,
            "close": self._close,
        }
        self._socket = MessageSocket("pair", address, bind=True, curve=curve)

    @property
    def address(self) -> str:
        """The address in use; where a free port was asked for, the port that was found."""
        return self._socket.addresses[0]

    @property
    def has_client(self) -> bool:
        """Whether a client has opened the environment and not closed it."""
        return self._is_open

    def serve(self, timeout_s: float | None) -> bool:
        """Serves what is asked next, and in real time what the clock asks for.

        Args:
            timeout_s: How many seconds to wait for something to do; None waits for ever.

        Returns:
            Whether there was anything to do.
        """
        if self._real_time is not None and (due_s := self._real_time.due_s) is not None:
            if due_s == 0:
                # What the client has asked meanwhile takes part in the step that is due.
                if self._waiting is not None or not self._take_now():
                    self._answer(self._number, self._tick)
                return True
            timeout_s = due_s if timeout_s is None else min(due_s, timeout_s)
        mailbox = self._mailbox
        if mailbox is None:
            return self._take_message(timeout_s)
        wait_s = WAIT_S if timeout_s is None else min(timeout_s, WAIT_S)
        if mailbox.await_request(self._number + 1, wait_s):
            return self._take_request(mailbox)
        if timeout_s is not None and timeout_s <= WAIT_S:
            return self._take_message(0)
        mailbox.say_server_sleeps(True)
        try:
            if mailbox.await_request(self._number + 1, 0):
                return self._take_request(mailbox)
            return self._take_message(timeout_s)
        finally:
            mailbox.say_server_sleeps(False)

    def _take_now(self) -> bool:
        """Takes a request that is there already; whether there was one."""
        mailbox = self._mailbox
        if mailbox is not None and mailbox.await_request(self._number + 1, 0):
            return self._take_request(mailbox)
        return self._take_message(0)

    def publish_error(self, body: dict[str, str], duration_s: float) -> None:
        """Tells the client that this instance has failed.

        Raises:
            PeerTimeout: The client did not take the message within `duration_s` seconds.
        """
        self._socket.send(Message(Kind.ERROR, body, self.btid, seq=self._number), duration_s)

    def publish_end(self) -> None:
        """Tells the client, if there is one, that it will be answered no more; it need not wait in vain."""
        self._socket.try_send(Message(Kind.END, {}, self.btid, seq=self._number))

    def ready(self) -> bool:
        """Always true: an environment does nothing but answer."""
        return True

    def close(self) -> None:
        """Closes the environment and the socket."""
        self._drop_mailbox()
        if self._owned is not None:
            self._owned.close()
            self._owned = None
        self._socket.close(_SEND_TIMEOUT_S)
        self.env.close()

    # What comes in

    def _take_message(self, timeout_s: float | None) -> bool:
        try:
            message = self._socket.recv(timeout_s)
        except PeerTimeout:
            return False
        except ProtocolError as error:
            log.warning("the environment refuses a message: %s", error)
            return True
        if message.kind != Kind.REQUEST or not isinstance(message.body, dict):
            return message.kind == Kind.BELL
        self._number = message.seq
        call = self._calls.get(message.body.get("call", ""))
        if not self._is_open and call not in (self._open, self._close):
            self._fail(
                message.seq, ConfigError("nobody has opened this environment: it was started again. Make a new one.")
            )
        elif call is None:
            self._fail(message.seq, ProtocolError(f"unknown call {str(message.body.get('call'))[:32]!r}."))
        else:
            body = message.body
            self._answer(message.seq, lambda: call(body))
        return True

    def _take_request(self, mailbox: Mailbox) -> bool:
        if mailbox.is_by_message:
            return self._take_message(_MESSAGE_TIMEOUT_S)
        self._number = mailbox.request  # steps that were given up on are passed over
        for place, leaf in zip(self.episodes.arrays.actions, mailbox.arrays.actions, strict=True):
            np.copyto(place, leaf)
        self._answer(self._number, self._play)
        return True

    # What goes out

    def _answer(self, number: int, act: Callable[[], Any]) -> None:
        """Does what was asked, and replies with what comes of it, or with the exception."""
        try:
            reply = act()
            if isinstance(reply, StepInfos):
                self._reply_step(number, reply)
            elif reply is not _LATER:
                self._send(Message(Kind.REPLY, reply, self.btid, seq=number))
        except Exception as error:
            if isinstance(error, EncodeError | PickleNotAllowedError):
                error = ConfigError(
                    f"{type(self.env).__name__} has returned an info that cannot be sent: {str(error).split('. ')[0]}. "
                    "Expected None, numbers, texts, numpy arrays, and lists and dicts of such; of a mathutils.Vector, for "
                    "example, tuple(vector)."
                )
            self.last_error = error
            self.episodes.forget()  # nobody knows in what state the scene is: only a reset helps
            if act == self._tick and self._waiting is None:
                self._untold = error  # nobody waits for an answer now
            else:
                self._waiting = None
                self._fail(number, error)

    def _fail(self, number: int, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        log.error("a call of the environment failed:\n%s", text)
        body = {"error": "".join(traceback.format_exception_only(error)).strip(), "traceback": text}
        self._send(Message(Kind.ERROR, body, self.btid, seq=number))
        if self._mailbox is not None:
            self._mailbox.post_reply(number, BY_MESSAGE)

    def _reply_step(self, number: int, said: StepInfos) -> None:
        arrays, mailbox = self.episodes.arrays, self._mailbox
        body: dict[str, Any] = {}
        if said.infos:
            body["infos"] = said.infos
        if said.begun is not None:
            body["begun"], body["begun_infos"] = said.begun, said.begun_infos
        if mailbox is not None:
            rest = pack(encode(Message(Kind.REPLY, body, self.btid, seq=number))) if body else b""
            if len(rest) <= REST_BYTES:
                for into, of in zip(mailbox.arrays.results, arrays.results, strict=True):
                    np.copyto(into, of)
                if said.begun is not None:
                    for into, of in zip(mailbox.arrays.final_observations, arrays.final_observations, strict=True):
                        np.copyto(into, of)
                mailbox.rest[: len(rest)] = rest
                if mailbox.post_reply(number, len(rest)):
                    self._send(Message(Kind.BELL, None, self.btid, seq=number))
                return
        body |= {"observations": arrays.observations, "rewards": arrays.rewards}
        body |= {"terminated": arrays.terminated, "truncated": arrays.truncated}
        if said.begun is not None:
            body["final_observations"] = arrays.final_observations
        self._send(Message(Kind.REPLY, body, self.btid, seq=number))
        if mailbox is not None:
            mailbox.post_reply(number, BY_MESSAGE)

    def _send(self, message: Message) -> None:
        if not self._is_open:  # a farewell needs no answer, and who has sent it may be gone
            self._socket.try_send(message)
            return
        try:
            self._socket.send(message, _SEND_TIMEOUT_S)
        except PeerTimeout:
            log.warning("the client of the environment has left without a word.")

    # What can be called

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        episodes, env = self.episodes, self.episodes.env
        episodes.forget()
        try:
            episodes.autoreset = Autoreset(request.get("autoreset", Autoreset.DISABLED))
        except ValueError:
            raise ConfigError(
                f"autoreset is {request.get('autoreset')!r}, expected one of {list(Autoreset)}."
            ) from None
        real_time = request.get("real_time")
        real_time = self._real_time_by_default if real_time is None else bool(real_time)
        self._real_time = RealTime(episodes, self._step_s) if real_time else None
        self._waiting = None
        self._is_open = True
        episodes.count_anew()
        self._drop_mailbox()
        if self._shm and request.get("host") and request["host"] == host_id():
            self._mailbox = self._make_mailbox()
            if self._mailbox is not None and request.get("crowded"):
                self._mailbox.awake_s = AWAKE_IN_A_CROWD_S
        metadata = {"render_fps": 1 / self._step_s, **env.metadata}
        mailbox = self._mailbox
        return {
            "observation_space": env.observation_space.to_body(),
            "action_space": env.action_space.to_body(),
            "num_agents": episodes.num_agents,
            "max_episode_steps": env.max_episode_steps,
            "metadata": metadata,
            "real_time": real_time,
            "mailbox": None if mailbox is None else {"path": str(mailbox.path), "token": mailbox.token},
        }

    def _reset(self, request: dict[str, Any]) -> dict[str, Any]:
        agents, episodes = np.asarray(request["agents"], np.int64), self.episodes
        if self._waiting is not None:
            raise ConfigError("a step is under way, and has to be awaited before a reset.")
        self._untold = None
        infos = episodes.reset(agents, request["seeds"], request["episodes"], dict(request.get("options") or {}))
        if self._real_time is not None:
            self._real_time.begin(agents)
        return {"observations": [leaf[agents] for leaf in episodes.arrays.observations], "infos": infos}

    def _step(self, request: dict[str, Any]) -> Any:
        for place, leaf in zip(self.episodes.arrays.actions, request["actions"], strict=True):
            np.copyto(place, leaf, "same_kind")
        return self._play()

    def _play(self) -> Any:
        self.steps += 1
        if self._real_time is None:
            return self.episodes.step()
        if self._untold is not None:
            error, self._untold = self._untold, None
            raise error
        if not self.episodes.begun.all():
            raise ConfigError("the environment needs a reset before a step.")
        self._waiting = self._number
        self._real_time.act()
        return _LATER

    def _tick(self) -> Any:
        assert self._real_time is not None
        said = self._real_time.tick()
        if said is None:
            return _LATER
        self._waiting = None
        return said

    def _render(self, request: dict[str, Any]) -> Any:
        return {"image": np.ascontiguousarray(self.env.render(), np.uint8)}

    def _close(self, request: dict[str, Any]) -> None:
        self.episodes.forget()
        self._is_open = False
        self._real_time = None
        self._drop_mailbox()

    def _make_mailbox(self) -> Mailbox | None:
        if self._folder is None and self._owned is None:
            try:
                self._owned = make_folder(SHARED_MEMORY)
            except OSError as error:
                log.warning("%s cannot be used: %s. Steps go through the socket, more slowly.", SHARED_MEMORY, error)
                return None
        folder = self._owned.path if self._owned is not None else self._folder
        if folder is None or SHARED_MEMORY not in folder.parents:
            return None
        env = self.episodes.env
        # Another name each time: the last client may still hold the one before.
        path = folder / f"env-{self.btid}-{time.monotonic_ns():x}"
        try:
            return Mailbox.create(path, env.observation_space, env.action_space, self.episodes.num_agents)
        except SharedMemoryError as error:
            log.warning("%s Steps go through the socket, more slowly.", error)
            return None

    def _drop_mailbox(self) -> None:
        if self._mailbox is not None:
            self._mailbox.remove()
            self._mailbox = None


class _Later:
    """Stands for a reply that is not known yet."""


_LATER = _Later()
