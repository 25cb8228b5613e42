"""The datasets of an HDF5 export: each holds one field of all samples, and is written sample by sample.

A value that does not fit makes a wider column of what there is: `Stacked` becomes `Ragged`, numbers and texts become JSON.
"""

import base64
import json
from typing import Any

import numpy as np

CHUNK_BYTES = 1 << 16
"""Samples or rows that are smaller share a chunk of so many bytes."""
COMPRESSED_FROM_BYTES = 1 << 12
"""Arrays smaller than that are not worth it."""
ROW_SPLITS = "row_splits"
_INT64 = np.iinfo(np.int64)
_TEXTS_PER_CHUNK = 1024


class Stacked:
    """Arrays of one shape and dtype: (N, *shape), a chunk for each, or for several small ones.

    Args:
        h5: The module h5py.
        group: Where in the file; an h5py group.
        path: Name of the dataset.
        count: N.
        first: An array as they all are, not empty.
        compression: "gzip", "lzf" or None.
    """

    layout = "stacked"

    def __init__(self, h5: Any, group: Any, path: str, count: int, first: np.ndarray, compression: str | None) -> None:
        per_chunk = max(1, min(count, CHUNK_BYTES // first.nbytes))
        if first.nbytes < COMPRESSED_FROM_BYTES:
            compression = None
        self.dataset = group.create_dataset(
            path,
            (count, *first.shape),
            first.dtype,
            maxshape=(count, *first.shape),
            chunks=(per_chunk, *first.shape),
            fillvalue=fill_value(first.dtype),
            **filters(compression),
        )
        self.dtype, self.shape = first.dtype, first.shape

    def fits(self, value: Any) -> bool:
        """Whether it can be added."""
        return _is_array(value) and value.dtype == self.dtype and value.shape == self.shape

    def add(self, place: int, value: Any) -> None:
        """Write the array of a sample."""
        self.dataset[place] = value

    def value(self, place: int) -> np.ndarray:
        """Read it back."""
        return np.asarray(self.dataset[place])

    def finish(self, count: int) -> None:
        """Cut it to the samples that there are."""
        self.dataset.resize(count, axis=0)


class Ragged:
    """Arrays of one dtype and number of axes, whose shapes differ: a group of three datasets.

    values: all their values, one array after the other, each in row-major order. row_splits, (N + 1,) int64: those of
    sample i are values[row_splits[i]:row_splits[i + 1]]. shapes, (N, axes) int64.
    """

    layout = "ragged"

    def __init__(self, h5: Any, group: Any, path: str, count: int, first: np.ndarray, compression: str | None) -> None:
        self.dataset = group.create_group(path)
        self._values = self.dataset.create_dataset(
            "values",
            (0,),
            first.dtype,
            maxshape=(None,),
            chunks=(max(1, CHUNK_BYTES // first.dtype.itemsize),),
            **filters(compression),
        )
        self._dtype = first.dtype
        self._ends = np.zeros(count, dtype=np.int64)
        self._shapes = np.zeros((count, first.ndim), dtype=np.int64)

    def fits(self, value: Any) -> bool:
        """Whether it can be added."""
        return _is_array(value) and value.dtype == self._dtype and value.ndim == self._shapes.shape[1]

    def add(self, place: int, value: Any) -> None:
        """Write the array of a sample; of samples in order."""
        start = len(self._values)
        self._values.resize(start + value.size, axis=0)
        self._values[start:] = value.reshape(-1)
        self._ends[place] = start + value.size
        self._shapes[place] = value.shape

    def value(self, place: int) -> np.ndarray:
        """Never asked for: nothing is wider than this."""
        raise NotImplementedError

    def finish(self, count: int) -> None:
        """Write where each sample's values are."""
        self.dataset[ROW_SPLITS] = row_splits(self._ends[:count])
        self.dataset["shapes"] = self._shapes[:count]


class Numbers:
    """Numbers: (N,) bool, int64 or float64, whichever holds them all. They are kept in memory until the end."""

    layout = "stacked"

    def __init__(self, h5: Any, group: Any, path: str, count: int, first: Any, compression: str | None) -> None:
        self._group, self._path = group, path
        self._numbers: dict[int, bool | int | float] = {}

    def fits(self, value: Any) -> bool:
        """Whether it can be added."""
        return is_number(value)

    def add(self, place: int, value: Any) -> None:
        """Take the number of a sample."""
        self._numbers[place] = value

    def value(self, place: int) -> bool | int | float:
        """Give it back."""
        return self._numbers[place]

    def finish(self, count: int) -> None:
        """Write them."""
        kinds = {type(number) for number in self._numbers.values()}
        dtype = np.dtype(np.float64 if float in kinds else np.int64 if int in kinds else np.bool_)
        array = np.full(count, fill_value(dtype), dtype=dtype)
        array[list(self._numbers)] = list(self._numbers.values())
        self.dataset = self._group.create_dataset(self._path, data=array)


class Texts:
    """Texts: (N,) strings of varying length, UTF-8."""

    layout = "text"

    def __init__(self, h5: Any, group: Any, path: str, count: int, first: Any, compression: str | None) -> None:
        self.dataset = group.create_dataset(
            path, (count,), h5.string_dtype(), maxshape=(count,), chunks=(max(1, min(count, _TEXTS_PER_CHUNK)),)
        )

    def fits(self, value: Any) -> bool:
        """Whether it can be added."""
        return is_text(value)

    def add(self, place: int, value: Any) -> None:
        """Write the text of a sample."""
        self.dataset[place] = value

    def value(self, place: int) -> Any:
        """Read it back."""
        return self.dataset.asstr()[place]

    def finish(self, count: int) -> None:
        """Cut it to the samples that there are."""
        self.dataset.resize(count, axis=0)


class Json(Texts):
    """Anything else: (N,) JSON texts. Arrays and tuples within are lists, bytes are base64, NaN and infinity are tokens."""

    layout = "json"

    def fits(self, value: Any) -> bool:
        """Whether it can be added."""
        return True

    def add(self, place: int, value: Any) -> None:
        """Write the value of a sample."""
        self.dataset[place] = as_json(value)


Column = Stacked | Ragged | Numbers | Texts | Json


def column_class(value: Any) -> type[Column]:
    """Which column a first value needs."""
    if _is_array(value):
        return Stacked if value.size else Ragged  # HDF5 has no chunks without elements
    return Numbers if is_number(value) else Texts if is_text(value) else Json


def wider_class(column: Column, value: Any) -> type[Column] | None:
    """Which column holds what a column holds, and this value, too; None if there is none."""
    if isinstance(column, Stacked):
        same_kind = _is_array(value) and value.dtype == column.dtype and value.ndim == len(column.shape) > 0
        return Ragged if same_kind else None
    return None if isinstance(column, Ragged) or _is_array(value) else Json


def row_splits(ends: np.ndarray) -> np.ndarray:
    """Where rows begin and end: 0, then the end of each sample; one that has none, 0 in `ends`, ends where it begins."""
    return np.concatenate([np.zeros(1, np.int64), np.maximum.accumulate(ends, dtype=np.int64)])


def fill_value(dtype: np.dtype) -> Any:
    """What stands where a sample has no value: NaN, or 0 or False where there is no NaN."""
    return dtype.type(np.nan if dtype.kind in "fc" else 0)


def filters(compression: str | None) -> dict[str, Any]:
    """Options of a compressed dataset. gzip at its lowest level is as small as the next ones within some percent."""
    if compression is None:
        return {}
    return {"compression": compression, "shuffle": True} | ({"compression_opts": 1} if compression == "gzip" else {})


def plain(value: Any) -> Any:
    """A numpy scalar as the number that it is; anything else as it is."""
    if isinstance(value, np.complexfloating):
        return np.asarray(value)
    return value.item() if isinstance(value, np.generic) else value


def is_number(value: Any) -> bool:
    """Whether it is a bool, a float, or an integer of 64 bits."""
    return type(value) in (bool, float) or (type(value) is int and _INT64.min <= value <= _INT64.max)


def is_text(value: Any) -> bool:
    """Whether it is a text that HDF5 holds, whose strings end at the first NUL."""
    if type(value) is not str or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def as_json(value: Any) -> str:
    """The value as JSON."""
    return json.dumps(value, default=_simpler)


def _simpler(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, complex):
        return [value.real, value.imag]
    return value.tolist()  # arrays and numpy's scalars


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
