"""What environments return, and how it is told from something else."""

from typing import Any

from ...wire.spaces import Space, Tuple


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


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}..."
