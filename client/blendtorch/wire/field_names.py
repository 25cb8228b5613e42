"""The names that fields of a sample may have."""

from collections.abc import Iterable

from ..errors import ConfigError

_TAKEN = frozenset(("btid", "btepoch", "btseq", "btindex"))  # every sample that is received or recorded carries these


def check_field_names(names: Iterable[str]) -> None:
    """Raises ConfigError when a field is called as one of those that every sample carries."""
    if taken := sorted(_TAKEN.intersection(names)):
        raise ConfigError(f"the field name {taken[0]!r} is taken: every sample carries it already. Choose another.")
