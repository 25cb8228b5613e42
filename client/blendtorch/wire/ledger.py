"""How far an instance has come, in a file that outlives it: what its successor, after a restart, goes on from."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

from ..errors import ProtocolError

_MAGIC = b"BTLEDGR1"
_RECORD = struct.Struct("<8s7Q")


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
    """

    def __init__(self, path: Path | None) -> None:
        self._descriptor = -1 if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.made = self.owed = Position()
        self.receivers = 0
        record = b"" if path is None else os.pread(self._descriptor, _RECORD.size, 0)
        if record:
            if len(record) != _RECORD.size or not record.startswith(_MAGIC):
                raise ProtocolError(f"{path} is no ledger of BlendTorch's. Remove it.")
            _, *words = _RECORD.unpack(record)
            self.made, self.owed, self.receivers = Position(*words[:3]), Position(*words[3:6]), words[6]

    def note(self, made: Position, owed: Position, receivers: int) -> None:
        """Writes down how far the instance has come, at once and whole: the record is shorter than a page.

        Args:
            made: What it makes next.
            owed: The oldest sample that no receiver has for certain.
            receivers: How many receivers have got samples by message.
        """
        if self._descriptor >= 0:
            os.pwrite(self._descriptor, _RECORD.pack(_MAGIC, *made, *owed, receivers), 0)

    def close(self) -> None:
        """Closes the file; the record stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
