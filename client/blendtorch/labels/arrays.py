"""Arguments of this package as arrays of the shape that a function wants, or an error that says what came instead."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError

LARGEST_ID = 2**32 - 1
"""Ids are uint32."""


def as_floats(name: str, value: ArrayLike, shape: tuple[str | int, ...]) -> np.ndarray:
    """Return numbers as float64 of a shape.

    Args:
        name: What the error calls the argument.
        value: Anything numpy understands.
        shape: A number for each axis whose length is given, a letter for each that is free. What is empty may have
            lost its inner axes: `[]` is taken for (K, 4, 4) with K = 0.

    Returns:
        float64 array of that shape.

    Raises:
        ConfigError: (a ValueError) Another shape, or no numbers.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name}: expected numbers of shape {_text(shape)}, got an array of dtype {array.dtype}")
    if array.shape == (0,) and (shape[0] == 0 or isinstance(shape[0], str)):
        array = array.reshape(0, *(length if isinstance(length, int) else 0 for length in shape[1:]))
    if not _fits(array.shape, shape):
        raise ConfigError(f"{name}: expected shape {_text(shape)}, got {array.shape}")
    return array.astype(np.float64, copy=False)


def as_id_image(name: str, value: ArrayLike) -> np.ndarray:
    """Return an image of ids, (H, W) integers, uint32 as a rule; ConfigError where it is none, or has no pixel."""
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "iu" or array.size == 0:
        raise ConfigError(f"{name}: expected an image of ids, (H, W) uint32, got {array.dtype} of shape {array.shape}")
    return array


def as_id_list(name: str, value: ArrayLike, lowest: int = 0) -> np.ndarray:
    """Return distinct ids, (K,) int64 in the order given.

    Raises:
        ConfigError: (a ValueError) Not one row of integers, out of the range `lowest` to 2^32 - 1, or one is there twice.
    """
    array = np.asarray(value)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ConfigError(f"{name}: expected ids, (K,) uint32, got {array.dtype} of shape {array.shape}")
    outside = (array < lowest) | (array > LARGEST_ID)
    if outside.any():
        raise ConfigError(f"{name}: ids are {lowest} to {LARGEST_ID}, got {array[outside][0]}")
    distinct, counts = np.unique(array, return_counts=True)
    if distinct.size < array.size:
        raise ConfigError(f"{name}: id {distinct[counts > 1][0]} is there {counts.max()} times, expected each once")
    return array.astype(np.int64)


def as_depth_image(name: str, value: ArrayLike, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a depth image, (H, W) floating point metres, of the type it has; ConfigError where it is none."""
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind != "f" or array.size == 0 or (shape is not None and array.shape != shape):
        wanted = "(H, W)" if shape is None else str(tuple(shape))
        raise ConfigError(
            f"{name}: expected depth in metres, {wanted} float32, got {array.dtype} of shape {array.shape}"
        )
    return array


def as_image_shape(shape: Any) -> tuple[int, int]:
    """Return (H, W) as two ints; ConfigError unless they are whole numbers of at least 1."""
    try:
        height, width = shape
        whole = (int(height), int(width))
        good = whole == (height, width) and min(whole) >= 1
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ConfigError(f"shape: expected (H, W), two whole numbers of at least 1, got {shape!r}")
    return whole


def _fits(seen: tuple[int, ...], wanted: tuple[str | int, ...]) -> bool:
    return len(seen) == len(wanted) and all(isinstance(w, str) or s == w for s, w in zip(seen, wanted, strict=True))


def _text(shape: tuple[str | int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
