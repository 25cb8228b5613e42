"""This process as one BlendTorch instance: who launched it, what it reports back, and how it ends."""

import atexit
import faulthandler
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn, Protocol

from .. import __version__
from ..errors import BlendTorchError
from ..recording.writer import close_writers
from ..wire import Kind, LaunchArguments, Message
from ..wire.curve import CurveKeys, curve_from_environment
from ..wire.sockets import MessageSocket, answer, flush
from . import compat
from .heartbeat import Heartbeat
from .origin import OpenedScene
from .stream_position import StreamPosition

# How long a failing instance tries to tell those who listen, and how long the end of a process waits for its queues.
REPORT_TIMEOUT_S = 2.0
FLUSH_TIMEOUT_S = 30.0
_REPORT_CHARACTERS = 50_000


class Channel(Protocol):
    """What a session needs of a channel."""

    @property
    def address(self) -> str: ...
    def publish_error(self, body: dict[str, str], duration_s: float) -> None: ...
    def ready(self) -> bool: ...
    def close(self) -> None: ...


class Session:
    """The instance that this process is. One a process; made by `open_session`.

    Args:
        args: Who this instance is and whom it reports to.
        supervised: Whether `blendtorch.btb.run` runs the script and handles its exceptions. Otherwise the script was
            started by hand, and the session takes care that an exception ends Blender with a nonzero exit status, and that
            SIGTERM ends the script like `sys.exit`.

    Attributes:
        args: The same.
        curve: The keys of the launch, if it has some.
        position: Where in the stream it is.
        scene: The scene that the script began with, if a file tells what it is.
        script_args: The script's own arguments; None until it has parsed them.
        classes: Names of classes by their ids, as texts, for recordings of what this instance makes.
        published: How many samples this process has published, on all its channels together; they count it up.
    """

    def __init__(self, args: LaunchArguments, supervised: bool) -> None:
        self.args = args
        self.curve = curve_from_environment()  # at once, so that what the script starts does not inherit them
        self.published = 0
        self.position = StreamPosition()
        self.scene = OpenedScene.now()
        self.script_args: list[str] | None = None
        self.classes: dict[str, str] = {}
        self._channels: list[Channel] = []
        self._said_hello = False
        self._failed = False
        self._control = MessageSocket("push", args.control, bind=False) if args.control else None
        self._heartbeat: Heartbeat | None = None
        atexit.register(self._close_at_exit)
        if not supervised and compat.is_background():
            sys.excepthook = self._exit_on_exception
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                handle_signals()

    @property
    def interrupted(self) -> bool:
        """Whether a signal has ended this process: then nobody waits for what it has not delivered."""
        return _ended_by_signal

    def hello(self) -> None:
        """Tells the launcher, once, that the script is running."""
        if self._said_hello:
            return
        self._said_hello = True
        body = {
            "pid": os.getpid(),
            "blendtorch": __version__,
            "blender": compat.blender_version(),
            "python": sys.version.split()[0],
            "seed": self.args.seed,
            "classes": self.classes,
        }
        self._tell_launcher(Message(Kind.HELLO, body, self.args.btid, self.args.epoch))
        if self._control is not None:
            self._heartbeat = Heartbeat(self.args, lambda: self.published)

    def add_channel(self, channel: Channel) -> None:
        """Registers a channel that is told of failures and closed, its queue flushed, when this process ends."""
        self._channels.append(channel)

    def remove_channel(self, channel: Channel) -> None:
        """Forgets a channel that was closed."""
        if channel in self._channels:
            self._channels.remove(channel)

    def ready(self) -> bool:
        """Whether every channel has room for one more message."""
        return all(channel.ready() for channel in self._channels)

    def fail(self, error: BaseException) -> None:
        """Prints the traceback and sends it, once, to the launcher and to all who listen to the channels."""
        if self._failed:
            return
        self._failed = True
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr, flush=True)
        body = {
            "error": "".join(traceback.format_exception_only(error)).strip()[-_REPORT_CHARACTERS:],
            "traceback": text[-_REPORT_CHARACTERS:],
        }
        self._tell_launcher(Message(Kind.ERROR, body, self.args.btid, self.args.epoch))
        used = {channel.address for channel in self._channels}
        for channel in self._channels:
            _try_to_report(channel.publish_error, body, REPORT_TIMEOUT_S)
        # A script that fails before it has made its channels leaves clients waiting at the addresses, too.
        message = Message(Kind.ERROR, body, self.args.btid, self.args.epoch)
        for address in self.args.btsockets.values():
            if address not in used:
                _try_to_report(_answer_for_a_while, address, message, self.curve)

    def close(self, flush_timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Closes all channels; what they have queued is sent, each within its own linger time.

        One that cannot be closed properly (a recording, when the disk is full) is a failure as of the script.
        """
        atexit.unregister(self._close_at_exit)
        for channel in list(self._channels):
            try:
                channel.close()
            except BlendTorchError as error:
                if self._failed:
                    print(error, file=sys.stderr, flush=True)
                self.fail(error)
        if self._heartbeat:
            # Not before: a channel may take long to get rid of what it holds.
            self._heartbeat.end(silent_s=flush_timeout_s + REPORT_TIMEOUT_S)
            self._heartbeat = None
        if self._control:
            self._control.close(REPORT_TIMEOUT_S)
        flush(flush_timeout_s)

    def exit(self, code: int) -> NoReturn:
        """Ends the process now; its queues are flushed, unless a signal ended it: then nobody waits for them."""
        self.close(flush_timeout_s=0 if _ended_by_signal else FLUSH_TIMEOUT_S)
        end_process(code or int(self._failed))

    def _close_at_exit(self) -> None:
        if _ended_by_signal:
            self.exit(128 + signal.SIGTERM)
        had_failed = self._failed
        self.close()
        if self._failed and not had_failed:
            end_process(1)

    def _tell_launcher(self, message: Message) -> None:
        if self._control is not None:
            _try_to_report(self._control.send, message, REPORT_TIMEOUT_S)

    def _exit_on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        # Blender also calls this for an exception in an operator or handler, with the script still on the stack: the
        # script sees that one itself, and may handle it.
        if sys._getframe().f_back is not None:
            sys.__excepthook__(kind, error, trace)
            return
        self.fail(error.with_traceback(trace))
        self.exit(130 if kind is KeyboardInterrupt else 1)


def end_process(code: int) -> NoReturn:
    """Ends the process now, without the interpreter's own end.

    Blender 4.2 crashes and 4.5 hangs when the interpreter of the `bpy` module exits with a handler, timer or class still
    registered. What Blender would have removed then is removed here, and what is closed then is closed.
    """
    close_writers()
    sys.stdout.flush()
    sys.stderr.flush()
    shutil.rmtree(compat.temporary_folder(), ignore_errors=True)
    os._exit(code)


def _try_to_report(report: Callable[..., None], *args: Any) -> None:
    try:
        report(*args)
    except BlendTorchError as unheard:
        print(f"could not report: {unheard}", file=sys.stderr, flush=True)


def _answer_for_a_while(address: str, message: Message, curve: CurveKeys | None) -> None:
    over = threading.Event()
    timer = threading.Timer(REPORT_TIMEOUT_S, over.set)
    timer.daemon = True
    timer.start()
    answer(address, message, over, curve)


_session: Session | None = None


def open_session(args: LaunchArguments, supervised: bool = False) -> Session:
    """Makes this process an instance, or returns the session that it already is."""
    global _session
    if _session is None:
        _session = Session(args, supervised)
    return _session


def current_session() -> Session | None:
    """The session of this process; None when the script did not call `parse_blendtorch_args`."""
    return _session


def handle_signals() -> None:
    """Makes SIGTERM end the script like `sys.exit`, so that `finally` blocks run, and SIGUSR1 print all stacks."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _exit_by_signal)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)


_ended_by_signal = False


def _exit_by_signal(number: int, frame: FrameType | None) -> None:
    global _ended_by_signal
    _ended_by_signal = True
    raise SystemExit(128 + number)
