"""How far an instance has come, in a file that outlives it: what its successor, after a restart, goes on from."""

import logging
import os
import struct
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from ..errors import ProtocolError

log = logging.getLogger(__name__)

_MAGIC = b"BTLEDGR1"
_RECORD = struct.Struct("<8s8Q")
_SIZE = 4096
_MOST_OWED = (_SIZE - _RECORD.size) // 8  # more are not told apart: all since the oldest one are made again


class Position(NamedTuple):
    """A place in the stream of one instance.

    Attributes:
        seq: How many samples come before it: the number of the sample at this place.
        index: The index that it belongs to, see `blendtorch.btb.sample_indices`.
        done: How many samples of that index come before it.
    """

    seq: int = 0
    index: int = 0  # type: ignore[assignment]  # a tuple's own `index` is not needed
    done: int = 0

    def after(self) -> "Position":
        """The next place, of the same index."""
        return Position(self.seq + 1, self.index, self.done + 1)


class Ledger:
    """The record of one channel.

    Args:
        path: Its file; None keeps no record.

    Raises:
        ProtocolError: The file is there and is no ledger.

    Attributes:
        made, owed, receivers: What a predecessor has noted last, see `note`.
        had: Numbers from that of `owed` to that of `made` that receivers have for certain.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: FileIO | None = None
        self.made = self.owed = Position()
        self.receivers = 0
        self.had: set[int] = set()
        if path is None:
            return
        record = b""
        try:
            self._file = FileIO(path, "r+" if path.exists() else "x+", opener=_private)
            record = self._file.read(_SIZE)
            if not record:  # so that there is room, however full the memory gets
                self._file.write(bytes(_SIZE))
        except OSError as error:
            self._give_up(error)
        if record and record != bytes(_SIZE):
            if len(record) != _SIZE or not record.startswith(_MAGIC):
                raise ProtocolError(f"{path} is no ledger of BlendTorch's. Remove it.")
            _, *words = _RECORD.unpack_from(record)
            self.made, self.owed = Position(*words[:3]), Position(*words[3:6])
            self.receivers, count = words[6:]
            if count <= _MOST_OWED:
                owed = struct.unpack_from(f"<{count}Q", record, _RECORD.size)
                self.had = set(range(self.owed.seq, self.made.seq)) - set(owed)

    def note(self, made: Position, unconfirmed: Sequence[Position], receivers: int) -> None:
        """Writes down how far the instance has come, at once and whole: the record is no longer than a page.

        Args:
            made: What it makes next.
            unconfirmed: The samples that no receiver has for certain.
            receivers: How many receivers have got samples by message.
        """
        if self._file is None:
            return
        count = len(unconfirmed)
        numbers = [position.seq for position in unconfirmed] if count <= _MOST_OWED else []
        head = _RECORD.pack(_MAGIC, *made, *min([made, *unconfirmed]), receivers, count)
        try:
            self._file.seek(0)
            self._file.write(head + struct.pack(f"<{len(numbers)}Q", *numbers))
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Closes the file; the record stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _give_up(self, error: OSError) -> None:
        log.warning("no record is kept of what was delivered, after a restart samples may come twice: %s", error)
        self.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
