"""How to reach launched instances: what a client on the same or another machine connects with."""

import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import ConfigError, MissingFileError
from ..wire import NamedSockets
from ..wire.curve import CurveKeys

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LaunchInfo:
    """How to reach launched instances.

    Attributes:
        addresses: For each named socket, the addresses of all instances, in the order of their ids.
        commands: The command line of each instance.
        pids: The process id of each instance, on the machine that launched them.
        curve: The clients' keys, for `curve=` of all that connects; None where only this machine can connect.
    """

    addresses: dict[str, list[str]]
    commands: list[list[str]] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    curve: CurveKeys | None = None

    def save_json(self, file: str | os.PathLike) -> None:
        """Writes the info, whole or not at all, to a file that only this user can read (mode 0600)."""
        # mkstemp makes files of mode 0600.
        descriptor, name = tempfile.mkstemp(dir=Path(file).resolve().parent, prefix=".launch_info-")
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(asdict(self), stream, indent=2)
        os.replace(name, file)

    def __post_init__(self) -> None:
        object.__setattr__(self, "addresses", NamedSockets(self.addresses))

    @classmethod
    def load_json(cls, file: str | os.PathLike) -> "LaunchInfo":
        """Reads what `save_json` wrote. Warns when it holds keys, and other users can read it.

        Raises:
            MissingFileError: There is no such file.
            ConfigError: It is not a launch info.
        """
        try:
            values = json.loads(Path(file).read_text(encoding="utf-8"))
            if isinstance(values, dict) and values.get("curve") is not None:
                values["curve"] = CurveKeys(**values["curve"])
            info = cls(**values)
        except FileNotFoundError:
            raise MissingFileError(
                f"there is no launch info {file}. `blendtorch launch ... --out {file}` writes one; is it running?"
            ) from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{file} is not a launch info written by BlendTorch ({error}).") from None
        shapes = {
            "addresses": isinstance(info.addresses, dict) and all(map(_are_texts, info.addresses.values())),
            "commands": isinstance(info.commands, list) and all(map(_are_texts, info.commands)),
            "pids": isinstance(info.pids, list) and all(type(pid) is int for pid in info.pids),
        }
        if wrong := [name for name, good in shapes.items() if not good]:
            raise ConfigError(
                f"{file} is not a launch info written by BlendTorch: {', '.join(wrong)} is of another form."
            )
        if info.curve is not None and os.name == "posix" and os.stat(file).st_mode & 0o077:
            log.warning("%s holds the keys of a launch, and other users may read it: chmod 600 %s", file, file)
        return info


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
