"""`labelled_samples`: what exports for object detection read of each sample of a recording."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, LabelError, RecordingError
from ..labels import boxes_from_ids
from ..labels.arrays import as_id_image
from .pictures import image_of
from .readable import PASSED_OVER, UNREADABLE
from .summary import ExportSummary

if TYPE_CHECKING:
    from ..recording import Recording

Progress = Callable[[int, int], None]
"""Called with how many samples are done, and how many there are."""
Keypoint = tuple[float, float, int]
"""x and y in pixels, (0, 0) the outer corner of the first one, and COCO's visibility; zeros where that is 0."""


@dataclass(frozen=True)
class LabelledSample:
    """A sample that has a picture and labels which belong together.

    Attributes:
        index: Which of the recording.
        key: Its key.
        image: (H, W, 3) or (H, W, 4) uint8.
        ids: (H, W) integers, or None.
        camera: `labels["camera"]`.
        instances: `labels["instances"]`, K rows.
        keypoints: Row of the instance to its keypoints by name.
    """

    index: int
    key: str
    image: np.ndarray
    ids: np.ndarray | None
    camera: Mapping[str, Any]
    instances: Mapping[str, Any]
    keypoints: Mapping[int, Mapping[str, Keypoint]]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.image.shape[0], self.image.shape[1]

    def visible(self) -> tuple[np.ndarray, np.ndarray]:
        """What the picture shows of each instance, by `ids` if there are any, so that it fits to masks in any case.

        Returns:
            boxes: (K, 4) float32 XYXY, pixels.
            pixels: (K,) int64.
        """
        if self.ids is None:
            return self.instances["box"], self.instances["pixels"]
        return boxes_from_ids(self.ids, self.instances["id"])


def labelled_samples(
    recording: "Recording", summary: ExportSummary, image_field: str, progress: Progress | None
) -> Iterator[LabelledSample]:
    """Read a recording sample by sample; those without picture or labels are left out and counted.

    Args:
        recording: The recording.
        summary: Counts what is left out.
        image_field: Field of the picture.
        progress: Is told after each sample.

    Yields:
        The others, in order.

    Raises:
        ConfigError: (a ValueError) There is none.
    """
    summary.leave_out(PASSED_OVER, recording.skipped)
    for text in recording.problems:
        summary.problem(text)
    total = len(recording)
    any_found = False
    for index, key in enumerate(recording.keys):
        try:
            found = labelled_sample(index, key, recording[index], image_field)
        except RecordingError as error:
            summary.leave_out(UNREADABLE)
            summary.problem(str(error))
        except LabelError as error:
            summary.leave_out("samples whose labels and images do not belong together")
            summary.problem(f"{key}: {error}")
        else:
            if isinstance(found, str):
                summary.leave_out(found)
            else:
                any_found = True
                yield found
        if progress is not None:
            progress(index + 1, total)
    if not any_found:
        raise ConfigError(
            f"none of the {total} samples can be exported: they need a picture in the field {image_field!r}, and labels. "
            f"The recording has the fields {', '.join(recording.schema)}."
        )


def labelled_sample(
    index: int, key: str, sample: Mapping[str, Any], image_field: str = "image"
) -> LabelledSample | str:
    """Take from a sample what exports need.

    Args:
        index: Which of the recording.
        key: Its key.
        sample: Its fields.
        image_field: Field of the picture.

    Returns:
        It, or why it has none, in the words of a summary.

    Raises:
        LabelError: (a ValueError) The picture is none, or has another shape than the camera or the ids.
    """
    if image_field not in sample:
        return f"samples without {image_field}"
    labels = sample.get("labels")
    if not isinstance(labels, Mapping) or "camera" not in labels or "instances" not in labels:
        return "samples without labels"
    image, ids = image_of(sample, image_field), sample.get("ids")
    expected = tuple(labels["camera"]["shape"])
    if image.shape[:2] != expected:
        raise LabelError(f"{image_field}: expected the camera's shape {expected}, got {image.shape}")
    if ids is not None and as_id_image("ids", ids).shape != expected:
        raise LabelError(f"ids: expected the camera's shape {expected}, got {ids.shape}")
    instances = labels["instances"]
    keypoints = _keypoints_by_row(labels.get("keypoints"), instances)
    return LabelledSample(index, key, image, ids, labels["camera"], instances, keypoints)


def _keypoints_by_row(table: Mapping[str, Any] | None, instances: Mapping[str, Any]) -> dict[int, dict[str, Keypoint]]:
    """Find whose each keypoint is: that of the object which shows itself; instances of instancers have none."""
    if table is None:
        return {}
    names = zip(instances["object"], instances["instancer"], strict=True)
    row_of = {name: row for row, (name, instancer) in enumerate(names) if not instancer}
    found: dict[int, dict[str, Keypoint]] = {}
    rows = zip(table["name"], table["object"], table["xy"].tolist(), table["visibility"].tolist(), strict=True)
    for name, owner, (x, y), visibility in rows:
        if owner in row_of:
            shown = visibility and math.isfinite(x) and math.isfinite(y)
            found.setdefault(row_of[owner], {})[name] = (x, y, visibility) if shown else (0.0, 0.0, 0)
    return found
