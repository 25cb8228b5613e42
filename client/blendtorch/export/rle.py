"""COCO's run lengths of masks, for all instances of an image of ids at once."""

import numpy as np

from ..labels.runs import runs_of

_BITS = 5  # of a number are in one character
_CONTINUES = 1 << _BITS
_SIGN = 1 << (_BITS - 1)
_FIRST_CHARACTER = 48


def rles_of(ids: np.ndarray, instance_ids: np.ndarray) -> list[str]:
    """Encode the pixels of each instance, as `pycocotools.mask.encode` does it with a mask of each.

    Args:
        ids: (H, W) integers.
        instance_ids: (K,) int64, each once.

    Returns:
        K texts, the entry "counts" of `{"size": [H, W], "counts": ...}`; "" for an id that is not in the image.
    """
    counts = [""] * len(instance_ids)
    # COCO goes down the columns, runs along the rows.
    runs = runs_of(np.ascontiguousarray(ids.T), instance_ids)
    for row, group in zip(runs.rows.tolist(), np.split(runs.grouped, runs.groups[1:]), strict=False):
        starts, lengths = runs.starts[group], runs.lengths[group]
        counts[row] = compressed(counts_of(starts, starts + lengths, ids.size))
    return counts


def counts_of(starts: np.ndarray, ends: np.ndarray, size: int) -> np.ndarray:
    """Turn runs of ones into COCO's counts: zeros, ones, zeros, ... in turn, beginning with zeros, if only 0 of them.

    Args:
        starts: (N,) int64, ascending, at least one: index of the first pixel of each run, along the columns.
        ends: (N,) int64: index behind its last one. A run may begin where the one before ends, at the top of a column.
        size: Pixels of the image.

    Returns:
        (M,) int64, with the sum `size`. None but the first is 0.
    """
    apart = starts[1:] > ends[:-1]
    borders = np.empty(2 * (1 + np.count_nonzero(apart)), np.int64)
    borders[0::2] = np.concatenate([starts[:1], starts[1:][apart]])
    borders[1::2] = np.concatenate([ends[:-1][apart], ends[-1:]])
    counts = np.diff(borders, prepend=0, append=size)
    return counts if counts[-1] else counts[:-1]


def compressed(counts: np.ndarray) -> str:
    """Write counts as a text.

    From the fourth on, what is written is the difference to the count before the last: those of rows of an upright edge are
    nearly equal. Numbers go in groups of 5 bits, the lowest first, in characters from "0" on; bit 6 says that more follow,
    and the highest bit of the last group is the sign (`rleToString` in common/maskApi.c of github.com/cocodataset/cocoapi).

    Args:
        counts: (M,) int64.

    Returns:
        ASCII.
    """
    rest = counts.astype(np.int64)
    rest[3:] -= counts[1:-2]
    groups, used = [], []
    unfinished = np.ones(len(rest), bool)
    while unfinished.any():
        group = rest & (_CONTINUES - 1)
        rest >>= _BITS  # keeps the sign
        used.append(unfinished)
        unfinished = unfinished & np.where(group & _SIGN, rest != -1, rest != 0)
        groups.append(group + _CONTINUES * unfinished + _FIRST_CHARACTER)
    characters = np.stack(groups, axis=1)[np.stack(used, axis=1)]
    return characters.astype(np.uint8).tobytes().decode("ascii")
