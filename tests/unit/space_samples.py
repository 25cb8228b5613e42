"""Spaces of each kind, for tests to loop over."""

import numpy as np

from blendtorch.wire.body import DTYPES
from blendtorch.wire.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

BOX_DTYPES = [name for name, dtype in DTYPES.items() if dtype.kind in "iuf"]


def extremes(name: str) -> tuple[float, float]:
    """The least and the greatest number of a dtype."""
    info = np.finfo(name) if DTYPES[name].kind == "f" else np.iinfo(name)
    return info.min, info.max


SPACES: dict[str, Space] = {
    "box": Box(-1, 1, (3,)),
    "box of pictures": Box(0, 255, (4, 5, 3), np.uint8),
    "box with bounds of its own": Box([-1.5, -np.inf], [1, 0.25], dtype=np.float64),
    "box that is broadcast": Box([[0], [1]], [2, 3, 4], dtype=np.int16),
    "box without bounds": Box(-np.inf, np.inf, (2, 2)),
    "box of no dimensions": Box(-2, 2, ()),
    "box of no elements": Box(0, 1, (0, 3)),
    "box of one point": Box(0.5, 0.5, (1,), np.float16),
    "discrete": Discrete(5),
    "discrete from elsewhere": Discrete(3, -1),
    "discrete of all": Discrete(2**63 - 1, -(2**62)),
    "multi-discrete": MultiDiscrete([3, 1, 2]),
    "multi-discrete of two axes": MultiDiscrete([[3, 1], [2, 4]]),
    "multi-binary": MultiBinary(4),
    "multi-binary of two axes": MultiBinary([2, 3]),
    "dict": Dict({"b": Box(-1, 1, (2,)), "a": Discrete(3), "10": MultiBinary(2), "é": Box(0, 9, (), np.int32)}),
    "tuple": Tuple([Discrete(2), Box(0, 1, (2,), np.float64)]),
    "nested": Dict(
        {
            "z": Tuple([Dict({"y": MultiBinary(2), "x": Box(0, 1, ())}), Tuple([Discrete(4)])]),
            "m": MultiDiscrete([2, 2]),
            "$": Dict({"": Discrete(2)}),
        }
    ),
    **{f"box of {name}": Box(0, 1, (2,), name) for name in BOX_DTYPES},
    **{f"box of all {name}": Box(*extremes(name), (2,), name) for name in BOX_DTYPES},
}
