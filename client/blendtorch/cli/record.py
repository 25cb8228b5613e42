"""`blendtorch record`: records what Blender publishes, with as many Blenders as wanted."""

import argparse
import json
import signal
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from ..btt import BlenderLauncher, CurveKeys, LaunchInfo
from ..btt.record_samples import record_samples
from ..btt.stream_recorder import StreamRecorder
from ..errors import ConfigError
from ..recording import Recording, RecordingSettings
from ..recording.origin import check_same_stream
from ..recording.recording import recording_in
from ..recording.resume import positions_after
from .class_names import add_classes_option, names, parse_classes
from .launch import add_launcher_options, launcher_options

_SOCKET = "DATA"


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser(
        "record",
        help="record what Blender publishes",
        description="Records samples into a folder of tar shards. Run again with the same folder, it goes on where it "
        "was interrupted.",
    )
    parser.add_argument(
        "source",
        metavar="SCRIPT.py|SCENE.blend|CONFIG.json|INFO.json|ADDRESS",
        help="what to launch (a scene that was set up with the BlendTorch panel needs no script); or what to connect to: "
        "the launch info of `blendtorch launch`, or an address",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to record into")
    parser.add_argument(
        "--samples", type=int, help="how many the recording shall have (default: until Ctrl-C, or the end)"
    )
    parser.add_argument(
        "--encode",
        type=names,
        default=[],
        metavar="FIELD=FORMAT,...",
        help="store fields as png, jpg, webp or exr, such as image=png (default: as they are)",
    )
    parser.add_argument("--quality", type=int, default=95, help="of jpg and webp (default: %(default)s)")
    add_classes_option(parser, "those set up in the scene that is launched")
    parser.add_argument(
        "--shard-samples", type=int, default=RecordingSettings.shard_samples, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--shard-mb", type=float, default=1024, help="size at which a shard ends (default: %(default)s)"
    )
    parser.add_argument(
        "--fsync",
        choices=["never", "shard", "sample"],
        default="shard",
        help="when to wait for the disk (default: shard)",
    )
    parser.add_argument(
        "--timeout", type=float, default=120, help="seconds to wait for a sample (default: %(default)s)"
    )
    add_launcher_options(parser)
    parser.set_defaults(run=run, command="record")


def run(args: argparse.Namespace) -> int:
    """Records; returns the exit status."""
    if args.samples is not None and args.samples < 1:
        raise ConfigError(f"--samples is {args.samples}, expected at least 1.")
    if not 0 < args.shard_mb < 2**40:
        raise ConfigError(f"--shard-mb is {args.shard_mb}, expected a positive number.")
    classes = parse_classes(args.classes) if args.classes else {}
    metadata = {"classes": {str(number): name for number, name in classes.items()}} if classes else {}
    settings = RecordingSettings(
        args.out,
        _encodings(args.encode),
        args.quality,
        args.shard_samples,
        round(args.shard_mb * 2**20),
        args.fsync,
        metadata,
    )
    # So that the shard is ended then, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console()
    before = recording_in(args.out)
    there = 0 if before is None else len(before)
    launcher = _launcher(args, before)
    if before is not None and launcher is not None:
        for recorded, _ in before.parts:
            check_same_stream(args.out, recorded, {**launcher.origin, **settings.metadata})
    if args.samples is not None and there >= args.samples:
        console.print(f"{args.out} has {there} samples already; nothing is to be done")
        return 0
    with ExitStack() as stack:
        if launcher is None:
            addresses, curve, origin = _running(args.source)
        else:
            with console.status("starting Blender"):
                stack.enter_context(launcher)
            info = launcher.launch_info
            addresses, curve, origin = info.addresses[_SOCKET], info.curve, launcher.origin
        recorder = StreamRecorder(settings, origin)
        stack.callback(_tell, console, args.out, time.monotonic(), recorder)  # after it is closed
        stack.callback(recorder.close)
        columns = (SpinnerColumn(), TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TextColumn("samples"))
        with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[size]}"), console=console) as bar:
            task = bar.add_task("", total=args.samples, completed=there, size="")
            # From here on Ctrl-C is looked for between samples; anywhere else Python might pass over it.
            stopped = threading.Event()
            signal.signal(signal.SIGINT, lambda *_: stopped.set())
            record_samples(
                addresses,
                recorder,
                None if args.samples is None else args.samples - there,
                # Of what was launched elsewhere nobody knows whether it is the stream that was recorded before.
                owed=None if before is None or "seed" not in origin else positions_after(before, len(addresses)),
                curve=curve,
                timeout_s=args.timeout,
                excused=partial(_excused, launcher),
                stopped=stopped.is_set,
                progress=lambda: bar.update(
                    task, completed=there + recorder.samples, size=f"{recorder.nbytes / 1e6:,.0f} MB"
                ),
            )
            if stopped.is_set():
                raise KeyboardInterrupt
    return 0


def _launcher(args: argparse.Namespace, before: Recording | None) -> BlenderLauncher | None:
    """What launches the Blenders; None where some run already."""
    source = Path(args.source)
    if "://" in args.source or _launch_info(source) is not None:
        return None
    options = launcher_options(source, args)
    if options.get("seed") is None and before is not None and "seed" in before.metadata:
        options["seed"] = before.metadata["seed"]  # the same stream is gone on with
    return BlenderLauncher(**{**options, "named_sockets": options.get("named_sockets") or [_SOCKET]})


def _running(source: str) -> tuple[list[str], CurveKeys | None, dict[str, Any]]:
    """Addresses and keys of Blenders that run, and what is known of their samples."""
    info = _launch_info(Path(source))
    if info is None:
        return [source], None, {}
    addresses = info.addresses[_SOCKET]
    return addresses, info.curve, {"num_instances": len(addresses)}


def _excused(launcher: BlenderLauncher | None) -> bool:
    """Whether no sample may come for a good reason."""
    if launcher is None:
        return False
    launcher.assert_alive()
    return launcher.restarting


def _launch_info(source: Path) -> LaunchInfo | None:
    """The launch info in a file; None where it is none."""
    if source.suffix != ".json" or not source.is_file():
        return None
    try:
        is_info = "addresses" in json.loads(source.read_text(encoding="utf-8"))
    except (ValueError, TypeError):
        return None
    return LaunchInfo.load_json(source) if is_info else None


def _encodings(values: list[str]) -> dict[str, str]:
    """What FIELD=FORMAT options say."""
    if bad := [value for value in values if "=" not in value]:
        raise ConfigError(f"--encode has {bad[0]!r}, expected FIELD=FORMAT.")
    return dict(value.split("=", 1) for value in values)


def _tell(console: Console, folder: Path, started: float, recorder: StreamRecorder) -> None:
    """What there is now."""
    recording = recording_in(folder)
    if recording is None:
        console.print(f"{folder} has no samples")
        return
    size = sum(path.stat().st_size for path in recording.shards)
    rate = recorder.samples / max(1e-9, time.monotonic() - started)
    console.print(
        f"{folder} has {len(recording)} samples in {len(recording.shards)} shard(s), {size / 1e6:,.1f} MB; "
        f"{recorder.samples} are new, {rate:.1f} a second"
    )
    if recorder.duplicates:
        console.print(f"{recorder.duplicates} that came were there already, and were passed over")
