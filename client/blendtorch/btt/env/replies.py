"""What an environment has answered, checked: whoever reads on can rely on it."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import ProtocolError
from .infos import Infos


def as_dict(reply: Any) -> dict[str, Any]:
    """A reply that has to say something.

    Raises:
        ProtocolError: It is no dict.
    """
    if not isinstance(reply, dict):
        raise ProtocolError(f"the environment has answered with a {type(reply).__name__}, expected a dict.")
    return reply


def check_arrays(found: Any, wanted: Sequence[tuple[tuple[int, ...], np.dtype]], name: str) -> list[np.ndarray]:
    """Arrays of given shapes and dtypes.

    Args:
        found: What came.
        wanted: Shape and dtype of each.
        name: What they are, for a message.

    Raises:
        ProtocolError: They are not.
    """
    if not isinstance(found, list | tuple) or len(found) != len(wanted):
        many = f"{len(found)} of them" if isinstance(found, list | tuple) else f"a {type(found).__name__}"
        raise ProtocolError(f"the {name} of the environment are {many}, expected {len(wanted)} arrays.")
    for array, (shape, dtype) in zip(found, wanted, strict=True):
        if not isinstance(array, np.ndarray):
            raise ProtocolError(f"the {name} of the environment have a {type(array).__name__}, expected an array.")
        if array.shape != shape or array.dtype != dtype:
            seen = f"{array.dtype} {array.shape}"
            raise ProtocolError(f"the {name} of the environment have an array of {seen}, expected {dtype} {shape}.")
    return list(found)


def check_infos(infos: Any, count: int, name: str = "infos") -> Infos:
    """Infos of so many agents.

    Raises:
        ProtocolError: They are not.
    """
    if isinstance(infos, list):
        good = not infos or (len(infos) == count and all(isinstance(info, dict) for info in infos))
    else:
        good = infos is None or (isinstance(infos, dict) and _are_rows(infos.values(), count))
    if not good:
        raise ProtocolError(
            f"the {name} of the environment are a {type(infos).__name__}, expected a dict of arrays whose first axis are "
            f"the {count} agents, or a list of {count} dicts."
        )
    return infos or None


def check_begun(begun: Any, num_agents: int) -> np.ndarray | None:
    """Which agents have begun an episode within a step: their numbers, ascending; None when that was not asked for.

    Raises:
        ProtocolError: They are not.
    """
    if begun is None:
        return None
    good = isinstance(begun, np.ndarray) and begun.ndim == 1 and begun.dtype.kind == "i"
    if not good or (len(begun) and (begun[0] < 0 or begun[-1] >= num_agents or (np.diff(begun) <= 0).any())):
        raise ProtocolError(f"the agents that have begun an episode are {str(begun)[:200]}, of {num_agents}.")
    return begun


def _are_rows(values: Iterable[Any], count: int) -> bool:
    for value in values:
        if isinstance(value, dict):
            good = _are_rows(value.values(), count)
        elif isinstance(value, np.ndarray):
            good = value.ndim > 0 and len(value) == count
        else:
            good = isinstance(value, list | tuple) and len(value) == count
        if not good:
            return False
    return True
