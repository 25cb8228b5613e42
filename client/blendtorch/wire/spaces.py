"""Spaces of observations and actions, as Gymnasium has them, for Blender's Python, which has no Gymnasium.

An environment inside Blender declares them, the handshake carries them, and the training side makes Gymnasium's own of
them. A value of a composed space travels as the list of its leaves, in the order of `leaves`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..errors import ConfigError, ProtocolError
from .body import DTYPES

MAX_LEAVES = 30  # two sets of observations fit into one block of shared memory
_MAX_DEPTH = 16


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
        shape: The shape; left out, that of `low` and `high`.
        dtype: An integer or floating dtype.

    Raises:
        ConfigError: The bounds do not fit the shape, the dtype, or each other.
    """

    def __init__(
        self, low: ArrayLike, high: ArrayLike, shape: Sequence[int] | None = None, dtype: DTypeLike = np.float32
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype.name not in DTYPES or self.dtype.kind not in "iuf":
            raise ConfigError(f"dtype of a Box is {self.dtype}, expected one of integers or floats, such as 'float32'.")
        bounds = [np.asarray(low), np.asarray(high)]
        try:
            self.shape = np.broadcast_shapes(*(bound.shape for bound in bounds)) if shape is None else tuple(shape)
            wide = [np.broadcast_to(bound, self.shape) for bound in bounds]
            with np.errstate(invalid="ignore"):
                self.low, self.high = (bound.astype(self.dtype) for bound in wide)
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"bounds of a Box do not fit its shape {shape}: {error}.") from None
        if self.dtype.kind != "f" and not (np.array_equal(self.low, wide[0]) and np.array_equal(self.high, wide[1])):
            raise ConfigError(f"bounds of a Box are {low!r} and {high!r}, which {self.dtype} cannot hold.")
        if not np.all(self.low <= self.high):
            raise ConfigError(f"bounds of a Box are {low!r} and {high!r}, expected none below the other, and no NaN.")

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        low, high = (bound.flat[0] if (bound == bound.flat[0]).all() else bound for bound in self._bounds())
        return {"space": "Box", "low": low, "high": high, "shape": list(self.shape), "dtype": self.dtype.name}

    def _bounds(self) -> list[np.ndarray]:
        return [bound if bound.size else np.zeros(1, self.dtype) for bound in (self.low, self.high)]


class Discrete(Leaf):
    """The numbers start, start + 1, ... start + n - 1.

    Args:
        n: How many.
        start: The first.

    Raises:
        ConfigError: `n` is not positive.
    """

    shape = ()
    dtype = np.dtype(np.int64)

    def __init__(self, n: int, start: int = 0) -> None:
        if n < 1:
            raise ConfigError(f"n of a Discrete is {n}, expected at least 1.")
        self.n, self.start = int(n), int(start)

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
        self.nvec = np.array(nvec, np.int64)
        if not self.nvec.size or self.nvec.min() < 1:
            raise ConfigError(f"nvec of a MultiDiscrete is {nvec!r}, expected numbers of at least 1.")
        self.shape = self.nvec.shape

    def to_body(self) -> dict[str, Any]:
        """What the handshake carries."""
        return {"space": "MultiDiscrete", "nvec": self.nvec}


class MultiBinary(Leaf):
    """Arrays of 0 and 1, int8.

    Args:
        n: Their length, or their shape.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, n: int | Sequence[int]) -> None:
        self.shape = (int(n),) if np.ndim(n) == 0 else tuple(int(size) for size in n)  # type: ignore[union-attr,arg-type]
        if min(self.shape, default=1) < 1:
            raise ConfigError(f"n of a MultiBinary is {n}, expected numbers of at least 1.")

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
            raise ConfigError(f"keys of a Dict space are {list(spaces)}, expected at least one, all of them texts.")
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
            f"{value!r} is no space, expected one of btb.env.spaces: Box, Discrete, MultiDiscrete, MultiBinary, Dict, "
            "Tuple."
        )
    return value  # type: ignore[return-value]


def check_space(value: Any, name: str) -> "Space":
    """A space that an environment declares.

    Raises:
        ConfigError: It is none, or has more than `MAX_LEAVES` leaves.
    """
    if value is None:
        raise ConfigError(f"{name} is not set, expected a space such as btb.env.spaces.Box(-1, 1, (3,)).")
    space = _space(value)
    if len(leaves(space)) > MAX_LEAVES:
        raise ConfigError(f"{name} has {len(leaves(space))} parts, expected at most {MAX_LEAVES}. Stack some of them.")
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
        if extra := sorted(set(value) - set(space.spaces)):
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
        ProtocolError: It carries none.
    """
    try:
        return _read(body, 0)
    except (ConfigError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the environment declares a space that cannot be read: {error!r}.") from None


def _read(body: Any, depth: int) -> "Space":
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deep")
    kind = body["space"]
    if kind == "Box":
        return Box(body["low"], body["high"], body["shape"], body["dtype"])
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
    raise ValueError(f"unknown kind {str(kind)[:32]!r}")
