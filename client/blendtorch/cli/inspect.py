"""`blendtorch inspect`: what is in a recording, as tables, plots and JSON, and what looks wrong with it."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..btt.inspection import inspect
from ..btt.inspection_plots import check_plots, write_plots
from ..errors import MissingFileError
from ..recording import Recording
from .class_names import add_classes_option, names, parse_classes
from .inspect_tables import print_inspection


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser(
        "inspect",
        help="tell what is in a recording, and what looks wrong with it",
        description="Reads each sample of a recording once, and tells what is in it: fields and their ranges, instances, "
        "classes, sizes, occlusion. Copies, pictures without instances, NaN and constant fields are reported.",
    )
    parser.add_argument("recording", type=Path, nargs="+", metavar="REC", help="folder of a recording, or its shards")
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--every", type=int, default=1, metavar="N", help="look at each N-th sample alone")
    some.add_argument("--samples", type=int, metavar="N", help="look at N samples, drawn at random")
    parser.add_argument("--check", action="store_true", help="also look for labels that contradict each other (slower)")
    add_classes_option(parser)
    parser.add_argument(
        "--allow-nan",
        type=names,
        default=[],
        metavar="FIELD,...",
        help="that may have NaN, such as depth with holes",
    )
    parser.add_argument("--png", type=Path, metavar="FILE", help="write plots; needs matplotlib")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there is a problem; notes are none")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Inspects, prints and writes; returns the exit status."""
    # What would fail at the end fails at once: to read a recording takes minutes.
    for option, file in (("--png", args.png), ("--json", args.json)):
        if file is not None and not file.resolve().parent.is_dir():
            raise MissingFileError(f"there is no folder {file.resolve().parent} for {option} {file}. Make it first.")
    if args.png is not None:
        check_plots(args.png)
    classes = None if args.classes is None else parse_classes(args.classes)
    console = Console()
    recording = Recording(args.recording if len(args.recording) > 1 else args.recording[0])
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("samples"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        inspection = inspect(
            recording,
            every=args.every,
            samples=args.samples,
            check=args.check,
            classes=classes,
            allow_nan=args.allow_nan,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    title = ", ".join(map(str, args.recording[:3])) + (", ..." if len(args.recording) > 3 else "")
    print_inspection(inspection, title, console)
    if args.json is not None:
        args.json.write_text(json.dumps(inspection.to_dict(), indent=1, allow_nan=False), encoding="utf-8")
        console.print(f"wrote {args.json}", markup=False, highlight=False, soft_wrap=True)
    if args.png is not None:
        write_plots(inspection, args.png, title=title)
        console.print(f"wrote {args.png}", markup=False, highlight=False, soft_wrap=True)
    return 1 if args.strict and not inspection.is_clean else 0
