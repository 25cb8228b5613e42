"""The body of a message: values to JSON nodes and buffers, and back. `docs/protocol.md` is the specification.

A node is plain JSON wherever JSON can say a value exactly; everything else is an object with the key "$".
"""

import math
import pickle
import re
from typing import Any

import numpy as np

from ..errors import EncodeError, PickleNotAllowedError, ProtocolError

Buffer = bytes | memoryview

MAX_DEPTH = 64  # of nested containers
MAX_NDIM = 32  # what numpy 1 and 2 both take
MAX_JSON_INT = 1 << 53  # integers up to here are exact in every JSON reader
MAX_DICT_ITEMS = 4096  # of a tagged dict: its keys can be made to collide, which takes time in their number squared
MAX_INT_DIGITS = 4096  # hexadecimal; longer integers are refused

_TAG = "$"
_HEX_INT = re.compile(rf"-?[0-9a-f]{{1,{MAX_INT_DIGITS}}}")
_NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

# The dtypes of the protocol, each by its numpy name: the same on every platform, stored little-endian.
_DTYPE_NAMES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in _DTYPE_NAMES}


class _Path:
    """Where in the body the codec is, for error messages, which do not grow with their input."""

    def __init__(self) -> None:
        self._keys: list[Any] = []

    def push(self, key: Any) -> None:
        if len(self._keys) >= MAX_DEPTH:
            raise RecursionError
        self._keys.append(key)

    def pop(self) -> None:
        self._keys.pop()

    def __str__(self) -> str:
        return "body" + "".join(f"[{self._short(key)}]" for key in self._keys)

    @staticmethod
    def _short(key: Any) -> str:
        if type(key) is str:
            return repr(key[:40])
        if isinstance(key, bool | float | None) or (type(key) is int and abs(key) <= MAX_JSON_INT):
            return repr(key)
        return f"a key of type {type(key).__name__}"  # may be a gigabyte of bytes, or too long for `int.__repr__`


class BodyWriter:
    """Collects the buffers of one message while its body becomes a tree of JSON nodes."""

    def __init__(self, allow_pickle: bool) -> None:
        self.buffers: list[Buffer] = []
        self._allow_pickle = allow_pickle
        self._path = _Path()

    def whole(self, body: Any) -> Any:
        try:
            return self._node(body)
        except RecursionError:
            raise EncodeError(f"{self._path} is nested deeper than {MAX_DEPTH} levels, or contains itself.") from None

    def _node(self, value: Any) -> Any:
        # Exact types only: a subclass (an IntEnum, a namedtuple, a masked array) would come back as its base.
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return self._int(value)
        if kind is float:
            return value if math.isfinite(value) else {_TAG: "float", "value": str(value)}
        if kind is bytes:
            return {_TAG: "bytes", "buffer": self._add(value)}
        if kind is list:
            return self._items(value)
        if kind is tuple:
            return {_TAG: "tuple", "items": self._items(value)}
        if kind is dict:
            return self._dict(value)
        if kind is np.ndarray and value.dtype.name in DTYPES:
            return self._array(value)
        if isinstance(value, np.generic) and value.dtype.type is kind and value.dtype.name in DTYPES:
            little = value.astype(DTYPES[value.dtype.name])
            return {_TAG: "scalar", "dtype": value.dtype.name, "hex": little.tobytes().hex()}
        return self._pickle(value)

    def _at(self, key: Any, value: Any) -> Any:
        self._path.push(key)
        node = self._node(value)
        self._path.pop()
        return node

    def _items(self, values: list | tuple) -> list:
        return [self._at(i, value) for i, value in enumerate(values)]

    def _int(self, value: int) -> Any:
        if abs(value) <= MAX_JSON_INT:
            return value
        digits = f"{value:x}"
        if len(digits.lstrip("-")) > MAX_INT_DIGITS:
            raise EncodeError(f"{self._path} is an integer of more than {MAX_INT_DIGITS} hexadecimal digits.")
        return {_TAG: "int", "hex": digits}

    def _dict(self, value: dict) -> Any:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: self._at(key, item) for key, item in value.items()}
        if len(value) > MAX_DICT_ITEMS:
            raise EncodeError(
                f"{self._path} is a dict of {len(value)} items with keys other than texts, the protocol allows "
                f"{MAX_DICT_ITEMS}. Send keys and values as two arrays or lists."
            )
        return {_TAG: "dict", "items": [[self._at("a key", key), self._at(key, item)] for key, item in value.items()]}

    def _array(self, value: np.ndarray) -> Any:
        if value.ndim > MAX_NDIM:
            raise EncodeError(f"{self._path} has {value.ndim} dimensions, the protocol allows {MAX_NDIM}.")
        name = value.dtype.name
        data = np.require(value, DTYPES[name], "C")
        if name == "bool" and data.size and data.view(np.uint8).max() > 1:
            data = data.view(np.uint8) != 0  # such as a mask of 0 and 255 seen as bool: numpy lets it be
        if data is not value and data.flags.owndata:
            data.flags.writeable = False  # nobody else has this copy, so the socket need not make another
        flat = data.reshape(-1).data.cast("B") if data.size else b""
        return {_TAG: "array", "dtype": name, "shape": list(value.shape), "buffer": self._add(flat)}

    def _pickle(self, value: Any) -> Any:
        if not self._allow_pickle:
            what = f"{type(value).__module__}.{type(value).__qualname__}"
            if isinstance(value, np.ndarray | np.generic):
                what += f" of dtype {value.dtype}"
            raise PickleNotAllowedError(
                f"{self._path} is a {what}, which the protocol has no type for. Convert it (a numpy array, a list, "
                "a dict, tuple(vector), ...), or pass allow_pickle=True at BOTH ends of the channel. "
                "Unpickling can execute code: only between peers that trust each other."
            )
        try:
            return {_TAG: "pickle", "buffer": self._add(pickle.dumps(value, protocol=5))}
        except Exception as error:
            raise EncodeError(f"{self._path} cannot be pickled: {error}") from error

    def _add(self, data: Buffer) -> int:
        self.buffers.append(data)
        return len(self.buffers) - 1


class BodyReader:
    """Turns the nodes of one message into values; the buffers must be used once each, in order."""

    def __init__(self, buffers: list[memoryview], allow_pickle: bool) -> None:
        self._buffers = buffers
        self._used = 0
        self._allow_pickle = allow_pickle
        self._path = _Path()
        self._readers = {
            "int": self._int,
            "float": self._float,
            "bytes": self._bytes,
            "tuple": self._tuple,
            "dict": self._dict,
            "array": self._array,
            "scalar": self._scalar,
            "pickle": self._pickle,
        }

    def whole(self, body: Any) -> Any:
        try:
            value = self._node(body)
        except RecursionError:
            raise ProtocolError(f"{self._path} is nested deeper than {MAX_DEPTH} levels.") from None
        if self._used != len(self._buffers):
            raise ProtocolError(f"the body names {self._used} buffers, {len(self._buffers)} came.")
        return value

    def _node(self, node: Any) -> Any:
        if isinstance(node, list):
            return self._items(node)
        if not isinstance(node, dict):
            return node
        if _TAG not in node:
            return {key: self._at(key, item) for key, item in node.items()}
        tag = node[_TAG]
        if not isinstance(tag, str) or tag not in self._readers:
            raise self._error(f"has the unknown type {str(tag)[:32]!r}")
        return self._readers[tag](node)

    def _at(self, key: Any, node: Any) -> Any:
        self._path.push(key)
        value = self._node(node)
        self._path.pop()
        return value

    def _items(self, nodes: list) -> list:
        return [self._at(i, node) for i, node in enumerate(nodes)]

    def _int(self, node: dict) -> int:
        digits = self._get(node, "hex", str)
        if not _HEX_INT.fullmatch(digits):
            raise self._error(f"is not an integer of 1 .. {MAX_INT_DIGITS} lower-case hexadecimal digits")
        return int(digits, 16)

    def _float(self, node: dict) -> float:
        value = self._get(node, "value", str)
        if value not in _NONFINITE:
            raise self._error('is a tagged float other than "nan", "inf" and "-inf"')
        return _NONFINITE[value]

    def _bytes(self, node: dict) -> bytes:
        return bytes(self._take(node))

    def _tuple(self, node: dict) -> tuple:
        return tuple(self._items(self._get(node, "items", list)))

    def _dict(self, node: dict) -> dict:
        value = {}
        items = self._get(node, "items", list)
        if len(items) > MAX_DICT_ITEMS:
            raise self._error(f"is a tagged dict of {len(items)} items, the protocol allows {MAX_DICT_ITEMS}")
        for item in items:
            if not isinstance(item, list) or len(item) != 2:
                raise self._error("is a dict with an item that is not a [key, value] pair")
            key = self._at("a key", item[0])
            try:
                hash(key)
            except TypeError:
                raise self._error("has a key that cannot be a key of a dict") from None
            value[key] = self._at(key, item[1])
        return value

    def _array(self, node: dict) -> np.ndarray:
        dtype = self._dtype(node)
        shape = self._get(node, "shape", list)
        if len(shape) > MAX_NDIM or not all(type(n) is int and 0 <= n <= MAX_JSON_INT for n in shape):
            raise self._error(f"has the impossible shape {str(shape)[:100]}")
        data = self._take(node)
        if math.prod(shape) * dtype.itemsize != data.nbytes:
            raise self._error(f"is {dtype.name} of shape {str(shape)[:100]}, but its buffer has {data.nbytes} bytes")
        if dtype.name == "bool" and data.nbytes and np.frombuffer(data, np.uint8).max() > 1:
            raise self._error("is an array of bool with values other than 0 and 1")
        try:
            array: np.ndarray = np.ndarray(shape, dtype, data)
        except ValueError as error:  # no elements, yet a dimension too large for numpy
            raise self._error(f"has the impossible shape {str(shape)[:100]}: {error}") from None
        # Short ZeroMQ messages lie anywhere; torch and compiled code want aligned arrays.
        return array if array.flags.aligned else array.copy()

    def _scalar(self, node: dict) -> np.generic:
        dtype = self._dtype(node)
        try:
            raw = bytes.fromhex(self._get(node, "hex", str))
        except ValueError:
            raw = b""
        if len(raw) != dtype.itemsize or (dtype.name == "bool" and raw[0] > 1):
            raise self._error(f"is not a scalar of {dtype.name} in hexadecimal")
        return np.frombuffer(raw, dtype)[0]

    def _pickle(self, node: dict) -> Any:
        if not self._allow_pickle:
            raise PickleNotAllowedError(
                f"{self._path} was sent as a pickle, which this end does not load. Pass allow_pickle=True here too "
                "if you trust the sender: unpickling can execute code."
            )
        try:
            return pickle.loads(self._take(node))
        except Exception as error:
            raise self._error(f"cannot be unpickled: {error}") from error

    def _take(self, node: dict) -> memoryview:
        index = self._get(node, "buffer", int)
        if index != self._used or index >= len(self._buffers):
            raise self._error(f"names buffer {str(index)[:32]}, expected {self._used} next of {len(self._buffers)}")
        self._used += 1
        return self._buffers[index]

    def _get(self, node: dict, key: str, kind: type) -> Any:
        value = node.get(key)
        if type(value) is not kind:
            raise self._error(f'lacks "{key}" of type {kind.__name__}')
        return value

    def _dtype(self, node: dict) -> np.dtype:
        name = self._get(node, "dtype", str)
        if name not in DTYPES:
            raise self._error(f"has the unknown dtype {name[:32]!r}")
        return DTYPES[name]

    def _error(self, what: str) -> ProtocolError:
        return ProtocolError(f"{self._path} {what}.")
