"""What tests look at recordings with."""

from pathlib import Path
from typing import Any

import numpy as np

from blendtorch.recording import Recording


def content(folder: Path, *without: str) -> dict[str, dict[str, Any]]:
    """The samples by key, in the order of keys, without some fields; none was passed over."""
    recording = Recording(folder)
    assert (recording.problems, recording.skipped) == ([], 0)
    samples = {
        key: {name: value for name, value in sample.items() if name not in without}
        for key, sample in zip(recording.keys, recording, strict=True)
    }
    return dict(sorted(samples.items()))


def assert_same(one: Any, other: Any) -> None:
    """Equal bit for bit, type for type; dicts in any order."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray | np.generic):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    else:
        assert one == other
