"""The random numbers of a sample: they depend on its address alone, never on who renders it or when."""

from collections.abc import Iterator
from itertools import count

import numpy as np


def sample_rng(seed: int, *address: int) -> np.random.Generator:
    """The generator of one sample.

    The same address gives the same numbers whatever the number of instances, workers or restarts.

    Args:
        seed: The seed of the launch, `btargs.seed`.
        *address: The sample's index; with physics, its episode and frame.

    Returns:
        `numpy.random.default_rng([seed, *address])`.
    """
    return np.random.default_rng([seed, *address])


def sample_indices(btid: int, num_instances: int) -> Iterator[int]:
    """The indices that are this instance's share of an endless stream: btid, btid + num_instances, ..."""
    return count(btid, num_instances)
