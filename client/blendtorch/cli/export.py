"""`blendtorch export`: a recording as a dataset of other tools."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..errors import ConfigError
from ..export.formats import FORMATS, export
from ..recording import Recording
from .class_names import add_classes_option, names, parse_classes


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser(
        "export",
        help="write a recording as a dataset of other tools",
        description="Writes a recording as a dataset of other tools. All samples of an episode go to one split, the same "
        "each time.",
    )
    parser.add_argument("recording", type=Path, metavar="REC", help="folder of a recording, or a shard")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format")
    parser.add_argument("out", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--splits",
        metavar="NAME=SHARE,...",
        help="such as train=0.8,val=0.1,test=0.1 (default: train=0.9,val=0.1)",
    )
    add_classes_option(parser)
    some = parser.add_argument_group("options of some formats")
    some.add_argument(
        "--task", choices=["detect", "segment", "pose"], help="yolo: what labels are for (default: detect)"
    )
    some.add_argument("--image-format", choices=["png", "jpg"], help="coco, yolo, bop: of the pictures (default: png)")
    some.add_argument("--quality", type=int, help="of jpg, 1 to 100 (default: 95)")
    some.add_argument("--image-field", metavar="FIELD", help="coco, yolo, bop: field of the picture (default: image)")
    some.add_argument("--field", metavar="FIELD", help="video: field of the picture (default: image)")
    some.add_argument(
        "--without-class", choices=["auto", "skip", "keep"], help="coco, yolo: what becomes of class 0 (default: auto)"
    )
    some.add_argument("--min-pixels", type=int, help="coco, yolo, bop: leave out what fewer pixels show (default: 1)")
    some.add_argument("--depth-scale", type=float, help="bop: millimetres a step of depth images (default: 1)")
    some.add_argument("--obj-ids", choices=["object", "class"], help="bop: what a model is (default: object)")
    some.add_argument("--fields", type=names, metavar="FIELD,...", help="hdf5: which (default: all)")
    some.add_argument("--compression", choices=["gzip", "lzf"], help="hdf5: of large arrays (default: none)")
    some.add_argument("--jpeg-quality", type=int, help="rerun: stores pictures with loss (default: without)")
    some.add_argument("--fps", type=float, help="video: pictures a second (default: 30)")
    some.add_argument("--annotate", action="store_true", default=None, help="video: draw boxes and masks on")
    some.add_argument("--per-episode", action="store_true", default=None, help="video: a file for each episode")
    some.add_argument("--scale", type=int, help="video: make pictures so many times larger (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exports; returns the exit status."""
    own = ("recording", "to", "out", "classes", "splits", "run", "verbose", "script_args")
    options = {name: value for name, value in vars(args).items() if value is not None and name not in own}
    if args.splits is not None:
        options["splits"] = _splits(args.splits)
    console = Console()
    recording = Recording(args.recording)
    if args.classes is not None:
        recording.metadata["classes"] = parse_classes(args.classes)
    columns = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn(), TextColumn("samples"), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=len(recording))
        summary = export(
            recording,
            args.to,
            args.out,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **options,
        )
    console.print(str(summary), highlight=False, markup=False, soft_wrap=True)
    return 0


def _splits(text: str) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in (part.split("=", 1) for part in names(text))}
    except ValueError:
        raise ConfigError(f"--splits is {text}, expected NAME=SHARE,... such as train=0.9,val=0.1.") from None
