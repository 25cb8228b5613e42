"""The `blendtorch` command. One module a sub-command, each with `add_parser` and `run`."""

import argparse
import logging
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import BlendTorchError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The arguments; by default those of this process.

    Returns:
        The exit status: 0, 1 after an error (its message is printed), 2 for bad usage, 130 after Ctrl-C.
    """
    try:
        # Imported here: they import torch, which takes seconds, and says below what to do when it is not there.
        from . import addon, demo, doctor, export, inspect, launch, record, view
    except ModuleNotFoundError as error:
        print(f"blendtorch: {error}. Install it: {sys.executable} -m pip install blendtorch", file=sys.stderr)
        return 1

    parser = argparse.ArgumentParser(prog="blendtorch", description="Live images from Blender into PyTorch.")
    parser.add_argument("--version", action="version", version=f"blendtorch {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what is being done")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (demo, launch, record, inspect, view, export, addon, doctor):
        command.add_parser(subparsers)
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:end])
    args.script_args = words[end + 1 :]
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(name)s: %(message)s")
    try:
        return args.run(args)
    except BlendTorchError as error:
        print(f"blendtorch: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
