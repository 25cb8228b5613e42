"""The generator that the effects are made with."""

from typing import Any

import numpy as np

from ..errors import ConfigError


def check_rng(rng: Any) -> None:
    """Checks that randomness comes from a generator, and not from a seed.

    Raises:
        ConfigError: It does not.
    """
    if not isinstance(rng, np.random.Generator):
        raise ConfigError(
            f"rng is {rng!r}, expected a numpy.random.Generator, such as btb.sample_rng(seed, index) gives."
        )
