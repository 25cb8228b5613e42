"""Whether boxes and pixel counts are those of the image of ids, and depth goes with both."""

import numpy as np

from ..boxes import boxes_of_runs
from ..runs import Runs
from ..tolerance import DepthTolerance
from .reasons import Reasons
from .tables import Table


def check_ids_of_table(table: Table, reasons: Reasons) -> bool:
    """Report ids that are 0, are there twice or are out of order; return whether each is there once."""
    ids = table["id"]
    reasons.add_rows("id", ids == 0, lambda row: f"row {row} has id 0, which is the background, expected 1 or more")
    steps = np.diff(ids.astype(np.int64), prepend=-1)
    reasons.add_rows(
        "id", steps < 0, lambda row: f"{table.name(row)} comes after id {ids[row - 1]}, expected rows ordered by id"
    )
    distinct, counts = np.unique(ids, return_counts=True)
    twice = counts > 1
    reasons.add_rows("id", twice, lambda row: f"id {distinct[row]} has {counts[row]} rows, expected one")
    return not twice.any()


def check_mask(table: Table, ids: np.ndarray, runs: Runs, reasons: Reasons) -> None:
    """Compare boxes and pixel counts with the image of ids.

    Args:
        table: Instances.
        ids: (H, W) uint32.
        runs: Those of `ids` and the table's ids.
        reasons: Gets what is wrong.
    """
    stray = ~runs.wanted & (runs.ids != 0)
    if stray.any():
        strangers, which = np.unique(runs.ids[stray], return_inverse=True)
        counts = np.bincount(which.ravel(), weights=runs.lengths[stray])
        reasons.add_rows(
            "ids",
            np.ones(len(strangers), dtype=bool),
            lambda row: f"id {strangers[row]} has {counts[row]:.0f} pixels, expected a row in instances",
        )
    boxes, pixels = boxes_of_runs(runs, ids.shape[1], len(table["id"]))
    if table.has("pixels"):
        seen = table["pixels"]
        reasons.add_rows(
            "pixels",
            seen != pixels,
            lambda row: f"{table.name(row)}: pixels is {seen[row]}, expected {pixels[row]} as in ids",
        )
    if table.has("box"):
        reasons.add_rows(
            "box",
            (table["box"] != boxes).any(axis=1),
            lambda row: (
                f"{table.name(row)}: box is {numbers(table['box'][row])}, expected that of its "
                f"{pixels[row]} pixels, {numbers(boxes[row])}"
            ),
        )


def check_depth(ids: np.ndarray | None, depth: np.ndarray, reasons: Reasons) -> None:
    """Report depth that is no depth, and pixels that have an id without a depth or the other way round.

    Args:
        ids: (H, W) uint32, or None.
        depth: (H, W) float32 metres.
        reasons: Gets what is wrong.
    """
    bad = ~(depth > 0.0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        reasons.add(
            "depth",
            f"{np.count_nonzero(bad)} pixels, the first in row {row}, column {column}, have depth "
            f"{depth[row, column]:g}, expected above 0, or inf for the background",
        )
    if ids is None:
        return
    something, finite = ids != 0, np.isfinite(depth)
    for wrong, seen, expected in (
        (something & ~finite & ~bad, "an id and no finite depth", "a finite depth"),
        (~something & finite & ~bad, "id 0 and a finite depth", "depth inf, that of the background"),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            reasons.add(
                "depth",
                f"{np.count_nonzero(wrong)} pixels have {seen}, the first in row {row}, column {column}: "
                f"id {ids[row, column]}, depth {depth[row, column]:g}, expected {expected}",
            )


def check_depth_range(
    table: Table,
    runs: Runs,
    depth: np.ndarray,
    corners_depth_m: np.ndarray,
    tolerance: DepthTolerance,
    reasons: Reasons,
) -> None:
    """Report instances whose pixels are nearer than their 3D box, or farther.

    Args:
        table: Instances.
        runs: Those of the image of ids.
        depth: (H, W) float32 metres.
        corners_depth_m: (K, 8) depth of the corners of the 3D boxes, metres.
        tolerance: How far beyond the box depth may be.
        reasons: Gets what is wrong.
    """
    flat = depth.ravel()
    nearest = runs.reduce(np.minimum, np.minimum.reduceat(flat, runs.starts))
    farthest = runs.reduce(np.maximum, np.maximum.reduceat(flat, runs.starts))
    box_nearest, box_farthest = corners_depth_m[runs.rows].min(axis=1), corners_depth_m[runs.rows].max(axis=1)
    before = tolerance.in_front(nearest, box_nearest)
    behind = tolerance.in_front(box_farthest, farthest) & np.isfinite(farthest)  # infinite is reported elsewhere
    reasons.add_rows(
        "depth",
        before | behind,
        lambda group: (
            f"{table.name(int(runs.rows[group]))}: its pixels have depth {nearest[group]:.4g} to "
            f"{farthest[group]:.4g} m, expected within its 3D box, {box_nearest[group]:.4g} to {box_farthest[group]:.4g} m"
        ),
    )


def numbers(values: np.ndarray) -> str:
    """Write a few numbers: [1.5, 2, nan]."""
    return f"[{', '.join(f'{value:.6g}' for value in np.ravel(values))}]"
