"""The command-line arguments with which a Blender instance is told who it is: built and parsed in this one place."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError, UnknownSocketError

DEFAULT_SHM_BYTES = 256 << 20
# The named socket of an environment, and what tells its script the keyword arguments of the environment's class, as JSON.
ENV_SOCKET = "ENV"
ENV_OPTIONS = "--env-options"
# Tells a scene that runs without a script to take the seed that it was set up with, instead of the launch's.
SEED_OF_THE_FILE = "--seed-of-file"

_OPTIONS = (
    *("-btid", "-btcount", "-btseed", "-btepoch", "-btcontrol", "-btparent"),
    *("-btfolder", "-btshm", "-btsocket"),
)


class NamedSockets(dict[str, Any]):
    """What belongs to each named socket; asking for a name that is not there tells which are."""

    def __missing__(self, name: str) -> Any:
        raise UnknownSocketError(
            f"there is no socket named {name!r}, only {sorted(self)}. Name it in named_sockets of the launcher, or by hand "
            f"with -btsockets {name}=tcp://127.0.0.1:11000."
        )


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
        parent: Process id of the launcher; None when the script was started by hand.
        folder: Where the instances of the launch put what they share with receivers and with their own successors, in
            memory where the system has that; goes with the launcher. None when the script was started by hand.
        shm_bytes: How much shared memory each sample channel may use, in bytes; 0 for none.
    """

    btid: int = 0
    num_instances: int = 1
    seed: int = 0
    btsockets: dict[str, str] = field(default_factory=NamedSockets)
    control: str | None = None
    epoch: int = 0
    parent: int | None = None
    folder: str | None = None
    shm_bytes: int = DEFAULT_SHM_BYTES

    @property
    def btseed(self) -> int:
        """A seed of this instance's own: `seed + btid`."""
        return self.seed + self.btid

    def to_argv(self) -> list[str]:
        """The arguments as `parse` reads them."""
        argv = ["-btid", str(self.btid), "-btcount", str(self.num_instances), "-btseed", str(self.seed)]
        argv += ["-btepoch", str(self.epoch), "-btshm", str(self.shm_bytes)]
        if self.control is not None:
            argv += ["-btcontrol", self.control]
        if self.parent is not None:
            argv += ["-btparent", str(self.parent)]
        if self.folder is not None:
            argv += ["-btfolder", self.folder]
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
        values: dict[str, str] = {}
        sockets = NamedSockets()
        remainder: list[str] = []
        words = deque(argv)
        # Not argparse: it takes a script's own "-b" for an abbreviation of "-btid".
        while words:
            word = words.popleft()
            option, equals, value = word.partition("=")
            if word == "--":
                remainder += [word, *words]
                break
            if word == "-btsockets":  # the predecessor's spelling, for scripts by hand
                sockets.update(_take_sockets(words))
            elif option not in _OPTIONS:
                remainder.append(word)
            elif not equals and not words:
                raise _bad(f"{option} lacks its value")
            elif option == "-btsocket":
                sockets.update([_name_and_address(value if equals else words.popleft())])
            else:
                values[option] = value if equals else words.popleft()
        btid, seed, epoch = (_count(values, option, 0) for option in ("-btid", "-btseed", "-btepoch"))
        count = _count(values, "-btcount", btid + 1)
        if btid >= count:
            raise _bad(f"-btid is {btid}, expected 0 .. {count - 1} (-btcount is {count})")
        parent = _count(values, "-btparent", 0) or None
        shm_bytes = _count(values, "-btshm", DEFAULT_SHM_BYTES)
        control, folder = values.get("-btcontrol"), values.get("-btfolder")
        return cls(btid, count, seed, sockets, control, epoch, parent, folder, shm_bytes), remainder


def _bad(what: str) -> ConfigError:
    return ConfigError(f"bad launch arguments: {what}. See docs/guide.md, 'Starting Blender by hand'.")


def _count(values: dict[str, str], option: str, default: int) -> int:
    text = values.get(option, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 1000):
        raise _bad(f"{option} is {text!r}, expected an integer, 0 or more")
    return int(text)


def _take_sockets(words: deque[str]) -> list[tuple[str, str]]:
    found = []
    while words and "://" in words[0].partition("=")[2]:
        found.append(_name_and_address(words.popleft()))
    if not found:
        raise _bad("-btsockets is not followed by NAME=ADDRESS such as DATA=tcp://127.0.0.1:11000")
    return found


def _name_and_address(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=")
    if not (name and separator and address):
        raise _bad(f"-btsocket is {text!r}, expected NAME=ADDRESS such as DATA=tcp://127.0.0.1:11000")
    return name, address
