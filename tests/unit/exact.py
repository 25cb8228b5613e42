"""Equality as the protocol promises it: the same value of the same type, all the way down."""

import math
from typing import Any

import numpy as np


def assert_exact(actual: Any, expected: Any, where: str = "value") -> None:
    """Fails unless both are equal, type for type; NaN equals NaN, -0.0 does not equal 0.0.

    Arrays may differ in byte order and memory layout, which the protocol does not keep.
    """
    assert type(actual) is type(expected), f"{where}: {type(actual)} is not {type(expected)}"
    if isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype.newbyteorder("<"), f"{where}: {actual.dtype} is not {expected.dtype}"
        assert actual.shape == expected.shape, f"{where}: {actual.shape} is not {expected.shape}"
        assert actual.tobytes() == expected.astype(actual.dtype).tobytes(), f"{where}: {actual} is not {expected}"
    elif isinstance(expected, np.generic):
        assert (actual.dtype, actual.tobytes()) == (expected.dtype, expected.tobytes()), f"{where}: {actual}"
    elif isinstance(expected, float):
        same_nan = math.isnan(actual) and math.isnan(expected)
        assert same_nan or (actual, math.copysign(1, actual)) == (expected, math.copysign(1, expected)), where
    elif isinstance(expected, dict):
        assert len(actual) == len(expected), f"{where}: {len(actual)} items, not {len(expected)}"
        for (key, value), (wanted_key, wanted) in zip(actual.items(), expected.items(), strict=True):
            assert_exact(key, wanted_key, f"{where} key")
            assert_exact(value, wanted, f"{where}[{wanted_key!r}]")
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), f"{where}: {len(actual)} items, not {len(expected)}"
        for i, (value, wanted) in enumerate(zip(actual, expected, strict=True)):
            assert_exact(value, wanted, f"{where}[{i}]")
    else:
        assert actual == expected, where
