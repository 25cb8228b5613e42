"""Ids from Cryptomatte passes, in plain numpy (no bpy here).

Source: Friedman and Jones, "Fully automatic ID mattes with support for motion blur and transparency" (Siggraph 2015), and
the Cryptomatte specification 1.2.0 (github.com/Psyop/Cryptomatte): ids are MurmurHash3_32 of names in UTF-8, taken as the
bits of a float32 that is neither denormal nor infinite nor NaN.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

_MASK = 0xFFFFFFFF


def murmur3_32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3_x86_32 (Austin Appleby, public domain)."""
    value = seed
    blocks = len(data) // 4 * 4
    for start in range(0, blocks, 4):
        value ^= _mix(int.from_bytes(data[start : start + 4], "little"))
        value = (_rotate(value, 13) * 5 + 0xE6546B64) & _MASK
    # A tail of no bytes mixes to 0.
    value ^= _mix(int.from_bytes(data[blocks:], "little")) ^ len(data)
    value = ((value ^ value >> 16) * 0x85EBCA6B) & _MASK
    value = ((value ^ value >> 13) * 0xC2B2AE35) & _MASK
    return value ^ value >> 16


def _mix(block: int) -> int:
    return _rotate(block * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _MASK


@lru_cache(maxsize=65536)
def matte_bits(name: str) -> int:
    """The bits of the float32 that stands for a name: its hash, the exponent limited to 1 .. 254."""
    value = murmur3_32(name.encode())
    exponent = min(max(value >> 23 & 0xFF, 1), 254)
    return value & 0x807FFFFF | exponent << 23


def dominant_bits(ranks: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What covers most of each pixel.

    Args:
        ranks: Pairs of ids and coverages, H x W float32 each, of all ranks of the passes (their channels r and g, b and a).

    Returns:
        H x W uint32, the bits of the id (see `matte_bits`), 0 where background covers most.
    """
    # Few pixels show more than two things, if any.
    ranks = [*ranks[:1], *(rank for rank in ranks[1:] if rank[1].any())]
    bits = [np.ascontiguousarray(ids, np.float32).view(np.uint32) for ids, _ in ranks]
    # EEVEE counts background as an id of its own, 0; Cycles leaves it out of the sum.
    weights = [np.where(own != 0, coverage, 0.0) for own, (_, coverage) in zip(bits, ranks, strict=True)]
    best_bits, best, total = bits[0], weights[0], weights[0]
    for own, weight in zip(bits[1:], weights[1:], strict=True):
        best_bits = np.where(weight > best, own, best_bits)
        best = np.maximum(weight, best)
        total = total + weight
    return np.where(best >= 1.0 - total, best_bits, np.uint32(0))


def number_ids(bits: np.ndarray, names: Iterable[str]) -> tuple[np.ndarray, dict[int, str], set[int]]:
    """Ids 1, 2, ... in order of name, instead of hashes.

    Args:
        bits: H x W uint32, of `dominant_bits`.
        names: All that may be seen. Things of the same name are one.

    Returns:
        ids: H x W uint32; 0 where the bits are 0, or those of no name.
        names_by_id: All names, seen or not.
        unknown: Bits other than 0 that are those of no name.
    """
    names_by_id = dict(enumerate(sorted(set(names)), 1))
    ids_by_bits = {matte_bits(name): number for number, name in names_by_id.items()}
    # Pictures of ids are runs of equal pixels, which are far fewer: sorting all pixels would take ten times as long.
    flat = bits.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    seen, inverse = np.unique(flat[starts], return_inverse=True)
    numbers = np.array([ids_by_bits.get(int(value), 0) for value in seen], np.uint32)
    unknown = {int(value) for value in seen if value and int(value) not in ids_by_bits}
    ids = np.repeat(numbers[inverse], np.diff(starts, append=flat.size)).reshape(bits.shape)
    return ids, names_by_id, unknown
