"""`boxes_from_ids`: tight boxes and pixel counts of instances, from an image of ids."""

import numpy as np
from numpy.typing import ArrayLike

from .arrays import as_id_image, as_id_list
from .runs import Runs, runs_of


def boxes_from_ids(ids: ArrayLike, instance_ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Find the tight box and the number of pixels of each wanted id.

    Boxes are XYXY in continuous pixel coordinates, whose (0, 0) is the outer corner of the upper left pixel: a single
    pixel in row r and column c has the box (c, r, c + 1, r + 1), so that width is x2 - x1.

    Args:
        ids: (H, W) uint32 image of ids; other integers will do.
        instance_ids: (K,) wanted ids, 0 to 2^32 - 1, each once, in any order. Other ids of the image are passed over.

    Returns:
        boxes: (K, 4) float32, pixels, in the order of `instance_ids`; zeros for an id that is not in the image.
        pixels: (K,) int64, how many pixels have that id.

    Raises:
        ConfigError: (a ValueError) `ids` is no image of integers, or `instance_ids` is no row of distinct ids.
    """
    image = as_id_image("ids", ids)
    wanted = as_id_list("instance_ids", instance_ids)
    return boxes_of_runs(runs_of(image, wanted), image.shape[1], wanted.size)


def boxes_of_runs(runs: Runs, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Do what `boxes_from_ids` does, with the runs of an image of that width and the number K of wanted ids."""
    boxes = np.zeros((count, 4), dtype=np.float32)
    pixels = np.zeros(count, dtype=np.int64)
    row, column = np.divmod(runs.starts, width)
    boxes[runs.rows, 0] = runs.reduce(np.minimum, column)
    boxes[runs.rows, 1] = runs.reduce(np.minimum, row)
    boxes[runs.rows, 2] = runs.reduce(np.maximum, column + runs.lengths)
    boxes[runs.rows, 3] = runs.reduce(np.maximum, row) + 1
    pixels[runs.rows] = runs.reduce(np.add, runs.lengths)
    return boxes, pixels
