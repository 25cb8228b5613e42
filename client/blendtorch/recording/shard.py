"""Reads samples of one shard."""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RecordingError
from . import typed_json
from .file_io import OpenFiles, read_at, read_into
from .images import decode
from .npy import ArrayKind
from .shard_index import JSON, ShardIndex, index_of


class Shard:
    """One shard of a recording, open when it is read.

    Args:
        path: The file.
        files: Where it is open.

    Raises:
        RecordingError: It does not begin as a shard of a recording.
        OSError: It cannot be read.

    Attributes:
        path: The same.
        index: Where everything is in it.
        columns: For each field the column of the index it is in.
    """

    def __init__(self, path: Path, files: OpenFiles) -> None:
        self.path = path
        self._files = files
        self.index: ShardIndex = index_of(path)
        self.columns = {name: i for i, name in enumerate(self.index.members)}
        # Fields by name: (column, encoding)
        self.fields = {
            member.rpartition(".")[0]: (i, member.rpartition(".")[2])
            for member, i in self.columns.items()
            if member != JSON
        }

    def kind(self, row: int, column: int) -> ArrayKind | None:
        """What the .npy member in this column holds; None where there is none."""
        number = self.index.kinds[row, column]
        return None if number < 0 else self.index.kind_table[number]

    def rest(self, row: int) -> dict[str, Any]:
        """What is not stored as arrays.

        Raises:
            RecordingError: It is damaged, or the file was changed since it was opened.
        """
        try:
            return typed_json.loads(self._read(row, self.columns[JSON]))
        except RecordingError as error:
            raise RecordingError(f"{self._name(row)}.json {error}") from None

    def view(self, row: int, name: str) -> np.ndarray | None:
        """A field's array: where it lies in the file, read-only, or decoded; None where the sample has none."""
        column, encoding = self.fields[name]
        offset = int(self.index.offsets[row, column])
        if offset < 0:
            return None
        kind = self.kind(row, column)
        if kind is None:
            return self._decoded(row, name, column, encoding)
        memory = self._files.memory(self.path)
        if offset + kind.header_bytes + kind.nbytes > len(memory):
            raise RecordingError(
                f"{self._name(row)} is beyond the end of the file: was it changed since it was opened?"
            )
        array: np.ndarray = np.ndarray(kind.shape, kind.numpy_dtype, memory, offset + kind.header_bytes)
        return array

    def read_into(self, row: int, column: int, out: np.ndarray) -> None:
        """Reads the elements of a .npy member into C-contiguous memory of their size.

        Raises:
            RecordingError: The file was changed since it was opened.
        """
        kind = self.kind(row, column)
        assert kind is not None
        offset = int(self.index.offsets[row, column]) + kind.header_bytes
        flat = out.reshape(-1).view(np.uint8).data if out.size else memoryview(b"")
        file = self._files.file(self.path)
        if not read_into(file.fileno(), flat, offset):
            raise RecordingError(f"{self._name(row)} is beyond the end of the file: was it changed?")

    def _decoded(self, row: int, name: str, column: int, encoding: str) -> np.ndarray:
        try:
            return decode(self._read(row, column), encoding)
        except RecordingError as error:
            raise RecordingError(f"{self._name(row)}.{name}.{encoding} {error}") from None

    def _read(self, row: int, column: int) -> bytes:
        size = int(self.index.sizes[row, column])
        file = self._files.file(self.path)
        data = read_at(file.fileno(), size, int(self.index.offsets[row, column]))
        if len(data) < size:
            raise RecordingError("is beyond the end of the file: was it changed since it was opened?")
        return data

    def _name(self, row: int) -> str:
        return f"{self.path}: {self.index.keys[row].decode()}"
