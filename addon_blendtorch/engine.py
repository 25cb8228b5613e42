"""The engine: what runs inside the window, and the one timer that it runs by.

`engine` is the only object of its kind. While nothing runs there is no timer, handler, key, thread or socket.

Samples are made on Blender's main thread, between its drawing and its input, a few of them each time (`pace`). A thread of
the hub's sends and writes them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import bpy

from blendtorch.btb import setup as btb_setup
from blendtorch.btb.session import current_session
from blendtorch.btb.setup import SceneSetup
from blendtorch.errors import ConfigError, SceneError
from blendtorch.hub import HubStats, SampleHub
from blendtorch.wire.curve import CurveKeys
from blendtorch.wire.sockets import flush

from .engine_clock import Clock
from .engine_errors import Errors, clear_marks
from .engine_events import Events
from .engine_handlers import Handlers
from .engine_state import State
from .pace import Pace
from .producer import Producer, Share
from .properties import to_setup
from .redraw import redraw
from .scenes import find_scene, scene_context
from .shown import Shown
from .stream_address import Endpoint, bind, endpoint_of

TURN_S = 0.03  # of `step`, unless it is told
_LOOK_EVERY_S = 0.5
_CLOSE_S = 2.0  # how long clients may take, at the end, to fetch what waits for them


class Job(Protocol):
    """Something that is done by and by, before samples are made again.

    Attributes:
        scene_uid: The `session_uid` of the scene that it is about.
    """

    scene_uid: int

    def step(self) -> bool:
        """Does a part of it; returns whether all is done."""

    def close(self) -> None:
        """Ends it, done or not."""


class Engine:
    """Streams and records the scene of the window, step by step.

    Attributes:
        hub: Gives samples to clients and to the recording; there while the stream, a recording or workers need it.
        stats: What the hub has done, looked at twice a second; stays when the hub is gone.
        notice: What is worth knowing and no error.
        on_stop: Called by `stop_all`: others stop there what they have started.
        endpoint: Where the stream is bound; None while there is none.
    """

    def __init__(self) -> None:
        self.hub: SampleHub | None = None
        self.stats: HubStats | None = None
        self.notice = ""
        self.on_stop: list[Callable[[], None]] = []
        self.endpoint: Endpoint | None = None
        self._recording = self._workers = False
        self._job: Job | None = None
        self._producer: Producer | None = None
        self._share = Share()
        self._shown = Shown()
        self._errors = Errors()
        self._handlers = Handlers(Events(self))
        self._clock = Clock(self._turn, self._handlers, self._at_exit)
        self._pace = Pace()
        self._looked_at = 0.0
        self._had_keys = False

    def end(self) -> None:
        """Stops everything, and ends the thread that has looked at clients' keys, if one has: the add-on goes."""
        self.stop_all()
        self._handlers.unregister()
        self._shown.forget()
        if self._had_keys and current_session() is None:  # of a script's session sockets may be open
            self._had_keys = False
            flush(_CLOSE_S)

    # What runs

    @property
    def state(self) -> State:
        """What runs now."""
        return State(
            self.endpoint is not None, self._recording, self._job is not None, self._workers, self._shown.is_shown
        )

    def is_streaming(self) -> bool:
        """Whether clients can connect."""
        return self.state.stream

    def is_recording(self) -> bool:
        """Whether samples are recorded."""
        return self.state.recording

    @property
    def next_index(self) -> int:
        """The first index that this window has not begun."""
        return self._share.first if self._producer is None else self._producer.next_index

    @property
    def errors(self) -> dict[str, str]:
        """What has gone wrong, in words, by "stream", "recording", "preview", "randomize" and "workers"."""
        return self._errors.by_name

    @property
    def last_error(self) -> str:
        """The latest of them; "" if nothing has gone wrong since something was started."""
        return self._errors.last

    @property
    def traceback(self) -> str:
        """The latest error's; "" if it has none."""
        return self._errors.traceback

    # Streaming and recording

    def start_stream(self, scene: bpy.types.Scene) -> str:
        """Binds the stream as the panel says, and makes samples of the scene as clients take them.

        Returns:
            The address that is bound.

        Raises:
            SceneError, ConfigError: What is set up does not serve, or the stream runs already.
            AddressError: The address cannot be bound.
        """
        if self.state.stream:
            raise SceneError("the stream runs already. Stop it first.")
        with self._starting("stream", scene) as setup:
            self._produce(setup, scene)
            endpoint = endpoint_of(setup.stream)
            self._had_keys = self._had_keys or endpoint.curve is not None
            bind(self._require_hub(setup), endpoint, setup.stream)
            self.endpoint = endpoint
        self._wake()
        return endpoint.address

    def stop_stream(self) -> None:
        """Ends the stream: clients are told that it has ended."""
        if self.endpoint is None:
            return
        endpoint, self.endpoint = self.endpoint, None
        try:
            if self.hub is not None:
                self._look()
                self.hub.close_stream()
        finally:
            endpoint.close()
            self._settle()

    def start_recording(self, scene: bpy.types.Scene) -> None:
        """Records samples of the scene as the panel says: those that are streamed, and as many as the disk takes.

        Raises:
            SceneError, ConfigError: What is set up does not serve, or a recording runs already.
            RecordingWriteError: The folder cannot be written to.
        """
        if self._recording:
            raise SceneError("a recording runs already. Stop it first.")
        with self._starting("recording", scene) as setup:
            settings = btb_setup.recording_settings(setup)
            self._produce(setup, scene)
            hub = self._require_hub(setup)
            first = hub.start_recording(settings, setup.recording.num_samples or None)
            if not hub.stats().recording:
                raise SceneError(
                    f"{settings.folder} has its {hub.stats().recorded} samples already. Ask for more, or choose another "
                    "folder."
                )
            if not self.state.stream and self._share == Share():
                self._producer.begin_at(first)  # what is there already is not made again
            self._recording = True
        self._wake()

    def stop_recording(self) -> None:
        """Ends the recording; what is recorded is kept, and can be gone on with."""
        if not self._recording:
            return
        self._recording = False
        try:
            if self.hub is not None:
                self.hub.stop_recording()
                self._look()
        finally:
            self._settle()

    def set_share(self, share: int, count: int, first: int) -> None:
        """Makes, from the next index on, those indices from `first` on that leave `share` when divided by `count`.

        Raises:
            ValueError: There is no such share.
        """
        self._share = Share(share, count, first)
        if self._producer is not None:
            self._producer.share = self._share

    def add_workers(self, addresses: Sequence[str], curve: CurveKeys | None = None) -> None:
        """Takes the samples of workers, too.

        Raises:
            SceneError: Neither the stream nor a recording runs.
        """
        if self.hub is None:
            raise SceneError("nothing runs that the samples of workers would go to. Start the stream first.")
        self.hub.add_workers(addresses, curve)
        self._workers = True
        self._wake()

    def remove_workers(self) -> None:
        """Takes samples of workers no longer; the window makes all indices that come."""
        self._share = Share(first=self.next_index)
        if self._producer is not None:
            self._producer.share = self._share
        if not self._workers:
            return
        self._workers = False
        try:
            if self.hub is not None:
                self.hub.remove_workers()
        finally:
            self._settle()

    def stop_all(self, notice: str = "") -> None:
        """Stops everything and puts the scene back. Never raises: what goes wrong is in `errors`."""
        self._errors.attempt("preview", self._end_job)
        for stop in list(self.on_stop):
            self._errors.attempt("workers", stop)
        self._errors.attempt("recording", self.stop_recording)
        self._errors.attempt("stream", self.stop_stream)
        self._errors.attempt("workers", self.remove_workers)
        self._errors.attempt("randomize", self.reset)
        self._errors.attempt("stream", self._settle)
        self.notice = notice
        redraw()

    # The scene as a sample is

    def randomize_once(self, scene: bpy.types.Scene) -> int:
        """Shows the scene as the next index's sample has it, until `reset`.

        Returns:
            The index.

        Raises:
            SceneError: Samples are being made, or a randomizer failed; the scene is as it was then.
        """
        if self.state.running:
            raise SceneError("samples are being made. Stop that first (Esc).")
        uid = scene.session_uid
        with self._starting("randomize", scene) as setup:
            index = self._shown.show_next(setup, uid, lambda number, error: self._errors.mark(uid, number, error))
        self._handlers.register()
        self.notice = f"The scene is shown as sample {index} has it."
        return index

    def reset(self) -> None:
        """Puts back what `randomize_once` has changed."""
        if self._shown.is_shown:
            self._shown.reset()
            self.notice = ""
        self._settle()

    def put_back(self) -> None:
        """Puts the scene back as the user has it; the samples that are due are made all the same."""
        if self._producer is not None:
            self._errors.attempt("stream", self._producer.put_back)
        self._errors.attempt("randomize", self.reset)

    def invalidate(self) -> None:
        """Blender's data was replaced."""
        if self._producer is not None:
            self._errors.attempt("stream", self._producer.invalidate)

    # Jobs

    def start_job(self, name: str, scene: bpy.types.Scene, make: Callable[[SceneSetup], Job]) -> None:
        """Does something by and by; samples are not made meanwhile.

        Raises:
            SceneError, ConfigError: What is set up does not serve, or another job runs.
        """
        if self._job is not None:
            raise SceneError("a preview is being made. Wait for it, or stop it (Esc).")
        with self._starting(name, scene) as setup:
            if self._producer is not None:
                self._producer.put_back()
            self._job = make(setup)
        self._wake()

    def mark(self, scene_uid: int, number: int, error: Exception) -> None:
        """Notes what has gone wrong with a randomizer, at its entry of the list, too."""
        self._errors.mark(scene_uid, number, error)

    def stop_job(self) -> None:
        """Ends the job that runs, if one does."""
        self._errors.attempt("preview", self._end_job)
        self._settle()

    # The turn

    def step(self, turn_s: float = TURN_S) -> int:
        """Makes samples as long as they are wanted, for about `turn_s` seconds.

        The timer calls it. Where timers do not run, in Blenders without a window, whoever has started something calls it.

        Returns:
            How many samples were made.
        """
        made = 0
        if self._job is not None:
            self._step_job()
        elif self._producer is not None and self.hub is not None:
            try:
                made = self._producer.make(self.hub, turn_s)
            except Exception as error:  # of a hook, anything
                self._stop_making(error)
        if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            self._errors.attempt("stream", self._look)
            self._errors.attempt("stream", self._follow_settings)
            redraw()
        return made

    def _turn(self) -> float | None:
        try:
            made = self.step(self._pace.begin())
        except Exception as error:  # nothing may end the timer without a word
            self._errors.note("stream", error)
            self.stop_all()
            made = 0
        return self._pace.end(made > 0 or self._job is not None) if self.state.running else None

    def _step_job(self) -> None:
        try:
            done = self._job.step()
        except Exception as error:
            self._errors.mark(self._job.scene_uid, getattr(error, "number", None), error)
            self._errors.note("preview", error)
            done = True
        if done:
            self.stop_job()

    def _stop_making(self, error: Exception) -> None:
        """Ends what needs samples that cannot be made."""
        state, uid = self.state, self._producer.scene_uid
        for name in ("stream", "recording"):
            if getattr(state, name):
                self._errors.note(name, error)
        self._errors.attempt("recording", self.stop_recording)
        self._errors.attempt("stream", self.stop_stream)
        self._errors.mark(uid, getattr(error, "number", None), error)
        redraw()

    def _look(self) -> None:
        """Looks what the hub has done, and ends what has come to its end."""
        self._looked_at = time.monotonic()
        if self.hub is None:
            return
        self.stats = stats = self.hub.stats()
        for name in ("stream", "recording", "workers"):
            told = getattr(stats, f"{name}_error")
            if told:
                self._errors.tell(name, str(told))
        if self._recording and not stats.recording:
            self.notice = "" if stats.recording_error else f"The recording has all its {stats.recorded} samples."
            self.stop_recording()
        if self.endpoint is not None and stats.stream_error:
            self.stop_stream()
        alone = self._share.count == 1 and not self._workers  # workers that still start will make the rest
        if self._producer is not None and self._producer.is_over and alone and not stats.waiting:
            episodes = self._producer.setup.output.episodes
            self.stop_recording()
            self.stop_stream()
            self.notice = f"All {episodes} episodes are made."

    def _follow_settings(self) -> None:
        """Goes by what is set up in the panel now; not in a recording, nor where workers go by what it was."""
        if self._producer is None or self._recording or self._share.count > 1:
            return
        scene = find_scene(self._producer.scene_uid)
        if scene is None:
            return
        try:
            if self._producer.follow(to_setup(scene)):
                clear_marks(scene)
                self.notice = ""
        except (SceneError, ConfigError) as error:
            self.notice = f"The settings of before are used: {error}"

    # Beginning and ending

    @contextmanager
    def _starting(self, name: str, scene: bpy.types.Scene) -> Iterator[SceneSetup]:
        """Gives what is set up for a scene, which is put back before, and made the context's.

        Errors of before are forgotten; one that is raised inside is kept, and what nothing needs then is let go.
        """
        making = self._producer
        if making is not None and name in ("stream", "recording") and scene.session_uid != making.scene_uid:
            raise SceneError("samples of another scene are being made. Stop that first (Esc).")
        self.reset()
        self._errors.forget(name, scene)
        self.notice = ""
        uid = scene.session_uid
        try:
            with scene_context(uid):
                yield to_setup(scene)
        except BaseException as error:
            self._errors.mark(uid, getattr(error, "number", None), error)
            self._errors.note(name, error)
            self._errors.attempt(name, self._settle)
            raise

    def _produce(self, setup: SceneSetup, scene: bpy.types.Scene) -> None:
        """Has samples made; a recording is of one setup from its first sample to its last."""
        uid = scene.session_uid
        if self._producer is None:
            self._producer = Producer(
                setup, uid, self._share, lambda number, error: self._errors.mark(uid, number, error)
            )
        elif self._producer.follow(setup):
            self._producer.take_over()  # at once: a recording is of one setup from its first sample on

    def _require_hub(self, setup: SceneSetup) -> SampleHub:
        if self.hub is None:
            self.hub = SampleHub(queue_size=setup.stream.queue_size)
            self.stats = None
        return self.hub

    def _settle(self) -> None:
        """Lets go of what nothing needs any more."""
        state = self.state
        try:
            if not state.making and self._producer is not None:
                producer, self._producer = self._producer, None
                self._share = Share()
                producer.close()
        finally:
            if not (state.making or state.workers) and self.hub is not None:
                hub, self.hub = self.hub, None
                hub.close(_CLOSE_S)
            if not state.running:
                self._clock.stop(keep_handlers=state.shown)

    def _wake(self) -> None:
        self._pace = Pace()
        self._looked_at = 0.0
        self._clock.start()
        redraw()

    def _end_job(self) -> None:
        if self._job is not None:
            job, self._job = self._job, None
            job.close()

    def _at_exit(self) -> None:
        """At the end of Python, when there may be no scene left that could be put back."""
        if self.hub is not None:
            hub, self.hub = self.hub, None
            hub.close(_CLOSE_S)
        if self.endpoint is not None:
            self.endpoint.close()


engine = Engine()


def unregister() -> None:
    """Stops everything, before the add-on goes: no thread, socket, timer, handler, key or process is left."""
    engine.end()


def register() -> None:
    """Nothing: what the engine needs of Blender is there only while something runs."""
