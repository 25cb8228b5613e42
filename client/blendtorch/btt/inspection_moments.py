"""Statistics of numbers that come in parts: `Moments`, exact in float64, and `Histogram`. Plain numpy."""

from dataclasses import dataclass, field

import numpy as np

_CHUNK = 1 << 17  # elements: their float64 copy stays in the processor's cache


@dataclass(frozen=True)
class Summary:
    """What is known of many numbers.

    Attributes:
        count: How many there were.
        min, max: The least and the greatest; int where all were integers. None where there were none.
        mean, std: Mean and standard deviation (of the population: divided by `count`). None where there were none.
    """

    count: int
    min: float | int | None
    max: float | int | None
    mean: float | None
    std: float | None


@dataclass
class Moments:
    """Count, mean, sum of squared deviations, least and greatest of numbers that come in parts.

    Parts are merged by the pairwise formulas of T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a
    pairwise algorithm for computing sample variances", Stanford STAN-CS-79-773, 1979: with d the difference of the means,

        mean = mean_1 + d n_2 / n        m2 = m2_1 + m2_2 + d^2 n_1 n_2 / n

    so that no sum of squares is taken, which loses all digits where the spread is small beside the mean.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    min: float | int | None = None
    max: float | int | None = None

    def add(self, values: np.ndarray) -> None:
        """Adds finite real numbers of any shape and dtype."""
        flat = values.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):  # the spread of very large numbers is infinite
            for start in range(0, flat.size, _CHUNK):
                part = flat[start : start + _CHUNK]
                wide = part.astype(np.float64)
                mean = float(wide.mean())
                wide -= mean
                self.merge(Moments(part.size, mean, float(wide @ wide), part.min().item(), part.max().item()))

    def merge(self, other: "Moments") -> None:
        """Adds what another one has."""
        if not other.count:
            return
        count = self.count + other.count
        apart = other.mean - self.mean
        self.m2 += other.m2 + apart * apart * (self.count / count) * other.count
        self.mean += apart * (other.count / count)
        self.count = count
        self.min = other.min if self.min is None else min(self.min, other.min)  # type: ignore[type-var]
        self.max = other.max if self.max is None else max(self.max, other.max)  # type: ignore[type-var]

    @classmethod
    def of_bytes(cls, counts: np.ndarray) -> "Moments":
        """Those of uint8 values.

        Args:
            counts: (256,) integers, how often each value is there.
        """
        there = np.flatnonzero(counts)
        if not there.size:
            return cls()
        count = int(counts.sum())
        mean = int(counts @ np.arange(256)) / count
        m2 = float(counts[there] @ (there - mean) ** 2)
        return cls(count, mean, m2, int(there[0]), int(there[-1]))

    def summary(self) -> Summary:
        """What is known so far."""
        if not self.count:
            return Summary(0, None, None, None, None)
        return Summary(self.count, self.min, self.max, self.mean, float(np.sqrt(self.m2 / self.count)))


@dataclass
class Histogram:
    """How many numbers fell between edges; what is beyond the outer edges is counted in the outer bins.

    Attributes:
        edges: (N + 1,) float64, ascending.
        counts: (N,) int64. A bin has its lower edge and not its upper one.
    """

    edges: np.ndarray
    counts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.edges) - 1, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Adds numbers; NaN counts nowhere."""
        self.counts += np.bincount(bin_of(values[~np.isnan(values)], self.edges), minlength=len(self.counts))


def bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bins that numbers fell into, (N,) intp; what is beyond the outer edges falls into the outer bins."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
