"""The engine: what runs inside the window, and the one timer that it runs by.

`engine` is the only object of its kind. While nothing runs there is no timer, key, thread or socket.

Samples are made on Blender's main thread, between its drawing and its input, a few of them each time (`pace`). A thread of
the hub's sends and writes them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import bpy

from blendtorch.btb import setup as btb_setup
from blendtorch.btb.session import current_session
from blendtorch.errors import SceneError
from blendtorch.hub import HubStats, SampleHub
from blendtorch.wire.curve import CurveKeys
from blendtorch.wire.sockets import flush

from . import applied
from .engine_clock import Clock
from .engine_errors import Errors
from .engine_events import Events
from .engine_handlers import Handlers
from .engine_job import Job, Jobs
from .engine_state import State
from .engine_watch import Watch
from .making import Making
from .pace import Pace
from .preferences import cache_folder
from .producer import Share
from .properties import to_setup
from .redraw import redraw
from .scenes import scene_context
from .shown import Shown
from .stream_address import Endpoint, bind, endpoint_of

TURN_S = 0.03  # of `step`, unless it is told
_CLOSE_S = 2.0  # how long clients may take, at the end, to fetch what waits for them


class Engine:
    """Streams and records the scene of the window, step by step.

    Attributes:
        stats: What the hub has done, looked at twice a second; stays when the hub is gone.
        errors: What has gone wrong.
        making: What makes the samples of the window, and of which indices.
        notice: What is worth knowing and no error.
        on_start: Called when something was started: others forget there what has gone wrong before.
        on_stop: Called by `stop_all`: others stop there what they have started.
        endpoint: Where the stream is bound; None while there is none.
    """

    def __init__(self) -> None:
        self.stats: HubStats | None = None
        self.notice = ""
        self.on_start: list[Callable[[], None]] = []
        self.on_stop: list[Callable[[], None]] = []
        self.endpoint: Endpoint | None = None
        self._workers = False
        self._jobs = Jobs(self._note_failed)
        self._shown = Shown()
        self.errors = Errors()
        self.making = Making(self.errors.mark)
        self._handlers = Handlers(Events(self))
        self._clock = Clock(self._turn, self._handlers, self._at_exit)
        self._pace = Pace()
        self._watch = Watch(self)
        self._had_keys = False

    def end(self) -> None:
        """Stops everything, and ends the thread that has looked at clients' keys, if one has: the add-on goes."""
        self.stop_all()
        self._handlers.unregister()
        applied.forget_all()
        if self._had_keys and current_session() is None:  # of a script's session sockets may be open
            self._had_keys = False
            flush(_CLOSE_S)

    # What runs

    @property
    def state(self) -> State:
        """What runs now."""
        return State(
            stream=self.endpoint is not None,
            recording=self.making.is_recording,
            preview=self._jobs.name == "preview",
            workers=self._workers,
            environment=self._jobs.name == "environment",
            shown=self._shown.is_shown,
        )

    @property
    def hub(self) -> SampleHub | None:
        """Gives samples to clients and to the recording; there while the stream, a recording or workers need it."""
        return self.making.hub

    def note_started(self, name: str, errors_before: dict[str, str]) -> None:
        """Something goes well: forgets what had gone wrong before."""
        self.errors.began(name, errors_before)
        for forget in list(self.on_start):
            forget()

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
        with self._starting("stream", scene):
            setup = to_setup(scene)
            self.making.begin(setup, scene.session_uid)
            endpoint = endpoint_of(setup.stream, cache_folder())
            self._had_keys = self._had_keys or endpoint.curve is not None
            bind(self._require_hub(), endpoint, setup.stream)
            self.endpoint = endpoint
        self._wake()
        return endpoint.address

    def stop_stream(self) -> None:
        """Ends the stream: clients are told that it has ended."""
        if self.endpoint is None:
            return
        endpoint, self.endpoint = self.endpoint, None
        hub = self.hub
        try:
            if hub is not None:
                self._watch.look()  # which may end a recording, and with it the hub
                hub.close_stream()
        finally:
            endpoint.close()
            self._settle()

    def start_recording(self, scene: bpy.types.Scene) -> None:
        """Records samples of the scene as the panel says: those that are streamed, and as many as the disk takes.

        Raises:
            SceneError, ConfigError: What is set up does not serve, or a recording runs already.
            RecordingWriteError: The folder cannot be written to.
        """
        if self.making.is_recording:
            raise SceneError("a recording runs already. Stop it first.")
        with self._starting("recording", scene):
            setup = to_setup(scene)
            settings = btb_setup.recording_settings(setup)
            self.making.check_same(setup)
            self.making.begin(setup, scene.session_uid)
            hub = self._require_hub()
            first = hub.start_recording(settings, setup.recording.num_samples or None)
            if not hub.stats().recording:
                raise SceneError(
                    f"{settings.folder} has its {hub.stats().recorded} samples already. Ask for more, or choose another "
                    "folder."
                )
            if not self.state.stream and self.making.share == Share():
                hub.discard()
                self.making.producer.begin_at(first)  # what is there already is not made again
            self.making.is_recording = True
        self._wake()

    def stop_recording(self) -> None:
        """Ends the recording; what is recorded is kept, and can be gone on with."""
        if not self.making.is_recording:
            return
        self.making.is_recording = False
        try:
            if self.hub is not None:
                self.hub.stop_recording()
                self._watch.look()
        finally:
            self._settle()

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

    def remove_workers(self, may_lack: bool = False) -> None:
        """Takes samples of workers no longer; the window makes all indices that come.

        Args:
            may_lack: Whether some may be missing of those that were theirs.
        """
        had, self._workers = self._workers, False
        try:
            if had and self.hub is not None:
                self.hub.remove_workers()
        finally:
            sampling = self.state.sampling
            self.making.share = Share(first=self.making.first_to_share) if sampling else Share()
            self.making.may_lack |= may_lack and sampling
            if had:
                self._settle()

    def stop_all(self, notice: str = "") -> None:
        """Stops everything and puts the scene back. Never raises: what goes wrong is in `errors`."""
        self.errors.attempt(self._jobs.name, self._jobs.end)
        for stop in list(self.on_stop):
            self.errors.attempt("workers", stop)
        self.errors.attempt("recording", self.stop_recording)
        self.errors.attempt("stream", self.stop_stream)
        self.errors.attempt("workers", self.remove_workers)
        self.errors.attempt("randomize", self.reset)
        self.errors.attempt("stream", self._settle)
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
        with self._starting("randomize", scene):
            index = self._shown.show_next(to_setup(scene), uid, lambda _, error: self.errors.mark(uid, error))
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
        self.errors.attempt("stream", self.making.put_back)
        self.errors.attempt("randomize", self.reset)

    def after_undo(self) -> None:
        """Blender's data was replaced by that of a step, which may hold what was only for a sample."""
        self.errors.attempt("stream", self.making.invalidate)
        self.errors.attempt("randomize", applied.put_back)

    def leave_file(self) -> None:
        """Stops everything, for another file is loaded, and forgets what was said of this one."""
        notice = "Stopped, for another file was loaded." if self.state.running else ""
        self.errors.clear()
        self.stop_all(notice)
        self.stats = None
        applied.forget_all()

    # Jobs

    def start_job(self, name: str, scene: bpy.types.Scene, make: Callable[[], Job]) -> None:
        """Does something by and by; samples are not made meanwhile.

        Raises:
            SceneError, ConfigError: What is set up does not serve, or another job runs.
        """
        if self.state.preview:
            raise SceneError("a preview is being made. Wait for it, or stop it (Esc).")
        with self._starting(name, scene):
            self.making.put_back()
            self._jobs.start(make())
        self._wake()

    def stop_job(self) -> None:
        """Ends the job that runs, if one does."""
        self.errors.attempt(self._jobs.name, self._jobs.end)
        self._settle()

    # The turn

    def step(self, turn_s: float = TURN_S) -> int:
        """Makes samples as long as they are wanted, for about `turn_s` seconds.

        The timer calls it. Where timers do not run, in Blenders without a window, whoever has started something calls it.

        Returns:
            How many samples were made.
        """
        made = 0
        if self._jobs.running:
            if self._jobs.step():
                self.stop_job()
        else:
            try:
                made = self.making.make(turn_s)
            except (Exception, SystemExit) as error:  # of a hook, anything; no hook ends Blender
                self._stop_making(error)
        if self._watch.is_due:
            self.errors.attempt("stream", self._watch.look)
            self.errors.attempt("stream", self._watch.follow_settings)
            redraw()
        return made

    def _turn(self) -> float | None:
        try:
            made = self.step(self._pace.begin())
        except (Exception, SystemExit) as error:  # nothing may end the timer without a word
            self.errors.note("stream", error)
            self.stop_all()
            made = 0
        return self._pace.end(made > 0 or self._jobs.is_busy) if self.state.running else None

    def _note_failed(self, job: Job, error: BaseException) -> None:
        self.errors.mark(job.scene_uid, error)
        self.errors.note(job.name, error)

    def _stop_making(self, error: BaseException) -> None:
        """Ends what needs samples that cannot be made."""
        state, uid = self.state, self.making.producer.scene_uid
        for name in ("stream", "recording"):
            if getattr(state, name):
                self.errors.note(name, error)
        self.errors.attempt("recording", self.stop_recording)
        self.errors.attempt("stream", self.stop_stream)
        self.errors.mark(uid, error)
        redraw()

    # Beginning and ending

    @contextmanager
    def _starting(self, name: str, scene: bpy.types.Scene) -> Iterator[None]:
        """Within, a scene, which is put back before, is the context's.

        Errors of before are forgotten; one that is raised inside is kept, and what nothing needs then is let go.
        """
        if self.state.environment:
            raise SceneError("an environment runs, and plays the frames of the scene itself. Stop it first (Esc).")
        if name in ("stream", "recording"):
            self.making.check_scene(scene.session_uid)
        self.reset()
        self.errors.forget(name, scene)
        self.notice = ""
        uid, before = scene.session_uid, dict(self.errors.by_name)
        try:
            with scene_context(uid):
                yield
            self.note_started(name, before)
        except BaseException as error:
            self.errors.mark(uid, error)
            self.errors.note(name, error)
            self.errors.attempt(name, self._settle)
            raise

    def _require_hub(self) -> SampleHub:
        if self.hub is None:
            self.stats = None
        return self.making.require_hub()

    def _settle(self) -> None:
        """Lets go of what nothing needs any more."""
        state = self.state
        try:
            if not state.sampling:
                self.making.end()
        finally:
            if not (state.sampling or state.workers):
                self.making.close_hub(_CLOSE_S)
            if not state.running:
                self._clock.stop(keep_handlers=state.shown)

    def _wake(self) -> None:
        self._pace = Pace()
        self._watch.be_due()
        self._clock.start()
        redraw()

    def _at_exit(self) -> None:
        """At the end of Python, when there may be no scene left that could be put back."""
        self.making.close_hub(_CLOSE_S)
        if self.endpoint is not None:
            self.endpoint.close()


engine = Engine()
