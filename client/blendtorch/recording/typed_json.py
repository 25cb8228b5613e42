"""A sample's fields other than arrays as plain JSON that any reader understands, with notes of what JSON cannot say.

Arrays within dicts, such as the columns of labels, become lists of lists. What a value was is noted beside them, in the
object "__types__", by its JSON pointer (RFC 6901): "array float32 3x4", "scalar uint8", "tuple", "bytes" (base64), "dict"
(one with keys other than texts: a list of pairs). Complex numbers are pairs. NaN and infinity are the tokens NaN, Infinity
and -Infinity, as Python's json writes them.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import EncodeError, RecordingError
from ..wire.body import DTYPES, MAX_DEPTH, MAX_DICT_ITEMS, MAX_NDIM

TYPES = "__types__"
_ARRAY = re.compile(rf"array ([a-z0-9]+) ((?:\d{{1,18}}(?:x\d{{1,18}}){{0,{MAX_NDIM - 1}}})?)")
_PLAIN = (bool, float, str)
_MAX_INT = 10**4000  # Python reads no longer ones from text (sys.int_info.default_max_str_digits)


def dumps(fields: Mapping[str, Any]) -> bytes:
    """The fields as JSON.

    Raises:
        EncodeError: A value is of a type that a recording cannot hold; names it.
    """
    types: dict[str, str] = {}
    body = {name: _plain(value, f"/{_escape(name)}", types, 1) for name, value in fields.items()}
    if types:
        body[TYPES] = types
    return json.dumps(body, separators=(",", ":")).encode()


def loads(text: bytes) -> dict[str, Any]:
    """The fields that `dumps` was given, equal and type for type.

    Raises:
        RecordingError: It is not what `dumps` has made. Nothing of it was executed.
    """
    try:
        body = json.loads(text)
        if not isinstance(body, dict):
            raise ValueError("no object")
        types = body.pop(TYPES, {})
        if not types:
            return body
        return {name: _typed(value, f"/{_escape(name)}", types) for name, value in body.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise RecordingError(f"is not the JSON of a sample: {str(error)[:200]}") from None


def is_array(value: Any) -> bool:
    """Whether it is an array, or a tensor in main memory."""
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and not isinstance(value, np.generic))


def as_array(value: Any) -> np.ndarray:
    """An array or tensor as an array of one of the wire's dtypes, little-endian; raises EncodeError for another dtype."""
    try:
        array = np.asarray(value)
    except Exception as error:  # tensors of a GPU, with gradients, of types that numpy does not know, ...
        raise EncodeError(f"cannot be made an array: {error}") from None
    known = DTYPES.get(array.dtype.name)
    if known is None or isinstance(value, np.ma.MaskedArray):
        raise EncodeError(
            f"is {type(value).__name__} of {array.dtype}, expected an array of one of {', '.join(DTYPES)}."
        )
    if array.ndim > MAX_NDIM:
        raise EncodeError(f"has {array.ndim} dimensions, expected at most {MAX_NDIM}.")
    return array if array.dtype == known else array.astype(known)


def _plain(value: Any, at: str, types: dict[str, str], depth: int) -> Any:
    kind = type(value)
    if value is None or kind in _PLAIN:
        return value
    if kind is int:
        if abs(value) >= _MAX_INT:
            raise EncodeError(f"{at} is an integer of more than 4000 digits, which JSON readers refuse.")
        return value
    if depth > MAX_DEPTH:
        raise EncodeError(f"{at} is nested deeper than {MAX_DEPTH} levels, or contains itself.")
    if kind is dict:
        if all(type(key) is str for key in value) and TYPES not in value:
            return {key: _plain(item, f"{at}/{_escape(key)}", types, depth + 1) for key, item in value.items()}
        if len(value) > MAX_DICT_ITEMS:
            raise EncodeError(
                f"{at} is a dict of {len(value)} items with keys other than texts, expected at most {MAX_DICT_ITEMS}. "
                "Record keys and values as two arrays or lists."
            )
        types[at] = "dict"
        return [_plain(list(pair), f"{at}/{i}", types, depth + 1) for i, pair in enumerate(value.items())]
    if kind is list or kind is tuple:
        if kind is tuple:
            types[at] = "tuple"
        return [_plain(item, f"{at}/{i}", types, depth + 1) for i, item in enumerate(value)]
    if kind is bytes:
        types[at] = "bytes"
        return base64.b64encode(value).decode()
    if isinstance(value, np.generic) or is_array(value):
        return _numbers(value, at, types)
    raise EncodeError(
        f"{at} is a {kind.__module__}.{kind.__qualname__}, which a recording cannot hold. Make it an array, a number, a "
        "text, a list or a dict of such."
    )


def _numbers(value: Any, at: str, types: dict[str, str]) -> Any:
    try:
        array = as_array(value)
    except EncodeError as error:
        raise EncodeError(f"{at} {error}") from None
    shape = "x".join(map(str, array.shape))
    types[at] = f"scalar {array.dtype.name}" if isinstance(value, np.generic) else f"array {array.dtype.name} {shape}"
    if array.dtype.kind == "c":
        if array.ndim == MAX_NDIM:
            raise EncodeError(f"{at} has {array.ndim} dimensions, expected fewer than {MAX_NDIM} of complex numbers.")
        array = np.ascontiguousarray(array)[..., None].view(array.real.dtype)
    return array.tolist()


def _typed(value: Any, at: str, types: Mapping[str, str]) -> Any:
    note = types.get(at)
    if isinstance(value, dict):
        if note is not None:
            raise ValueError(f"{at} is an object and marked as {note}")
        return {key: _typed(item, f"{at}/{_escape(key)}", types) for key, item in value.items()}
    if note is None or note in ("tuple", "dict"):
        if not isinstance(value, list):
            if note is not None:
                raise ValueError(f"{at} is no list and marked as {note}")
            return value
        if note == "dict" and len(value) > MAX_DICT_ITEMS:  # their keys can be made to collide
            raise ValueError(f"{at} is a dict of {len(value)} items with keys other than texts")
        items = [_typed(item, f"{at}/{i}", types) for i, item in enumerate(value)]
        return items if note is None else tuple(items) if note == "tuple" else dict(items)
    if note == "bytes":
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{at}: {error}") from None
    return _array(value, note, at)


def _array(value: Any, note: str, at: str) -> Any:
    is_scalar = note.startswith("scalar ")
    match = _ARRAY.fullmatch(f"array {note[7:]} " if is_scalar else note)
    if match is None or match[1] not in DTYPES:
        raise ValueError(f"{at} is marked as {note[:40]!r}")
    dtype = DTYPES[match[1]]
    shape = tuple(map(int, match[2].split("x"))) if match[2] else ()
    if dtype.kind == "c":
        pairs = np.array(value, f"f{dtype.itemsize // 2}").reshape(*shape, 2)
        array = pairs.view(dtype).reshape(shape)
    else:
        array = np.array(value, dtype).reshape(shape)
    return array[()] if is_scalar else array


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key
