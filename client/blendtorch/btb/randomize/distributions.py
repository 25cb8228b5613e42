"""What is drawn: distributions of numbers and choices of anything. No bpy here.

All draws go through `Generator.random` and `Generator.standard_normal`, whose numbers are the same in every numpy that
Blender brings along.
"""

import bisect
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ConfigError
from .fields import check_fields, fields_to_json, is_number

_LEAST_SHARE = 1e-3
"""Of a normal distribution, what must lie within its limits; less would be drawn again and again."""

Numbers = float | tuple[float, ...]
Drawn = Any
"""A float, a bool, a text or None when one value was asked for; a (N,) float64 array, or a tuple of other values."""


@dataclass(frozen=True)
class Distribution:
    """Base of all. A number for each component makes a vector: `Uniform((0, 0, 1), (1, 1, 2))`."""

    def __post_init__(self) -> None:
        check_fields(self)

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Drawn:
        """Draws once.

        Args:
            rng: Where the randomness comes from.
            size: How many components the value needs. Numbers given once are for each of them, drawn independently. None
                for a single value, or as many components as were given.

        Returns:
            A float, or (size,) float64. `Choice` and `Constant` give what they hold: also a bool or text, or a tuple.

        Raises:
            ConfigError: There are numbers for another count of components.
        """
        raise NotImplementedError

    def examples(self) -> list[Any]:
        """Values that can be drawn, the extreme ones included where there are any: a check tries them."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Its fields and, as "type", its name."""
        return {"type": type(self).__name__, **fields_to_json(self)}


@dataclass(frozen=True)
class Uniform(Distribution):
    """Any number from low to high is as likely as another.

    Attributes:
        low: The least; a number, or one for each component.
        high: The greatest.
    """

    low: Numbers
    high: Numbers

    def __post_init__(self) -> None:
        super().__post_init__()
        _same_length(self, "low", "high")
        _refuse(self, np.any(_array(self.low) > _array(self.high)), "low is above high")

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Drawn:
        """A float, or (size,) float64."""
        low, high = _array(self.low), _array(self.high)
        shape = _shape(self, (low, high), size)
        return _result(low + (high - low) * rng.random(shape), shape)

    def examples(self) -> list[Any]:
        """Both ends."""
        return [self.low, self.high]


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Its logarithm is uniform: from 1 to 10 is as likely as from 10 to 100. For sizes, distances, light.

    Attributes:
        low: The least, above 0; a number, or one for each component.
        high: The greatest.
    """

    low: Numbers
    high: Numbers

    def __post_init__(self) -> None:
        super().__post_init__()
        _same_length(self, "low", "high")
        _refuse(self, np.any(_array(self.low) <= 0), "low must be above 0")
        _refuse(self, np.any(_array(self.low) > _array(self.high)), "low is above high")

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Drawn:
        """A float, or (size,) float64."""
        low, high = _array(self.low), _array(self.high)
        shape = _shape(self, (low, high), size)
        log_low, log_high = _each(math.log, low), _each(math.log, high)
        drawn = _each(math.exp, log_low + (log_high - log_low) * rng.random(shape))
        return _result(np.clip(drawn, low, high), shape)

    def examples(self) -> list[Any]:
        """Both ends."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Normal(Distribution):
    """The bell curve. With limits it is truncated: what falls outside is drawn again, so that nothing piles up at them.

    Attributes:
        mean: A number, or one for each component.
        std: Standard deviation of the whole curve, 0 or more. With limits, what is drawn spreads less.
        low: The least that is let through; None for no limit.
        high: The greatest.
    """

    mean: Numbers
    std: Numbers
    low: Numbers | None = None
    high: Numbers | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _same_length(self, "mean", "std", "low", "high")
        _refuse(self, np.any(_array(self.std) < 0), "std is below 0")
        mean, std, low, high = np.broadcast_arrays(*self._parts())
        _refuse(self, np.any(low > high), "low is above high")
        for values in zip(mean.flat, std.flat, low.flat, high.flat, strict=True):
            share = _share_within(*(float(value) for value in values))
            _refuse(
                self,
                share < _LEAST_SHARE,
                f"only {share:.2g} of it lies within its limits; move them, or use Uniform(low, high)",
            )

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Drawn:
        """A float, or (size,) float64."""
        parts = self._parts()
        shape = _shape(self, parts, size)
        mean, std, low, high = (np.broadcast_to(part, shape) for part in parts)
        drawn = np.asarray(mean + std * rng.standard_normal(shape))
        while (outside := (drawn < low) | (drawn > high)).any():
            drawn[outside] = mean[outside] + std[outside] * rng.standard_normal(int(outside.sum()))
        return _result(drawn, shape)

    def examples(self) -> list[Any]:
        """The limits where there are any, and the mean where it lies within them."""
        mean, _, low, high = self._parts()
        middle = np.clip(mean, low, high)
        return [value for value in (self.low, middle.tolist(), self.high) if value is not None]

    def _parts(self) -> tuple[np.ndarray, ...]:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return _array(self.mean), _array(self.std), _array(low), _array(high)


@dataclass(frozen=True)
class Choice(Distribution):
    """One of some values.

    Attributes:
        values: Numbers, texts, bools, None, or vectors such as colours. A vector is chosen as a whole; of single values,
            each component of what is set gets one of its own.
        weights: How likely each is, in any unit; None for all alike.
    """

    values: tuple[Any, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(self, not self.values, "there is nothing to choose from")
        if self.weights is not None:
            fits = len(self.weights) == len(self.values)
            _refuse(self, not fits, f"{len(self.weights)} weights for {len(self.values)} values")
            _refuse(self, min(self.weights) < 0 or sum(self.weights) <= 0, "weights must be 0 or more, and not all 0")

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Drawn:
        """A value; with a size, so many of them unless a vector was chosen."""
        if size is None:
            return _held(self._pick(rng))
        first = self._pick(rng)
        if isinstance(first, tuple):
            return _held(_of_size(self, first, size))
        return _held((first, *(self._pick(rng) for _ in range(size - 1))))

    def examples(self) -> list[Any]:
        """All values that have a weight."""
        weights = self.weights or (1.0,) * len(self.values)
        return [value for value, weight in zip(self.values, weights, strict=True) if weight > 0]

    def _pick(self, rng: np.random.Generator) -> Any:
        # Among equal weights by multiplication: sums of them are not exact.
        if self.weights is None:
            return self.values[min(int(rng.random() * len(self.values)), len(self.values) - 1)]
        bounds = list(itertools.accumulate(self.weights))
        index = bisect.bisect_right(bounds, rng.random() * bounds[-1])
        while index >= len(bounds) or self.weights[index] == 0:
            index -= 1
        return self.values[index]


@dataclass(frozen=True)
class Constant(Distribution):
    """Always the same. Nothing is drawn from the generator.

    Attributes:
        value: A number, text, bool, None, or a vector.
    """

    value: Any

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Drawn:
        """The value; with a size, so often unless it is a vector."""
        if size is None:
            return _held(self.value)
        return _held(_of_size(self, self.value, size) if isinstance(self.value, tuple) else (self.value,) * size)

    def examples(self) -> list[Any]:
        """The value."""
        return [self.value]


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    cls.__name__: cls for cls in (Uniform, Normal, LogUniform, Choice, Constant)
}
"""By the name they have in JSON."""


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, dtype=np.float64)


def _each(function: Callable[[float], float], values: Any) -> np.ndarray:
    """A function of each value; numpy's own ones give other last digits in other versions."""
    values = np.asarray(values, dtype=np.float64)
    return np.array([function(value) for value in values.flat]).reshape(values.shape)


def _shape(owner: Distribution, parts: tuple[np.ndarray, ...], size: int | None) -> tuple[int, ...]:
    given = {len(part) for part in parts if part.ndim}
    if not given:
        return () if size is None else (size,)
    (length,) = given
    if size is not None and length != size:
        raise ConfigError(f"{owner} is for {length} components, but there are {size}")
    return (length,)


def _result(drawn: Any, shape: tuple[int, ...]) -> Drawn:
    return np.asarray(drawn, dtype=np.float64) if shape else float(drawn)


def _of_size(owner: Distribution, value: tuple[Any, ...], size: int) -> tuple[Any, ...]:
    if len(value) != size:
        raise ConfigError(f"{owner} holds {value}, of {len(value)} components, but there are {size}")
    return value


def _held(value: Any) -> Drawn:
    if isinstance(value, tuple):
        return np.asarray(value, dtype=np.float64) if value and all(is_number(item) for item in value) else value
    return float(value) if is_number(value) else value


def _same_length(owner: Distribution, *names: str) -> None:
    lengths = {name: len(v) for name in names if isinstance(v := getattr(owner, name), tuple)}
    _refuse(owner, len(set(lengths.values())) > 1, f"of different numbers of components: {lengths}")
    _refuse(owner, 0 in lengths.values(), "of no component at all")


def _share_within(mean: float, std: float, low: float, high: float) -> float:
    if std == 0:
        return float(low <= mean <= high)
    return 0.5 * (math.erf((high - mean) / std / math.sqrt(2)) - math.erf((low - mean) / std / math.sqrt(2)))


def _refuse(owner: Distribution, wrong: Any, why: str) -> None:
    if wrong:
        raise ConfigError(f"{owner}: {why}")
