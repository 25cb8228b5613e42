"""Which samples are for training, and which are held back: by their keys alone."""

import hashlib
import math
import re
from collections.abc import Mapping

from ..errors import ConfigError

SPLITS: Mapping[str, float] = {"train": 0.9, "val": 0.1}
"""The usual parts."""

_ADDRESS = re.compile(r"((?:r[0-9]+-)?[0-9]+)-s?[0-9]+")  # keys of recordings, of merged ones, too
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SUM_TOLERANCE = 1e-6


def episode_of(key: str) -> str:
    """The part of a sample's key that all samples of its episode share.

    Args:
        key: As in `Recording.keys`: an address INDEX-RANK, such as "000000007-0002", or a name that the user gave.

    Returns:
        INDEX of an address; a name as it is: nothing is known of what belongs to it.
    """
    address = _ADDRESS.fullmatch(key)
    return address[1] if address else key


def split_of(key: str, fractions: Mapping[str, float] = SPLITS) -> str:
    """The split that a sample belongs to.

    Samples of one episode, whose pictures are nearly equal, are in the same one. It depends on the key alone, not on the
    order or the number of samples: a recording that grows keeps the splits of what it had. The first bits of the SHA-256 of
    the episode are a number in [0, 1) as good as random; the fractions divide [0, 1) in the order given. So a split has
    its share of many episodes, not of few.

    Args:
        key: Of the sample.
        fractions: Name of each split to its share, 0 to 1, which sum to 1.

    Raises:
        ConfigError: (a ValueError) The fractions are no such thing.
    """
    checked_fractions(fractions)
    digest = hashlib.sha256(episode_of(key).encode()).digest()
    # 53 bits are what a float holds: 64 would round up to 1.0 now and then.
    place = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    upper = 0.0
    last = ""
    for name, fraction in fractions.items():
        upper += fraction
        if fraction > 0.0:
            last = name
            if place < upper:
                return name
    return last  # the sum is a little below 1


def checked_fractions(fractions: Mapping[str, float]) -> dict[str, float]:
    """Check names and shares of splits, before anything is written.

    Args:
        fractions: Name of each split, which becomes the name of files and folders, to its share.

    Returns:
        They as a dict.

    Raises:
        ConfigError: (a ValueError) There are none, a name is none for a file, a share is not from 0 to 1, the sum is not 1.
    """
    if not isinstance(fractions, Mapping) or not fractions:
        raise ConfigError(f'splits: expected shares such as {{"train": 0.9, "val": 0.1}}, got {fractions!r}')
    for name, fraction in fractions.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(f"splits: expected names of letters, digits, '_', '-' and '.', got {name!r}")
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0.0 <= fraction <= 1.0:
            raise ConfigError(f"splits: expected a share from 0 to 1 for {name!r}, got {fraction!r}")
    total = math.fsum(fractions.values())
    if abs(total - 1.0) > _SUM_TOLERANCE:
        raise ConfigError(f"splits: expected shares that sum to 1, got {dict(fractions)!r}, which sum to {total:g}")
    return dict(fractions)
