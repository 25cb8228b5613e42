"""Spaces of observations and actions, as Gymnasium has them, for Blender's Python, which has no Gymnasium.

An environment inside Blender declares them, the handshake carries them, and the training side makes Gymnasium's own of
them. A value of a composed space travels as the list of its leaves, in the order of `leaves`.
"""

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..errors import ConfigError, ProtocolError
from .body import DTYPES, MAX_NDIM

MAX_LEAVES = 30  # two sets of observations fit into one block of shared memory
MAX_ELEMENTS = 1 << 25  # of a space, in all its leaves: an RGBA picture in 4K
_MAX_DEPTH = 16
_INT64 = np.iinfo(np.int64)


class Leaf(ABC):
    """A space whose values are single arrays (or numbers).

    Attributes:
        shape: Of a value; () for a number.
        dtype: Of its elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @abstractmethod
    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return False
        mine, yours = self.to_body(), other.to_body()
        return mine.keys() == yours.keys() and all(np.array_equal(mine[name], yours[name]) for name in mine)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={value}" for name, value in self.to_body().items() if name != "space")
        return f"{type(self).__name__}({named})"


class Box(Leaf):
    """Arrays whose elements lie between two bounds.

    Args:
        low: The lower bound: a number for all elements, or an array of one for each. -inf for none.
        high: The upper bound, likewise.
        shape: The shape; left out, that of `low` and `high`, or (1,) where both are numbers.
        dtype: An integer or floating dtype.

    Raises:
        ConfigError: The bounds do not fit the shape, the dtype, or each other.
    """

    def __init__(
        self, low: ArrayLike, high: ArrayLike, shape: Sequence[int] | None = None, dtype: DTypeLike = np.float32
    ) -> None:
        self.dtype = _dtype_of_box(dtype)
        try:
            given = [np.asarray(low), np.asarray(high)]
            # Of two numbers Gymnasium, too, makes arrays of one element.
            wanted = (np.broadcast_shapes(*(bound.shape for bound in given)) or (1,)) if shape is None else shape
            self.shape = _checked_shape(wanted, "shape of a Box")
            # Read-only views: a number takes no more memory for a picture than for a single element.
            self._bounds = [_cast_bound(bound, self.dtype) for bound in given]
            self.low, self.high = (np.broadcast_to(bound, self.shape) for bound in self._bounds)
            in_order = np.all(self._bounds[0] <= self._bounds[1])
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"bounds of a Box do not fit its shape {short(shape)}: {error}.") from None
        if not in_order:
            raise ConfigError(
                f"bounds of a Box are {short(low)} and {short(high)}, expected none below the other, and no NaN."
            )

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        low, high = (self._short_bound(bound) for bound in self._bounds)
        return {"space": "Box", "low": low, "high": high, "shape": list(self.shape), "dtype": self.dtype.name}

    def _short_bound(self, bound: np.ndarray) -> Any:
        """A bound as it travels: one number where it is the same for all elements."""
        if 0 in self.shape:
            return self.dtype.type(0)
        if (bound == bound.flat[0]).all():
            return bound.flat[0]
        return np.ascontiguousarray(np.broadcast_to(bound, self.shape))


class Discrete(Leaf):
    """The numbers start, start + 1, ... start + n - 1.

    Args:
        n: How many.
        start: The first.

    Raises:
        ConfigError: `n` is not positive, or a number is not an integer of 64 bits.
    """

    shape = ()
    dtype = np.dtype(np.int64)

    def __init__(self, n: int, start: int = 0) -> None:
        try:
            self.n, self.start = operator.index(n), operator.index(start)
        except TypeError:
            raise ConfigError(
                f"n and start of a Discrete are {short(n)} and {short(start)}, expected whole numbers."
            ) from None
        if not 1 <= self.n <= _INT64.max:
            raise ConfigError(f"n of a Discrete is {short(n)}, expected at least 1, in 64 bits.")
        if not _INT64.min <= self.start <= _INT64.max - self.n + 1:
            raise ConfigError(f"start of a Discrete is {short(start)}, which does not fit into 64 bits with n = {n}.")

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        return {"space": "Discrete", "n": self.n, "start": self.start}


class MultiDiscrete(Leaf):
    """Arrays of numbers 0 .. n - 1, each element with an n of its own.

    Args:
        nvec: The n of each.

    Raises:
        ConfigError: One is not positive.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, nvec: ArrayLike) -> None:
        try:
            given = np.asarray(nvec)
        except ValueError:
            given = np.empty(0)
        if given.dtype.kind not in "iu" or not given.size or given.min() < 1 or given.max() > _INT64.max:
            raise ConfigError(f"nvec of a MultiDiscrete is {short(nvec)}, expected whole numbers of at least 1.")
        self.shape = _checked_shape(given.shape, "shape of a MultiDiscrete")
        self.nvec = given.astype(np.int64)

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        return {"space": "MultiDiscrete", "nvec": self.nvec}


class MultiBinary(Leaf):
    """Arrays of 0 and 1, int8.

    Args:
        n: Their length, or their shape.

    Raises:
        ConfigError: `n` is no shape, or has no elements.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, n: int | Sequence[int]) -> None:
        sizes = n if isinstance(n, Sequence | np.ndarray) and not isinstance(n, str | bytes) else (n,)
        self.shape = _checked_shape(sizes, "n of a MultiBinary")
        if 0 in self.shape:
            raise ConfigError(f"n of a MultiBinary is {short(n)}, expected numbers of at least 1.")

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        return {"space": "MultiBinary", "n": list(self.shape)}


class Dict:
    """Dicts of values of other spaces.

    Args:
        spaces: The space of each key; keys are texts. As in Gymnasium their order is alphabetic.
    """

    def __init__(self, spaces: "Mapping[str, Space]") -> None:
        if not spaces or not all(type(key) is str for key in spaces):
            raise ConfigError(
                f"keys of a Dict space are {short(list(spaces))}, expected at least one, all of them texts."
            )
        self.spaces = {key: _space(spaces[key]) for key in sorted(spaces)}

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        return {"space": "Dict", "spaces": [[key, space.to_body()] for key, space in self.spaces.items()]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dict) and self.spaces == other.spaces

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Dict({self.spaces})"


class Tuple:
    """Tuples of values of other spaces.

    Args:
        spaces: The spaces.
    """

    def __init__(self, spaces: "Sequence[Space]") -> None:
        if not spaces:
            raise ConfigError("a Tuple space is empty, expected at least one space.")
        self.spaces = tuple(map(_space, spaces))

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        return {"space": "Tuple", "spaces": [space.to_body() for space in self.spaces]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tuple) and self.spaces == other.spaces

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Tuple({self.spaces})"


Space: TypeAlias = Box | Discrete | MultiDiscrete | MultiBinary | Dict | Tuple


def _space(value: Any) -> "Space":
    if not isinstance(value, Leaf | Dict | Tuple):
        raise ConfigError(
            f"{short(value)} is no space, expected one of btb.env.spaces: Box, Discrete, MultiDiscrete, MultiBinary, "
            "Dict, Tuple."
        )
    return value  # type: ignore[return-value]


def check_space(value: Any, name: str) -> "Space":
    """A space that an environment declares.

    Raises:
        ConfigError: It is none, or has more than `MAX_LEAVES` leaves or `MAX_ELEMENTS` elements.
    """
    if value is None:
        raise ConfigError(f"{name} is not set, expected a space such as btb.env.spaces.Box(-1, 1, (3,)).")
    space = _space(value)
    found = leaves(space)
    if len(found) > MAX_LEAVES:
        raise ConfigError(f"{name} has {len(found)} parts, expected at most {MAX_LEAVES}. Stack some of them.")
    if (elements := sum(math.prod(leaf.shape) for _, leaf in found)) > MAX_ELEMENTS:
        raise ConfigError(f"{name} has {elements} elements, expected at most {MAX_ELEMENTS}.")
    return space


def leaves(space: "Space", path: str = "") -> list[tuple[str, Leaf]]:
    """The leaves of a space in a fixed order, each with where it is, such as "['camera'][0]"; "" for the space itself."""
    if isinstance(space, Dict):
        return [leaf for key, part in space.spaces.items() for leaf in leaves(part, f"{path}[{key!r}]")]
    if isinstance(space, Tuple):
        return [leaf for i, part in enumerate(space.spaces) for leaf in leaves(part, f"{path}[{i}]")]
    return [(path, space)]


def flatten(space: "Space", value: Any) -> list[Any]:
    """The leaves of a value.

    Raises:
        KeyError, TypeError, ValueError: It is not composed like the space.
    """
    if isinstance(space, Dict):
        if not isinstance(value, Mapping):
            raise TypeError(f"a {type(value).__name__} stands in place of a dict")
        if extra := list(value.keys() - space.spaces.keys()):
            raise KeyError(f"it has {extra}, which the space has not")
        return [leaf for key, part in space.spaces.items() for leaf in flatten(part, value[key])]
    if isinstance(space, Tuple):
        parts = zip(space.spaces, value, strict=True)
        return [leaf for part, item in parts for leaf in flatten(part, item)]
    return [value]


def unflatten(space: "Space", values: Sequence[Any]) -> Any:
    """The value with these leaves."""
    found = iter(values)

    def build(part: "Space") -> Any:
        if isinstance(part, Dict):
            return {key: build(inner) for key, inner in part.spaces.items()}
        if isinstance(part, Tuple):
            return tuple(build(inner) for inner in part.spaces)
        return next(found)

    return build(space)


def space_from_body(body: Any) -> "Space":
    """The space that a handshake carries.

    Raises:
        ProtocolError: It carries none, or a larger one than there may be.
    """
    try:
        return check_space(_read(body, 0), "it")
    except (ConfigError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the environment declares a space that cannot be read: {short(error)}.") from None


def _read(body: Any, depth: int) -> "Space":
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deep")
    if not isinstance(body, dict):
        raise TypeError(f"a {type(body).__name__} stands in place of a dict")
    kind = body["space"]
    if type(kind) is not str:
        raise TypeError(f"its kind is a {type(kind).__name__}")
    if kind == "Box":
        shape = _checked_shape(body["shape"], "shape of a Box")
        return Box(body["low"], body["high"], shape, DTYPES[body["dtype"]])
    if kind == "Discrete":
        return Discrete(body["n"], body["start"])
    if kind == "MultiDiscrete":
        return MultiDiscrete(body["nvec"])
    if kind == "MultiBinary":
        return MultiBinary(body["n"])
    if kind == "Dict":
        return Dict({key: _read(part, depth + 1) for key, part in body["spaces"]})
    if kind == "Tuple":
        return Tuple([_read(part, depth + 1) for part in body["spaces"]])
    raise ValueError(f"unknown kind {kind[:32]!r}")


def _dtype_of_box(dtype: DTypeLike) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        found = np.dtype(object)
    if found.name not in DTYPES or found.kind not in "iuf":
        raise ConfigError(f"dtype of a Box is {short(dtype)}, expected one of integers or floats, such as 'float32'.")
    return found


def _cast_bound(bound: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A bound in the dtype of its space, which has to be able to hold it; floats may be rounded."""
    if bound.dtype.kind not in "biuf":
        raise ConfigError(f"a bound of a Box is {short(bound)}, expected numbers.")
    with np.errstate(invalid="ignore", over="ignore"):
        cast = bound.astype(dtype)
    same = np.isinf(cast) == np.isinf(bound) if dtype.kind == "f" else cast == bound
    if not np.all(same):
        raise ConfigError(f"a bound of a Box is {short(bound)}, which {dtype} cannot hold.")
    return cast


def _checked_shape(shape: Any, name: str) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise ConfigError(f"{name} is {short(shape)}, expected whole numbers.") from None
    if min(sizes, default=0) < 0 or len(sizes) >= MAX_NDIM:  # the agents take one dimension
        raise ConfigError(f"{name} is {short(sizes)}, expected less than {MAX_NDIM} numbers, none of them negative.")
    if math.prod(max(size, 1) for size in sizes) > MAX_ELEMENTS:
        raise ConfigError(f"{name} is {short(sizes)}, expected at most {MAX_ELEMENTS} elements.")
    return sizes


def short(value: Any) -> str:
    """A value for a message, which does not grow with it."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python will write
        return f"a {type(value).__name__} too long to show"
    return text if len(text) < 300 else f"{text[:300]}..."
