"""The environment of the window: made of a text, and served to one client between Blender's own events.

It is a job of the engine's, so that all that ends those ends it, too: Esc, undo, another file, the end of the add-on.
"""

import atexit
import contextlib
import math
import time
import traceback
from dataclasses import dataclass

import bpy

from blendtorch.btb.env import EnvServer
from blendtorch.btb.env.run import Environment
from blendtorch.btb.setup import StreamSettings
from blendtorch.errors import AddressError, BlendTorchError, ConfigError, PeerTimeout, SceneError

from .engine import engine
from .environment_text import environment_of, forget, raised
from .redraw import redraw
from .scenes import find_scene, scene_context
from .stream_address import check_free, endpoint_of, in_words

# Each time that Blender's event loop comes by, requests are served, and waited for, so long that the window stays usable.
# To a client that has asked for nothing lately only a glance is given: it may be thinking, or gone. After a farewell they
# are waited for, too: ZeroMQ has to notice that the client is gone before the next one connects, or that is never heard.
_TURN_S = 0.015
_GLANCE_S = 0.003
_LIVELY_S = 0.3
_RATE_EVERY_S = 0.5
_TELL_S = 1.0  # how long a client may take to hear that there is nothing more to come


@dataclass(frozen=True)
class Figures:
    """How it goes.

    Attributes:
        address: Where a client connects.
        has_client: Whether one has opened the environment, and not closed it.
        num_agents: How many agents there are.
        episodes: How many episodes of the client's have come to their end, of all agents.
        running_return: The sum of the rewards of the episode that runs, the mean of all agents; NaN before the first.
        last_return: That of the last episode that was finished; NaN before.
        steps_per_s: How many steps of the client's are played in a second, of all agents at once.
    """

    address: str
    has_client: bool
    num_agents: int
    episodes: int
    running_return: float
    last_return: float
    steps_per_s: float


def start(scene: bpy.types.Scene) -> str:
    """Serves the environment that the panel is set to.

    Returns:
        The address that is bound.

    Raises:
        SceneError: One runs already, samples are being made, or the text raised.
        ConfigError: The text defines no environment, or it is not clear which, or what it declares cannot be.
        AddressError: The port cannot be bound.
    """
    global _job
    state = engine.state
    if state.environment:
        raise SceneError("an environment runs already. Stop it first.")
    if state.sampling or state.workers:
        raise SceneError(
            "samples of the scene are being made, and an environment plays the frames of the scene itself. Stop that first "
            "(Esc)."
        )
    made: list[EnvironmentJob] = []

    def make() -> EnvironmentJob:
        made.append(EnvironmentJob(scene))
        return made[0]

    engine.start_job(EnvironmentJob.name, scene, make)
    _job = made[0]
    atexit.register(stop)
    return _job.server.address


def stop() -> None:
    """Ends the environment; its client is told. Nothing happens when none runs."""
    if engine.state.environment:
        engine.stop_job()


def figures() -> Figures | None:
    """How it goes; None when no environment runs."""
    return None if _job is None else _job.figures


class EnvironmentJob:
    """Serves an environment, a little each step.

    Args:
        scene: The scene whose panel says which; the context's.

    Raises:
        As `start`.

    Attributes:
        name: What its errors are about.
        scene_uid: The scene's `session_uid`.
        server: Serves it.
    """

    name = "environment"

    def __init__(self, scene: bpy.types.Scene) -> None:
        settings = scene.blendtorch_environment
        if settings.text is None:
            raise ConfigError(
                "no text is chosen, expected one that has a subclass of btb.env.BaseEnv. Choose it, or write it in a Text "
                "Editor."
            )
        self.scene_uid = scene.session_uid
        self._text_uid, self._text_name = settings.text.session_uid, settings.text.name
        where = StreamSettings(port=settings.port)
        check_free(where)  # before the environment has changed the scene
        try:
            env, asks_for_real_time = environment_of(settings.text, settings.class_name.strip())
            self.server = _served(env, where, settings.real_time or asks_for_real_time)
        except BaseException:
            forget(self._text_name)
            raise
        self._told: Exception | None = None
        self._served_at = -math.inf
        self._measured_at, self._measured_steps, self._steps_per_s = time.monotonic(), 0, 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a client may ask for something any moment, or one is about to leave."""
        return self.server.has_client or time.perf_counter() - self._served_at < _LIVELY_S

    @property
    def figures(self) -> Figures:
        """How it goes."""
        server, episodes = self.server, self.server.episodes
        return Figures(
            server.address,
            server.has_client,
            episodes.num_agents,
            episodes.finished,
            float(episodes.returns.mean()) if episodes.begun.all() else math.nan,
            episodes.last_return,
            self._steps_per_s,
        )

    def step(self) -> bool:
        """Serves what is asked, for a moment; returns whether it is to be ended, for what it needs is gone."""
        if gone := self._what_is_gone():
            engine.notice = f"The environment was stopped, for its {gone} was removed."
            return True
        with scene_context(self.scene_uid):
            self._serve()
        error = self.server.last_error
        if error is not None and error is not self._told:
            self._told = error
            engine.errors.note(self.name, _in_words(error))
            redraw()
        self._measure()
        return False

    def close(self) -> None:
        """Ends it: the client is told, the address is free again, and the environment is closed."""
        global _job
        if _job is self:
            _job = None
        atexit.unregister(stop)
        forget(self._text_name)
        redraw()
        with scene_context(self.scene_uid, missing_ok=True):
            self.server.publish_end()
            try:
                self.server.close()
            except (Exception, SystemExit) as error:
                raise raised("close() of the environment", error) from error

    def _what_is_gone(self) -> str:
        if find_scene(self.scene_uid) is None:
            return "scene"
        return "" if any(text.session_uid == self._text_uid for text in bpy.data.texts) else "text"

    def _serve(self) -> None:
        server = self.server
        now = time.perf_counter()
        until = now + _TURN_S
        try:
            while now < until:
                is_lively = now - self._served_at < _LIVELY_S
                if not server.serve(until - now if is_lively else _GLANCE_S if server.has_client else 0):
                    break
                now = self._served_at = time.perf_counter()
        except SystemExit as error:  # no environment ends Blender
            ended = raised("the environment", error)
            body = {"error": str(ended), "traceback": "".join(traceback.format_exception(error))}
            with contextlib.suppress(PeerTimeout):
                server.publish_error(body, _TELL_S)
            raise ended from error

    def _measure(self) -> None:
        now = time.monotonic()
        if now - self._measured_at >= _RATE_EVERY_S:
            self._steps_per_s = (self.server.steps - self._measured_steps) / (now - self._measured_at)
            self._measured_at, self._measured_steps = now, self.server.steps


_job: EnvironmentJob | None = None  # the one that runs


def _served(env: Environment, where: StreamSettings, real_time: bool) -> EnvServer:
    try:
        return EnvServer(env, endpoint_of(where).address, real_time=real_time)
    except BaseException as error:
        env.close()
        if isinstance(error, AddressError):
            raise AddressError(in_words(error, where)) from error
        raise


def _in_words(error: Exception) -> Exception:
    """What a call of the client's has failed with, for the panel."""
    if isinstance(error, BlendTorchError):
        return error
    told = raised("the environment", error)
    told.__cause__ = error
    return told
