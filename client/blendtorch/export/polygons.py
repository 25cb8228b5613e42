"""`outline`: a mask as one closed polygon, as programs that know no other masks want it."""

from types import ModuleType

import numpy as np

from .missing import need

INSET_PX = 0.01
"""How far polygons keep inside of the pixels' outer edges; see `rings_of`."""

_PAIRS = 1 << 22
"""Distances between points that are computed for a bridge, at most: 64 MB."""
_PAIRS_OF_ALL = 1 << 26
"""Those for all bridges of a mask together, about: two seconds for foliage of thousands of parts."""


def contour_library() -> ModuleType:
    """contourpy, which traces masks.

    Raises:
        ConfigError: (a ValueError) It is not installed.
    """
    return need("contourpy", extra="export")


def outline(mask: np.ndarray) -> np.ndarray:
    """Draw round a mask, all its parts and holes included, in one closed line.

    Parts and holes are joined by bridges: there and back at the place where the next one is nearest to those before, as
    Ultralytics joins parts (`merge_multi_segment` in ultralytics/data/converter.py). A bridge has no area. By the rule of
    even and odd, by which all of them are filled, holes stay holes; programs that draw the outline, too, as OpenCV's
    `fillPoly` does, draw bridges between parts a pixel wide.

    Args:
        mask: (H, W) bool, at least one pixel.

    Returns:
        (N, 2) float64 x, y in pixels, (0, 0) the outer corner of the upper left pixel. The first point is not repeated.
    """
    joined, *others = (ring for part in rings_of(mask) for ring in part)
    pairs = min(_PAIRS, _PAIRS_OF_ALL // max(len(others), 1))
    for ring in others:
        i, j = _nearest(joined, ring, pairs)
        there_and_back = [joined[: i + 1], ring[j:], ring[: j + 1], joined[i:]]
        joined = np.concatenate(there_and_back)
    return joined


def rings_of(mask: np.ndarray) -> list[list[np.ndarray]]:
    """Trace the outlines of a mask along the edges of its pixels, `INSET_PX` inside of them.

    Pixels that share a corner alone are apart. Without the inset, a program that rounds coordinates down and fills with
    the outline included, as Ultralytics does (`polygon2mask` in ultralytics/data/utils.py), would draw the pixels beyond
    the right and the lower edges, too. With it, the pixels that the line passes are the mask's own, wherever points are
    put between these, and the box is the mask's up to the inset.

    Args:
        mask: (H, W) bool, at least one pixel.

    Returns:
        For each part of the mask its rings: the outer one, then its holes. Each (N, 2) float64 x, y in pixels, (0, 0) the
        outer corner of the upper left pixel, a point for each corner; the first one is not repeated.
    """
    library = contour_library()
    padded = np.pad(mask, 1)
    # Marching squares at 1/2: a point in the middle of each edge between a pixel of the mask and one that is not.
    generator = library.contour_generator(
        z=padded.astype(np.float64), name="serial", fill_type=library.FillType.OuterOffset
    )
    points_of_parts, offsets_of_parts = generator.filled(0.5, 2.0)
    parts = []
    for points, offsets in zip(points_of_parts, offsets_of_parts, strict=True):
        # contourpy's 0 is the centre of the first pixel, which is one of the padding.
        rings = np.split(points - 0.5, offsets[1:-1].tolist())
        parts.append([_corners(ring[:-1], padded) for ring in rings])
    return parts


def _corners(middles: np.ndarray, padded: np.ndarray) -> np.ndarray:
    """Find the corners of an outline from the middles of its edges, moved towards the mask."""
    x, y = middles.T
    upright = x == np.floor(x)  # the edge is, and so x is a whole number and y is not
    column, row = np.floor(x).astype(int) + 1, np.floor(y).astype(int) + 1  # of the pixel to the right or below, padded
    inwards = np.where(padded[row, column], INSET_PX, -INSET_PX)
    line = np.where(upright, x, y) + inwards  # the x of upright edges, the y of level ones
    following, next_line = np.roll(upright, -1), np.roll(line, -1)
    turns = upright != following
    corner_x, corner_y = np.where(upright, line, next_line), np.where(upright, next_line, line)
    return np.stack([corner_x[turns], corner_y[turns]], axis=1)


def _nearest(a: np.ndarray, b: np.ndarray, pairs: int) -> tuple[int, int]:
    """Find which points of two lines are nearest to each other; nearly, where there are more than so many pairs."""
    stride = 1 + len(a) * len(b) // pairs
    squares = ((a[::stride, None] - b[None]) ** 2).sum(axis=-1)
    i, j = np.unravel_index(squares.argmin(), squares.shape)
    return int(i) * stride, int(j)
