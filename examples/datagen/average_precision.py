"""Average precision of detections of one class, as COCO defines it; equal to that of pycocotools, in plain numpy.

T.-Y. Lin et al. 2014, "Microsoft COCO: Common Objects in Context", arXiv 1405.0312; https://cocodataset.org/#detection-eval
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of intersection over union
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Scene:
    """A picture's objects, and what was detected in it. Boxes are XYXY, pixels.

    Attributes:
        boxes: (K, 4) of objects to be found.
        hidden: (M, 4) of objects that may be found or not, COCO's "crowds": what is detected within one does not count.
        found: (D, 4) of detections.
        scores: (D,) of these.
    """

    boxes: np.ndarray
    hidden: np.ndarray
    found: np.ndarray
    scores: np.ndarray


def average_precision(scenes: Sequence[Scene]) -> np.ndarray:
    """Average precision at each of `THRESHOLDS`: (10,), 0 to 1. The first is AP50, their mean is COCO's AP.

    Precision is the mean over 101 recalls of the highest precision at that recall or a higher one.
    """
    scores = np.concatenate([np.sort(scene.scores)[::-1] for scene in scenes])
    order = np.argsort(-scores, kind="stable")
    total = sum(len(scene.boxes) for scene in scenes)
    results = []
    for threshold in THRESHOLDS:
        hit, counts = (
            np.concatenate(parts)[order] for parts in zip(*(_match(s, threshold) for s in scenes), strict=True)
        )
        true, false = np.cumsum(hit & counts), np.cumsum(~hit & counts)
        recall = true / max(total, 1)
        precision = true / np.maximum(true + false, 1)
        highest = np.append(
            np.maximum.accumulate(precision[::-1])[::-1], 0
        )  # at this recall and above; 0 beyond the last
        results.append(highest[np.searchsorted(recall, _RECALLS)].mean())
    return np.array(results)


def _match(scene: Scene, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """For each detection, the best first, whether it is that of an object, and whether it counts."""
    found = scene.found[np.argsort(-scene.scores, kind="stable")]
    overlap, area = _overlap(found, scene.boxes), _area(found)
    iou = overlap / np.maximum(area[:, None] + _area(scene.boxes) - overlap, 1e-9)
    in_hidden = (_overlap(found, scene.hidden) / np.maximum(area[:, None], 1e-9) >= threshold).any(axis=1)
    free = np.ones(len(scene.boxes), bool)
    hit = np.zeros(len(found), bool)
    for i in range(len(found)):
        candidates = np.where(free, iou[i], 0)
        if len(candidates) and candidates.max() >= threshold:
            hit[i], free[candidates.argmax()] = True, False
    return hit, hit | ~in_hidden


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Areas that each box (D, 4) shares with each other one (K, 4): (D, K)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)
