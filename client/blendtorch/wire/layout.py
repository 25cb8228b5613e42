"""Which fields of a sample have a fixed place in shared memory, and where.

A channel's samples are mostly alike: an image of one shape, some numbers. The fields of the first sample that have a fixed
size become the layout; a later sample's field that does not fit into its place travels with the rest of the sample.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ..errors import ProtocolError
from .body import DTYPES, MAX_NDIM
from .recycled_memory import RecycledMemory

MAX_FIELDS = 63  # one bit each of a 64-bit word says whether a sample has it
MAX_LAYOUT_BYTES = 60_000
ALIGNMENT = 4096  # of each field's array: pages can be pinned for a GPU, and rows of a batch are aligned

# Python's numbers come back as what they were, not as numpy's.
_PYTHON = {bool: "bool", int: "int64", float: "float64"}
_INT64 = range(-(2**63), 2**63)
_MAX_ELEMENTS = 1 << 42  # of up to 16 bytes, in up to 2^16 slots: less than 2^63 bytes


@dataclass(frozen=True)
class Field:
    """One field with a fixed place.

    Attributes:
        name: The name it is published under.
        dtype: Name of the dtype of its elements, one of `body.DTYPES`.
        shape: Its shape; of a number ().
        kind: "array", "scalar" (numpy's) or "python" (bool, int, float).
        bit: The bit that says whether a sample has it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str
    bit: int = 1

    @cached_property
    def numpy_dtype(self) -> np.dtype:
        """The dtype, native where this machine is little-endian."""
        return DTYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of one sample's value."""
        return prod(self.shape) * self.numpy_dtype.itemsize

    def takes(self, value: Any) -> bool:
        """Whether a value fits into this place, and would come back as it was."""
        kind = type(value)
        if self.kind == "array":
            return kind is np.ndarray and value.dtype == self.numpy_dtype and value.shape == self.shape
        if self.kind == "scalar":
            return isinstance(value, np.generic) and value.dtype == self.numpy_dtype and value.dtype.type is kind
        return _PYTHON.get(kind) == self.dtype and (kind is not int or value in _INT64)

    def write(self, place: np.ndarray, value: Any) -> None:
        """Writes a value that `takes` has accepted; `place` is an array of the field's shape."""
        if self.dtype == "bool" and self.kind == "array":
            np.not_equal(value.view(np.uint8), 0, out=place)  # a mask of 0 and 255 seen as bool: numpy lets it be
        else:
            place[...] = value

    def read(self, place: np.ndarray, memory: RecycledMemory | None = None) -> Any:
        """The value, as it was written; an array is a copy, in some of `memory` where that is given."""
        if self.kind == "python":
            return place.item()
        if self.kind == "scalar":
            return place[()]
        if memory is None:
            copied = np.empty(self.shape, self.numpy_dtype)
        else:
            copied = memory.take(self.name, self.nbytes).view(self.numpy_dtype).reshape(self.shape)
        self.write(copied, place)
        return copied


@dataclass(frozen=True)
class Layout:
    """The fields with a fixed place, and how much room each sample has for what is left of it.

    Attributes:
        fields: The fields, by name.
        rest_bytes: The room, in bytes.
    """

    fields: dict[str, Field]
    rest_bytes: int

    @classmethod
    def of(cls, sample: Mapping[str, Any], rest_bytes: int) -> "Layout":
        """The layout for samples like this one."""
        fields: dict[str, Field] = {}
        size = 0
        for name, value in sample.items():
            field = _field(name, value)
            if field is None or len(fields) == MAX_FIELDS:
                continue
            size += len(json.dumps(asdict(field))) + 2
            if size > MAX_LAYOUT_BYTES - 100:
                break
            fields[name] = replace(field, bit=1 << len(fields))
        return cls(fields, rest_bytes)

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return self.rest_bytes + sum(field.nbytes for field in self.fields.values())

    def to_json(self) -> bytes:
        """The layout as `from_json` reads it."""
        fields = [[f.name, f.dtype, list(f.shape), f.kind] for f in self.fields.values()]
        return json.dumps({"fields": fields, "rest_bytes": self.rest_bytes}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Layout":
        """Reads what another process wrote.

        Raises:
            ProtocolError: It is not a layout.
        """
        try:
            found = json.loads(text)
            rows = enumerate(found["fields"])
            fields = [Field(name, dtype, tuple(shape), kind, 1 << i) for i, (name, dtype, shape, kind) in rows]
            layout = cls({field.name: field for field in fields}, found["rest_bytes"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ProtocolError(f"the layout of a shared-memory ring cannot be read: {error!r}.") from None
        good = len(layout.fields) == len(fields) <= MAX_FIELDS and _is_size(layout.rest_bytes)
        if not (good and all(map(_is_sound, fields))):
            raise ProtocolError(f"the layout of a shared-memory ring is impossible: {text[:200]!r}.")
        return layout


def _field(name: str, value: Any) -> Field | None:
    kind = type(value)
    if kind in _PYTHON:
        found = Field(name, _PYTHON[kind], (), "python")
    elif kind is np.ndarray and value.dtype.name in DTYPES:
        found = Field(name, value.dtype.name, value.shape, "array")
    elif isinstance(value, np.generic) and value.dtype.name in DTYPES:
        found = Field(name, value.dtype.name, (), "scalar")
    else:
        return None
    return found if found.takes(value) and _is_sound(found) else None


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _is_sound(field: Field) -> bool:
    return (
        type(field.name) is str
        and field.kind in ("array", "scalar", "python")
        and type(field.dtype) is str
        and field.dtype in DTYPES
        and (field.kind != "python" or field.dtype in _PYTHON.values())
        and (field.kind == "array" or field.shape == ())
        and len(field.shape) < MAX_NDIM  # the slots are one more
        and all(map(_is_size, field.shape))
        # numpy counts the bytes as if no dimension were 0
        and prod(max(size, 1) for size in field.shape) < _MAX_ELEMENTS
    )
