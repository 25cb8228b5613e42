"""`SplitFile`: the samples of one split as an HDF5 file."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import __version__
from ..errors import ConfigError, LabelError
from .hdf5_attributes import CONVENTIONS, describe
from .hdf5_columns import Column, column_class, plain, wider_class
from .hdf5_table import Table, is_table

FORMAT, VERSION = "blendtorch hdf5", 1
LABELS = "labels"
_KEY, _PRESENT, _BEFORE = "key", "present", "__before__"


class SplitFile:
    """Writes samples one after the other. Of pictures none but the one at hand is in memory.

    Args:
        h5: The module h5py.
        path: The file, which is not there.
        count: How many samples it has at most.
        metadata: Of the recording.
        compression: Of arrays: "gzip", "lzf" or None.

    Attributes:
        count: How many samples were written.
        lacking: Paths of what some of the samples do not have; known when it is finished.
        ragged: Paths of arrays whose shapes differ; likewise.
    """

    def __init__(
        self, h5: ModuleType, path: Path, count: int, metadata: Mapping[str, Any], compression: str | None
    ) -> None:
        self.count = 0
        self.lacking: list[str] = []
        self.ragged: list[str] = []
        self._h5: Any = h5
        self._most = count
        self._compression = compression
        self._keys: list[str] = []
        self._fields: dict[str, _Field] = {}
        self._tables: dict[str, Table] = {}
        self._present: dict[str, np.ndarray] = {}
        self._file = self._h5.File(path, "w")
        attributes = {
            "format": FORMAT,
            "format_version": VERSION,
            "blendtorch": __version__,
            "conventions": CONVENTIONS,
        }
        for name, value in attributes.items():
            self._file.attrs[name] = value
        self._file.attrs["metadata"] = json.dumps(dict(metadata))

    def add(self, key: str, sample: Mapping[str, Any]) -> None:
        """Write a sample.

        Raises:
            ConfigError: (a ValueError) A value is of another kind than in the samples before, and HDF5 has no dataset for
                both; or a field has a name that is taken.
        """
        try:
            for name, value in sample.items():
                if name in (_KEY, _PRESENT, _BEFORE):
                    raise LabelError(f"field {name}: expected another name, for this one is taken")
                if name == LABELS and isinstance(value, Mapping):
                    self._add_labels(value)
                else:
                    self._add(_safe(name), value)
        except LabelError as error:
            raise ConfigError(
                f"sample {key}: {error}. Record it as the others, or export without it: fields=[...] names what is wanted"
            ) from None
        self._keys.append(key)
        self.count += 1

    def finish(self) -> None:
        """Write what is known at the end alone."""
        there: set[str] = set()
        for path, field in self._fields.items():
            field.column.finish(self.count)
            describe(field.column.dataset, path, field.column.layout)
            there.add(path)
            if field.column.layout == "ragged":
                self.ragged.append(path)
        for path, table in self._tables.items():
            self._file[path].attrs["layout"] = "table"
            for name, dataset in table.finish(self.count).items():
                describe(dataset, f"{path}/{name}", "rows")
                there.add(f"{path}/{name}")
        for path, present in self._present.items():
            if path in there and not present[: self.count].all():
                self._file[f"{_PRESENT}/{path}"] = present[: self.count]
                self.lacking.append(path)
        keys = self._file.create_dataset(_KEY, data=self._keys, dtype=self._h5.string_dtype())
        describe(keys, _KEY, "text")

    def close(self) -> None:
        """Close the file. Without `finish` it is not readable as documented."""
        self._file.close()

    def _add_labels(self, labels: Mapping[str, Any]) -> None:
        for part, value in labels.items():
            path = f"{LABELS}/{_safe(part)}"
            if part == "camera" and isinstance(value, Mapping):
                for name, entry in value.items():
                    self._add(f"{path}/{_safe(name)}", np.array(entry, np.int64) if name == "shape" else entry)
            elif path in self._tables or (path not in self._fields and is_table(value)):
                self._add_table(path, value)
            else:
                self._add(path, value)

    def _add_table(self, path: str, table: Any) -> None:
        if not is_table(table):
            raise LabelError(f"{path}: expected a table, columns of the same length, as in the samples before")
        if path not in self._tables:
            self._tables[path] = Table(self._h5, self._file.create_group(path), self._most)
        try:
            self._tables[path].add(self.count, {_safe(name): column for name, column in table.items()})
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from None
        for name in table:
            self._mark(f"{path}/{_safe(name)}")

    def _add(self, path: str, value: Any) -> None:
        value = plain(value)
        if value is None:
            return
        if path not in self._fields:
            if path in self._file:
                raise LabelError(f"{path}: expected a dict of labels, as in the samples before, got {_kind(value)}")
            self._fields[path] = _Field(self._h5, self._file, path, self._most, self._compression)
        field = self._fields[path]
        field.add(self.count, value, np.flatnonzero(self._present[path]) if path in self._present else ())
        self._mark(path)

    def _mark(self, path: str) -> None:
        if path not in self._present:
            self._present[path] = np.zeros(self._most, dtype=bool)
        self._present[path][self.count] = True


class _Field:
    """A path of the file, and the column that holds what the samples have there."""

    def __init__(self, h5: Any, file: Any, path: str, count: int, compression: str | None) -> None:
        self._made_of = (h5, file, path, count)
        self._compression = compression
        self._column: Column | None = None

    @property
    def column(self) -> Column:
        assert self._column is not None, "a field is made for its first value"
        return self._column

    def add(self, place: int, value: Any, earlier: Any) -> None:
        """Write a value; into a wider column with all `earlier` places, if it does not fit."""
        if self._column is None:
            self._column = self._new(column_class(value), value)
        elif not self._column.fits(value):
            self._widen(value, earlier)
        self._column.add(place, value)

    def _widen(self, value: Any, earlier: Any) -> None:
        narrow = self.column
        _, file, path, _ = self._made_of
        before = narrow.value(int(earlier[0])) if narrow.layout != "ragged" else None
        wide = wider_class(narrow, value)
        if wide is None:
            expected = "an array of another dtype or number of axes" if before is None else _kind(before)
            raise LabelError(f"{path}: expected {expected}, as in the samples before, got {_kind(value)}")
        if path in file:
            file.move(path, _BEFORE)
        self._column = self._new(wide, before)
        for place in earlier:
            self._column.add(int(place), narrow.value(int(place)))
        if _BEFORE in file:
            del file[_BEFORE]

    def _new(self, kind: type[Column], value: Any) -> Column:
        return kind(*self._made_of, value, self._compression)


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _safe(name: str) -> str:
    """A name as HDF5 takes it: "/" would be a path, and "." where one is."""
    return "%2E" if name == "." else name.replace("/", "%2F").replace("\0", "%00") or "%"
