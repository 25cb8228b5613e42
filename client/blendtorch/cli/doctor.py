"""`blendtorch doctor`: tells what of this machine BlendTorch can use, what it lacks, and what to do about it."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from . import doctor_addon, doctor_blender, doctor_checks
from .doctor_checks import Line, Status, guarded

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

Check = Callable[[], Iterable[Line]]

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red"}
_STATUS_WIDTH = 9
_NAME_WIDTH = 18


def add_parser(subparsers: "Subparsers") -> None:
    """Adds the sub-command to those of `blendtorch`."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine: Blender, its libraries, the GPU, shared memory, sockets",
        description="Checks what BlendTorch needs of this machine, and says what to do about what is missing. "
        "The exit status is 0 when a Blender can serve and nothing failed, else 1.",
    )
    parser.add_argument(
        "--blender",
        metavar="PATH",
        help="a blender executable, a Python that has bpy, or a folder that holds one; without it those are looked at "
        "that a launch would try: BLENDTORCH_BLENDER, or `blender` on the PATH and the bpy module of this Python",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs all checks and prints their lines as they come; returns the exit status."""
    checks: list[tuple[str, Check]] = [
        ("Python", doctor_checks.check_python),
        ("torch", doctor_checks.check_torch),
        ("ZeroMQ", doctor_checks.check_zmq),
        ("machine", doctor_checks.check_machine),
        ("shared memory", doctor_checks.check_shared_memory),
        ("tcp sockets", doctor_checks.check_tcp),
        ("ipc sockets", doctor_checks.check_ipc),
        ("Blender", partial(doctor_blender.check_blenders, args.blender)),
        ("add-on", partial(doctor_addon.check_addons, args.blender)),
        (doctor_blender.LIBRARIES, partial(doctor_blender.check_libraries, args.blender)),
        ("GPU", partial(doctor_blender.check_gpu, args.blender)),
    ]
    return report(checks, Console())


def report(checks: Sequence[tuple[str, Check]], console: Console) -> int:
    """Runs checks, each given with a name for when it crashes, and prints their lines; returns the exit status."""
    count = dict.fromkeys(Status, 0)
    for name, check in checks:
        for line in guarded(name, check):
            count[line.status] += 1
            _print(line, console)
    console.print(", ".join(f"{number} {status}" for status, number in count.items()))
    return 1 if count[Status.FAILED] else 0


def _print(line: Line, console: Console) -> None:
    text = Text(line.status.ljust(_STATUS_WIDTH), style=_STYLES[line.status])
    text.append(f"{line.name.ljust(_NAME_WIDTH)} {line.seen}", style="default")
    # Wrapped by the terminal alone, so that a command can be copied and a line of a log searched.
    console.print(text, soft_wrap=True)
    if line.fix:
        console.print(Text(f"{' ' * _STATUS_WIDTH}{'-> do:'.ljust(_NAME_WIDTH)} {line.fix}"), soft_wrap=True)
