"""The command-line arguments with which a Blender instance is told who it is: built and parsed in this one place."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ConfigError


@dataclass(frozen=True)
class LaunchArguments:
    """What the launcher tells an instance.

    Attributes:
        btid: Id of the instance, 0 .. num_instances - 1.
        num_instances: How many instances were launched together.
        seed: Seed of the whole launch, the same for all its instances. With the index of a sample it addresses the
            sample: see `blendtorch.btb.sample_rng`.
        btsockets: The addresses to bind, by socket name, for example `{"DATA": "tcp://127.0.0.1:11000"}`.
        control: Address of the launcher, to report to; None when the script was started by hand.
        epoch: How often this instance was restarted.
    """

    btid: int = 0
    num_instances: int = 1
    seed: int = 0
    btsockets: dict[str, str] = field(default_factory=dict)
    control: str | None = None
    epoch: int = 0

    @property
    def btseed(self) -> int:
        """A seed of this instance's own: `seed + btid`."""
        return self.seed + self.btid

    def to_argv(self) -> list[str]:
        """The arguments as `parse` reads them."""
        argv = ["-btid", str(self.btid), "-btcount", str(self.num_instances), "-btseed", str(self.seed)]
        argv += ["-btepoch", str(self.epoch)]
        if self.control is not None:
            argv += ["-btcontrol", self.control]
        for name, address in self.btsockets.items():
            argv += ["-btsocket", f"{name}={address}"]
        return argv

    @classmethod
    def parse(cls, argv: Sequence[str]) -> "tuple[LaunchArguments, list[str]]":
        """Reads the launch arguments out of `argv`.

        Args:
            argv: Arguments of the script, without the interpreter's and Blender's own (what follows `--`).

        Returns:
            The launch arguments, and what was not one of them, in order, for the script's own parser.

        Raises:
            ConfigError: An argument has the wrong form.
        """
        parser = _Parser(prog="blendtorch", allow_abbrev=False, add_help=False)
        parser.add_argument("-btid", type=int, default=0)
        parser.add_argument("-btcount", type=int, default=None)
        parser.add_argument("-btseed", type=int, default=0)
        parser.add_argument("-btepoch", type=int, default=0)
        parser.add_argument("-btcontrol", default=None)
        parser.add_argument("-btsocket", action="append", default=[])
        parser.add_argument("-btsockets", nargs="+", default=[])  # the predecessor's spelling, for scripts by hand
        args, remainder = parser.parse_known_args(list(argv))
        sockets = dict(_name_and_address(text) for text in [*args.btsocket, *args.btsockets])
        count = args.btid + 1 if args.btcount is None else args.btcount
        if not 0 <= args.btid < count:
            raise ConfigError(f"-btid is {args.btid}, expected 0 .. {count - 1} (-btcount is {count}).")
        if args.btseed < 0:
            raise ConfigError(f"-btseed is {args.btseed}, expected 0 or more.")
        return cls(args.btid, count, args.btseed, sockets, args.btcontrol, args.btepoch), remainder


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # argparse's own exits the process
        raise ConfigError(f"bad launch arguments: {message}. See docs/guide.md, 'Starting Blender by hand'.")


def _name_and_address(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=")
    if not (name and separator and address):
        raise ConfigError(f"-btsocket is {text!r}, expected NAME=ADDRESS such as DATA=tcp://127.0.0.1:11000.")
    return name, address
