"""`Runs`: an image of ids as runs of one id along its rows, grouped by id. What is asked of instances is asked of these.

There are far fewer runs than pixels: each instance has one a row, and a few more where others cover it.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Runs:
    """The runs of an (H, W) image, in the order of its pixels, and which of them are of wanted ids."""

    starts: np.ndarray
    """(N,) int64: index of each run's first pixel, in the flattened image. Together the runs are the whole image."""
    lengths: np.ndarray
    """(N,) int64: pixels."""
    ids: np.ndarray
    """(N,): the id of each run, of the image's dtype."""
    wanted: np.ndarray
    """(N,) bool: whether the run's id is among those that were asked for."""
    grouped: np.ndarray
    """(M,) int64: which runs are of wanted ids; grouped by id, and within a group in the order of the image."""
    groups: np.ndarray
    """(G,) int64: where each group starts in `grouped`, as `reduceat` wants it."""
    rows: np.ndarray
    """(G,) int64: which of the wanted ids each group is, ascending. Ids that are not in the image have no group."""

    def reduce(self, ufunc: np.ufunc, of_runs: np.ndarray) -> np.ndarray:
        """Reduce what each run has, (N,), to what each group has, (G,)."""
        if self.groups.size == 0:
            return of_runs[:0]
        return ufunc.reduceat(of_runs[self.grouped], self.groups)


def runs_of(ids: np.ndarray, instance_ids: np.ndarray) -> Runs:
    """Find the runs of an image.

    Args:
        ids: (H, W) integers, at least one pixel.
        instance_ids: (K,) int64, the wanted ids, each once, in any order.

    Returns:
        The runs; `rows` counts in the order of `instance_ids`.
    """
    is_start = np.empty(ids.shape, dtype=bool)
    is_start[:, 0] = True
    np.not_equal(ids[:, 1:], ids[:, :-1], out=is_start[:, 1:])
    starts = np.flatnonzero(is_start)
    run_ids = ids.ravel()[starts]
    row_of_run = _find(run_ids, instance_ids)
    wanted = row_of_run >= 0
    chosen = np.flatnonzero(wanted)
    rows = row_of_run[chosen]
    if instance_ids.size <= 2**16:
        rows = rows.astype(np.uint16)  # numpy sorts integers of 16 bits by radix, in linear time
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order].astype(np.int64)
    groups = np.flatnonzero(np.diff(sorted_rows, prepend=-1))
    return Runs(
        starts=starts,
        lengths=np.diff(starts, append=ids.size),
        ids=run_ids,
        wanted=wanted,
        grouped=chosen[order],
        groups=groups,
        rows=sorted_rows[groups],
    )


def _find(ids: np.ndarray, instance_ids: np.ndarray) -> np.ndarray:
    """Return the position of each id in `instance_ids`, (N,) int64, -1 where it is not there."""
    if instance_ids.size == 0:
        return np.full(ids.shape, -1, dtype=np.int64)
    order = np.argsort(instance_ids)
    ascending = instance_ids[order]
    values = ids.astype(np.int64)
    place = np.minimum(np.searchsorted(ascending, values), ascending.size - 1)
    return np.where(ascending[place] == values, order[place], -1)
