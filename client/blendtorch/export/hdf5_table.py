"""`Table`: tables of varying length, such as the instances of labels, as the rows of all samples one after the other."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import LabelError
from .hdf5_columns import CHUNK_BYTES, ROW_SPLITS, as_json, fill_value, is_number, is_text, row_splits

_MOST_ROWS_PER_CHUNK = 4096
_TEXT_BYTES = 16  # that the place of a text takes


def is_table(value: Any) -> bool:
    """Whether it is a dict of columns, arrays or lists, of the same length."""
    if not isinstance(value, Mapping) or not value:
        return False
    columns = list(value.values())
    if not all(isinstance(column, list) or (isinstance(column, np.ndarray) and column.ndim) for column in columns):
        return False
    return len({len(column) for column in columns}) == 1


class Table:
    """Writes a table: a group with a dataset for each column, (R, ...), and row_splits.

    row_splits, (N + 1,) int64: the rows of sample i are row_splits[i] to row_splits[i + 1] of each column, as in
    TensorFlow's RaggedTensor or the indptr of a sparse matrix. Rows of a sample without some column hold NaN, 0 or "".

    Args:
        h5: The module h5py.
        group: Of the file, empty.
        count: N.
    """

    def __init__(self, h5: Any, group: Any, count: int) -> None:
        self._h5 = h5
        self._group = group
        self._ends = np.zeros(count, dtype=np.int64)
        self._rows = 0
        self._columns: dict[str, _Rows] = {}

    def add(self, place: int, table: Mapping[str, Any]) -> None:
        """Write the rows of a sample; of samples in order.

        Raises:
            LabelError: (a ValueError) A column is of another dtype or shape than before.
        """
        count = len(next(iter(table.values())))
        for name, value in table.items() if count else ():  # what has no rows may have lost its dtype: an empty list
            rows = _as_rows(value)
            if name == ROW_SPLITS:
                raise LabelError(f"column {name}: expected another name, for this one is taken")
            if name not in self._columns:
                self._columns[name] = _Rows(self._h5, self._group, name, rows)
            self._columns[name].add(name, self._rows, rows)
        self._rows += count
        self._ends[place] = self._rows

    def finish(self, count: int) -> dict[str, Any]:
        """Write what is left, and where the rows of each sample are; return the dataset of each column."""
        for column in self._columns.values():
            column.finish(self._rows)
        self._group[ROW_SPLITS] = row_splits(self._ends[:count])
        return {name: column.dataset for name, column in self._columns.items()}


class _Rows:
    """A column. Rows are written many at a time: a write takes as long as that of a picture."""

    def __init__(self, h5: Any, group: Any, name: str, first: np.ndarray) -> None:
        self._is_text = first.dtype == object
        row_bytes = _TEXT_BYTES if self._is_text else max(1, first.itemsize * int(np.prod(first.shape[1:])))
        self._rows_per_chunk = max(1, min(_MOST_ROWS_PER_CHUNK, CHUNK_BYTES // row_bytes))
        self.dataset = group.create_dataset(
            name,
            (0, *first.shape[1:]),
            h5.string_dtype() if self._is_text else first.dtype,
            maxshape=(None, *first.shape[1:]),
            chunks=(self._rows_per_chunk, *first.shape[1:]),
            **({} if self._is_text else {"fillvalue": fill_value(first.dtype)}),
        )
        self._dtype, self._tail = first.dtype, first.shape[1:]
        self._waiting: list[np.ndarray] = []
        self._start = self._end = 0

    def add(self, name: str, start: int, rows: np.ndarray) -> None:
        if rows.dtype != self._dtype or rows.shape[1:] != self._tail:
            raise LabelError(
                f"column {name}: expected rows of {self._dtype} of shape {self._tail}, as in the samples before, got "
                f"{rows.dtype} of shape {rows.shape[1:]}"
            )
        if start != self._end:
            self._write()
            self._start = self._end = start
        self._waiting.append(rows)
        self._end += len(rows)
        if self._end - self._start >= self._rows_per_chunk:
            self._write()

    def finish(self, count: int) -> None:
        self._write()
        self.dataset.resize(count, axis=0)

    def _write(self) -> None:
        if self._end > self._start:
            self.dataset.resize(self._end, axis=0)
            self.dataset[self._start : self._end] = np.concatenate(self._waiting)
        self._waiting = []
        self._start = self._end


def _as_rows(value: Any) -> np.ndarray:
    """A column as an array: (K, ...) numbers, or (K,) texts as objects; what is neither as texts of JSON."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and 0 not in value.shape[1:]:
        return value
    items = list(value)
    if items and all(is_number(item) for item in items):
        return np.array(items)
    texts = np.empty(len(items), dtype=object)
    texts[:] = items if all(is_text(item) for item in items) else [as_json(item) for item in items]
    return texts
