"""What stream.py publishes, and copies for comparison: arrays as renderers make them, without rendering. numpy only."""

from typing import Any

import numpy as np

Sample = dict[str, Any]

FRAME = (480, 640, 4)
# 64 KB frames would fit into a core's cache: only where the number of samples matters, not their size.
TINY_FRAME = (64, 64, 4)
# 39.9 MB in 12 arrays: what all passes of a 1024 x 1024 picture come to.
LARGE = {
    "color": ((1024, 1024, 3), np.uint8),
    "albedo": ((1024, 1024, 3), np.uint8),
    "depth": ((1024, 1024), np.float32),
    "normal": ((1024, 1024, 3), np.float32),
    "flow": ((1024, 1024, 2), np.float32),
    "ids": ((1024, 1024), np.uint32),
    "shadow": ((1024, 1024), np.uint8),
    "mask": ((1024, 1024), np.uint8),
    "alpha": ((1024, 1024), np.float16),
    "keypoints": ((1000, 3), np.float32),
    "boxes": ((1000, 4), np.float32),
    "camera": ((4, 4), np.float64),
}
# 200 bytes: 160 in three arrays, five numbers.
SMALL = {"pose": ((4, 4), np.float32), "box": ((4,), np.float32), "keypoints": ((10, 2), np.float32)}


def samples(kind: str) -> list[Sample]:
    """Several samples to publish in turn.

    Frames are two: what a renderer has just drawn is in the processor's cache, too.

    Args:
        kind: "frame", "tiny-frame", "small" or "large".
    """
    rng = np.random.default_rng(0)
    match kind:
        case "frame":  # 2.5 MB
            return [{"image": _random(rng, FRAME, np.uint8)} for _ in range(2)]
        case "tiny-frame":
            return [{"image": _random(rng, TINY_FRAME, np.uint8)} for _ in range(8)]
        case "small":
            numbers = {"reward": 0.5, "done": False, "step": 7, "distance": 1.25}
            return [_arrays(rng, SMALL) | numbers for _ in range(8)]
        case "large":  # 80 MB
            return [_arrays(rng, LARGE) for _ in range(2)]
    raise ValueError(f"there is no kind {kind!r} of samples.")


def _arrays(rng: np.random.Generator, fields: dict[str, tuple[tuple[int, ...], type]]) -> Sample:
    return {name: _random(rng, shape, dtype) for name, (shape, dtype) in fields.items()}


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A writable array of random bytes."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[:] = np.frombuffer(rng.bytes(array.nbytes), np.uint8)
    return array
