"""Spaces as Gymnasium has them, and whether a value is in one."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as gym_spaces

from ...wire import spaces
from ...wire.spaces import Space, leaves, unflatten


def to_gymnasium(space: Space) -> gymnasium.Space:
    """Gymnasium's own of a space that an environment has declared."""
    if isinstance(space, spaces.Dict):
        return gym_spaces.Dict({key: to_gymnasium(part) for key, part in space.spaces.items()})
    if isinstance(space, spaces.Tuple):
        return gym_spaces.Tuple([to_gymnasium(part) for part in space.spaces])
    if isinstance(space, spaces.Box):
        return gym_spaces.Box(space.low, space.high, space.shape, space.dtype.type)
    if isinstance(space, spaces.Discrete):
        return gym_spaces.Discrete(space.n, start=space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return gym_spaces.MultiDiscrete(space.nvec)
    return gym_spaces.MultiBinary(space.shape[0] if len(space.shape) == 1 else space.shape)


def value_at(space: Space, arrays: Sequence[np.ndarray], row: int) -> Any:
    """A copy of the value of one agent, as Gymnasium has it: arrays, also of no dimensions, but numbers for Discrete."""
    values = [
        array[row].copy() if isinstance(leaf, spaces.Discrete) else np.array(array[row])
        for array, (_, leaf) in zip(arrays, leaves(space), strict=True)
    ]
    return unflatten(space, values)


def check_action(space: gymnasium.Space, action: Any, name: str = "action") -> Any:
    """An action as arrays of the dtypes of its space.

    Python's own numbers and lists are converted; arrays must have a dtype that the space's can hold without loss.

    Args:
        space: The action space; Gymnasium's batch of one for all environments of a vector environment.
        action: The action.
        name: How to call it in a message.

    Raises:
        gymnasium.error.InvalidAction: It is not in the space; says why, and names the space.
    """
    if isinstance(space, gym_spaces.Box) and isinstance(action, np.ndarray):
        # As nearly all actions are, in two passes; NaN is not within any bounds.
        is_alike = action.dtype == space.dtype and action.shape == space.shape
        if is_alike and ((action >= space.low) & (action <= space.high)).all():
            return action
    if isinstance(space, gym_spaces.Dict):
        if not isinstance(action, Mapping) or action.keys() != space.spaces.keys():
            seen = list(action) if isinstance(action, Mapping) else f"a {type(action).__name__}"
            raise _invalid(name, f"{seen}, expected the keys {list(space.spaces)}", space)
        return {key: check_action(part, action[key], f"{name}[{key!r}]") for key, part in space.spaces.items()}
    if isinstance(space, gym_spaces.Tuple):
        if not isinstance(action, tuple | list) or len(action) != len(space.spaces):
            seen = f"a {type(action).__name__}" + (f" of {len(action)}" if isinstance(action, tuple | list) else "")
            raise _invalid(name, f"{seen}, expected a tuple of {len(space.spaces)}", space)
        return tuple(
            check_action(part, item, f"{name}[{i}]")
            for i, (part, item) in enumerate(zip(space.spaces, action, strict=True))
        )
    try:
        found = np.asarray(action)
    except (RuntimeError, TypeError, ValueError):
        raise _invalid(name, f"{_short(action)}, which is no array", space) from None
    if found.shape != space.shape:
        what = "an array" if isinstance(action, np.ndarray) else _short(action)
        raise _invalid(name, f"{what} of shape {found.shape}, expected {space.shape}", space)
    array = _cast(found, space, isinstance(action, np.ndarray | np.generic), name)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise _invalid(name, f"{array}, which has NaN", space)
    low, high = _bounds(space)
    if (array < low).any() or (array > high).any():
        raise _invalid(name, f"{array}, which is out of bounds", space)
    return array


def _cast(found: np.ndarray, space: gymnasium.Space, is_typed: bool, name: str) -> np.ndarray:
    """An action in the dtype of its space, which has to be able to hold it."""
    wanted = space.dtype
    assert wanted is not None
    both_whole = found.dtype.kind in "biu" and wanted.kind in "iu"
    if not np.can_cast(found.dtype, wanted, "safe" if is_typed else "same_kind") and (is_typed or not both_whole):
        hint = f". Convert it: action.astype(np.{wanted})" if is_typed and found.dtype.kind in "iuf" else ""
        raise _invalid(name, f"of dtype {found.dtype}, expected {wanted}{hint}", space)
    with np.errstate(over="ignore"):
        array = found.astype(wanted, copy=False)
    # Python's own numbers are of 64 bits here, whatever they are to become.
    if not is_typed and not np.all(array == found if both_whole else np.isinf(array) == np.isinf(found)):
        raise _invalid(name, f"{found}, which is out of bounds", space)
    return array


def _bounds(space: gymnasium.Space) -> tuple[Any, Any]:
    if isinstance(space, gym_spaces.Box):
        return space.low, space.high
    if isinstance(space, gym_spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, gym_spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return 0, 1


def _short(action: Any) -> str:
    try:
        return repr(action)
    except ValueError:  # an integer of more digits than Python will write
        return f"a {type(action).__name__} too long to show"


def _invalid(name: str, what: str, space: gymnasium.Space) -> gymnasium.error.InvalidAction:
    text = what if len(what) < 500 else f"{what[:500]}..."
    return gymnasium.error.InvalidAction(f"{name} is {text}. The action space is {space}.")
