"""What environments return, and how it is told from something else."""

from typing import Any

from ...errors import ConfigError
from ...wire.spaces import Space, Tuple, short


def has_info(space: Space, found: Any) -> bool:
    """Whether what `reset` has returned is an observation and an info, and not just an observation.

    Where observations are tuples themselves, the first of the two has to be one.
    """
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict | list)):
        return False
    return not isinstance(space, Tuple) or isinstance(found[0], tuple)


def name_of(env: Any) -> str:
    """What messages call an environment: the class that the user has written."""
    return type(getattr(env, "_single", env)).__name__


def parts_of(result: Any, name: str, expected: str) -> tuple:
    """What `step` has returned: the observation, reward, terminated, truncated, and, if there is one, the info.

    Raises:
        ConfigError: It is something else; `expected` says what it should be.
    """
    if not isinstance(result, tuple) or len(result) not in (4, 5):
        raise ConfigError(
            f"{name}.step returned {type(result).__name__} {short(result)}, expected a tuple of {expected}."
        )
    return result
