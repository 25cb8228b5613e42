"""`blendtorch view`: samples to look at, of a recording or live: in Rerun's viewer, in a file for it, or as one picture."""

import argparse
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from rich.console import Console

from ..btt import LaunchInfo, RemoteIterableDataset, montage, panels
from ..errors import BlendTorchError, ConfigError, MissingFileError
from ..export.annotate import annotate
from ..export.classes import class_names
from ..export.missing import need
from ..export.rerun import RerunLog
from ..export.target import new_file
from ..recording import Recording
from .class_names import add_classes_option, parse_classes

_SOCKET = "DATA"
_SAMPLES = 12
_COLUMNS = ("image", "depth", "ids", "semantic", "normals_camera", "normals_world")
_LEAST_HEIGHT, _MOST_SCALE = 192, 8  # smaller pictures are enlarged, so that names fit on them
_START_S = 30.0  # for the viewer to come up
_CLOSE_S = 5.0
_LOOK_S = 0.2  # how soon it is noticed that the viewer was closed
_TAIL_CHARACTERS = 1500


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser(
        "view",
        help="look at samples, of a recording or live",
        description="Shows samples with their labels in Rerun's viewer, until it is closed. A sample of a stream goes to "
        "one receiver: what is shown here is not trained with.",
    )
    parser.add_argument("source", metavar="RECORDING|INFO.json|ADDRESS", help="what to look at, or what to connect to")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--png", type=Path, metavar="FILE", help="write a picture instead, a row for each sample")
    how.add_argument("--save", type=Path, metavar="FILE.rrd", help="write a file for Rerun's viewer instead")
    how.add_argument("--web", action="store_true", help="serve a viewer for a browser on this machine instead")
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="how many: spread over a recording, the first ones of a stream (default: 12; live in a viewer all)",
    )
    add_classes_option(parser)
    parser.add_argument(
        "--rate", type=float, default=5.0, metavar="HZ", help="most samples a second, live in a viewer (default: 5)"
    )
    parser.add_argument(
        "--timeout", type=float, default=120, help="seconds to wait for a sample (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Shows or writes; returns the exit status."""
    if args.samples is not None and args.samples < 1:
        raise ConfigError(f"--samples is {args.samples}, expected at least 1.")
    if args.rate <= 0 or args.timeout <= 0:
        raise ConfigError(f"--rate is {args.rate} and --timeout {args.timeout}, expected positive numbers.")
    if args.save is not None and args.save.suffix != ".rrd":
        raise ConfigError(f"--save is {args.save}, expected a name that ends with .rrd: the viewer goes by it.")
    if args.png is not None and not args.png.resolve().parent.is_dir():
        raise MissingFileError(f"there is no folder {args.png.resolve().parent} for --png {args.png}. Make it first.")
    if args.png is not None and args.png.suffix.lower() not in Image.registered_extensions():
        raise ConfigError(f"--png is {args.png}, expected the name of a picture, such as look.png.")
    in_viewer = args.png is None and args.save is None
    if in_viewer:
        # Rerun reads this when it is imported. What it says when the viewer is closed is no error here.
        os.environ.setdefault("RUST_LOG", "off")
    if args.png is None:
        need("rerun", extra="view")
    console = Console()
    source = _open(args, console, endless=in_viewer)
    if in_viewer:
        _show(args, source, console)
        return 0
    with closing(source.samples):
        if args.png is not None:
            _write_png(args.png, source, console)
        else:
            _write_rrd(args.save, source, console)
    return 0


@dataclass
class _Source:
    """Samples, and what is known of them."""

    name: str
    samples: Generator[Mapping[str, Any], None, None]
    classes: Mapping[int, str]
    is_live: bool


def _open(args: argparse.Namespace, console: Console, *, endless: bool) -> _Source:
    classes = None if args.classes is None else parse_classes(args.classes)
    path = Path(args.source)
    if "://" in args.source or path.suffix == ".json":
        addresses, curve = [args.source], None
        if "://" not in args.source:
            info = LaunchInfo.load_json(path)
            addresses, curve = info.addresses[_SOCKET], info.curve
        count = args.samples if args.samples is not None or endless else _SAMPLES
        console.print("what is shown here is missing in a training that takes from the same Blenders", soft_wrap=True)
        # Few wait here, for each is one less for training.
        dataset = RemoteIterableDataset(
            addresses, max_items=count, queue_size=1, timeoutms=1000 * args.timeout, curve=curve
        )
        return _Source(args.source, _each(dataset), classes or {}, is_live=True)
    recording = Recording(path)
    if not len(recording):
        raise ConfigError(f"{path} has no samples: there is nothing to look at.")
    count = min(args.samples or _SAMPLES, len(recording))
    places = np.unique(np.linspace(0, len(recording) - 1, count).round().astype(int)).tolist()
    names = class_names(recording.metadata) if classes is None else classes
    return _Source(path.resolve().name, _each(recording[place] for place in places), names, is_live=False)


def _each(samples: Iterable[Mapping[str, Any]]) -> Generator[Mapping[str, Any], None, None]:
    yield from samples


def _write_rrd(file: Path, source: _Source, console: Console) -> None:
    with new_file(file) as partial, RerunLog(source.name, classes=source.classes) as rerun_log:
        rerun_log.save(partial)
        for sample in source.samples:
            rerun_log.log(sample)
    console.print(f"wrote {file}: {rerun_log.samples} samples. Look at it: rerun {file}", soft_wrap=True)


def _write_png(file: Path, source: _Source, console: Console) -> None:
    samples = list(source.samples)
    columns = [field for field in _COLUMNS if any(field in sample for sample in samples)]
    if not samples or not columns:
        seen = ", ".join(sorted({field for sample in samples for field in sample})) or "none at all"
        raise ConfigError(f"{source.name}: expected samples with {' or '.join(_COLUMNS)}, got fields {seen}.")
    rows = [[_tile(sample, column, source.classes) for column in columns] for sample in samples]
    size = np.max([tile.shape for row in rows for tile in row if tile is not None], axis=0)
    tiles = [np.zeros(size, np.uint8) if tile is None else _padded(tile, size) for row in rows for tile in row]
    montage(tiles, columns=len(columns), titles=columns).save(file)
    console.print(f"wrote {file}: {len(samples)} samples, each a row with {', '.join(columns)}", soft_wrap=True)


def _tile(sample: Mapping[str, Any], column: str, classes: Mapping[int, str]) -> np.ndarray | None:
    """A field as a picture, (H, W, 3) uint8; None if the sample lacks it."""
    if column not in sample:
        return None
    scale = min(-(-_LEAST_HEIGHT // np.shape(sample[column])[0]), _MOST_SCALE)
    if column == "image":
        return annotate(sample, classes=classes, scale=scale)
    return panels(sample, [column])[0].repeat(scale, axis=0).repeat(scale, axis=1)


def _padded(tile: np.ndarray, size: np.ndarray) -> np.ndarray:
    """With black to the right and below."""
    return np.pad(tile, [(0, whole - part) for whole, part in zip(size, tile.shape, strict=True)])


def _show(args: argparse.Namespace, source: _Source, console: Console) -> None:
    """Sends samples to a viewer until it is closed."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that the viewer is ended, too
    with _Viewer(web=args.web) as viewer:
        console.print(viewer.where, soft_wrap=True)
        with RerunLog(source.name, classes=source.classes) as rerun_log:
            rerun_log.connect(viewer.url)
            due = time.monotonic()
            for sample in _until_closed(source.samples, viewer):
                rerun_log.log(sample)
                if source.is_live:
                    due = max(due + 1 / args.rate, time.monotonic())
                    viewer.closes(due - time.monotonic())
        if not viewer.closes(0):
            console.print(f"{rerun_log.samples} samples, these were all. Close the viewer, or press Ctrl-C.")
            viewer.closes(None)


def _until_closed(
    samples: Generator[Mapping[str, Any], None, None], viewer: "_Viewer"
) -> Generator[Mapping[str, Any], None, None]:
    """The samples, as long as the viewer is open. A thread waits for them, so one that never comes holds nothing up."""
    received: queue.Queue[Mapping[str, Any] | BaseException | None] = queue.Queue(1)
    stopped = threading.Event()

    def receive() -> None:
        ending: BaseException | None = None
        with closing(samples):
            try:
                for sample in samples:
                    received.put(sample)
                    if stopped.is_set():
                        return
            except BaseException as error:
                ending = error
        received.put(ending)

    threading.Thread(target=receive, daemon=True).start()
    try:
        while not viewer.closes(0):
            try:
                sample = received.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if sample is None:
                return
            if isinstance(sample, BaseException):
                raise sample
            yield sample
    finally:
        stopped.set()
        while not received.empty():  # the thread may wait for room
            received.get_nowait()


class _Viewer:
    """Rerun's viewer as a process of ours, that only this machine can send to. A context manager, which ends it.

    (`rerun.spawn` would leave it running, and open to the network.)

    Attributes:
        url: What to connect to.
        where: What to tell the user.
    """

    def __init__(self, *, web: bool) -> None:
        program = Path(need("rerun_cli", extra="view").__file__ or "").with_name("rerun")
        port, web_port = _free_ports(2)
        self.url = f"rerun+http://127.0.0.1:{port}/proxy"
        command = [str(program), "--bind", "127.0.0.1", "--port", str(port), "--memory-limit", "25%"]
        if web:
            command += ["--serve-web", "--web-viewer-port", str(web_port), "--server-memory-limit", "25%"]
            page = f"http://localhost:{web_port}/?url={quote(f'rerun+http://localhost:{port}/proxy', safe='')}"
            self.where = (
                f"open {page} (from elsewhere: ssh -L {web_port}:localhost:{web_port} -L {port}:localhost:{port})"
            )
        else:
            command.append("--expect-data-soon")
            self.where = "Rerun's viewer is open; close it to end"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        # As Rerun's own SDK does: no questions to the user of another program.
        environment = {**os.environ, "RERUN_APP_ONLY": "true"}
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, env=environment)
        try:
            self._wait_until_ready(port)
        except BaseException:
            self.close()
            raise

    def closes(self, within_s: float | None) -> bool:
        """Waits until the user closes it, at most so many seconds; whether that is so."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        if not self.closes(_CLOSE_S):
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> "_Viewer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        # Rerun raises RuntimeError where it cannot send any more, perhaps before we notice; as some of our own errors are.
        severed = isinstance(error, RuntimeError) and not isinstance(error, BlendTorchError) and self.closes(_CLOSE_S)
        if (error is None or severed) and (self._process.poll() or 0) > 0:
            raise self._failure() from None
        self.close()
        return severed

    def _wait_until_ready(self, port: int) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise self._failure()

    def _failure(self) -> ConfigError:
        """What to tell when it does not come up; closes it."""
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace")[-_TAIL_CHARACTERS:].strip()
        self.close()
        return ConfigError(f"Rerun's viewer has failed. Without a screen use --web, --save or --png. It says:\n{tail}")


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
