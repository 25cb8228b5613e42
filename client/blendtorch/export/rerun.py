"""Rerun (rerun.io): a recording, or samples as they come, to look at: pictures, boxes, depth in space, the camera.

Rerun's own conventions, from its documentation (rerun-sdk 0.41, `rerun.archetypes`) and its shaders:

- 2D coordinates are ours: an image of width W reaches from x = 0 to x = W. What is in front of a `Pinhole` is projected
  into them by its `image_from_camera`, axes RDF (right, down, forward), which are OpenCV's. So K goes there as it is.
- The cloud of a `DepthImage` is made of pixel *indices*: `(index - offset) * depth / focal_length` (re_renderer,
  depth_cloud.wgsl), so the middle of the first pixel is 0 there, as in OpenCV. Depth gets a `Pinhole` of its own therefore,
  whose principal point is less by half a pixel; with K itself, the cloud would be off by as much.
- Depth is shown where 0 < depth < largest float32 (same place). Background becomes 0.
- Class ids have 16 bits. A picture with larger ids has the ids that it shows numbered anew.
- The latest value of a component stays until there is another one. Each sample clears what the one before has shown.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .classes import class_names
from .missing import need
from .readable import readable_samples
from .rerun_sample import DEPTH, IMAGE, IMAGES, PLOTS, WORLD, camera_of, entity_of, intrinsics_of, kind_of, log_sample
from .summary import ExportSummary
from .target import new_file, new_folder

if TYPE_CHECKING:
    import rerun as rr

    from ..recording import Recording

FILE = "recording.rrd"
"""What the exported file is called in its folder."""

_APPLICATION = "blendtorch"  # recordings of one application share the arrangement of views that its user has made
_VIEWER_FLUSH_S = 10.0


def export_rerun(
    recording: "Recording",
    folder: str | os.PathLike,
    *,
    classes: Mapping[int, str] | None = None,
    jpeg_quality: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write a recording for Rerun's viewer, with the arrangement of its views: one file, opened by `rerun FILE`.

    The file is about as large as the recording. To look at a part of it, export a part: `recording[::100]`.

    Args:
        recording: What to show.
        folder: A new folder, for "recording.rrd" in it; or the new file itself, if it ends with ".rrd".
        classes: Class ids to names; by default those in the recording's metadata.
        jpeg_quality: 1 to 100 stores pictures with loss, in a tenth of the space or so. None stores them as they are.
        progress: Called with how many samples are done, and how many there are.

    Returns:
        What was written, and which fields Rerun cannot show.

    Raises:
        ConfigError: (a ValueError) The target exists, the recording is empty, or rerun-sdk is not installed.
    """
    need("rerun", extra="view")
    if not len(recording):
        raise ConfigError("the recording has no samples: there is nothing to look at.")
    names = class_names(recording.metadata) if classes is None else classes
    summary = ExportSummary("Rerun", Path(folder), {"samples": 0})
    with _new_rrd(folder) as file, RerunLog(Path(folder).stem, classes=names, jpeg_quality=jpeg_quality) as rerun_log:
        rerun_log.save(file)
        for _, sample in readable_samples(recording, summary, progress):
            for field in rerun_log.log(sample):
                summary.leave_out(f"fields {field}, which Rerun cannot show")
            if "distortion" in camera_of(sample):
                summary.problem(
                    "pictures have lens distortion; depth in space and 3D boxes are those of a pinhole camera"
                )
            summary.count("samples")
    return summary


class RerunLog:
    """Samples one after the other into a file or a viewer. A context manager; `close` ends the file.

    Args:
        name: What the viewer calls it.
        classes: Class ids to names.
        jpeg_quality: As in `export_rerun`.

    Raises:
        ConfigError: (a ValueError) rerun-sdk is not installed; the quality is out of range.

    Attributes:
        stream: The `rerun.RecordingStream`, for what else is to be logged.
        samples: How many samples were logged.
    """

    def __init__(self, name: str, *, classes: Mapping[int, str] | None = None, jpeg_quality: int | None = None) -> None:
        rerun = need("rerun", extra="view")
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
            raise ConfigError(f"jpeg_quality is {jpeg_quality}, expected 1 to 100, or None for pictures as they are.")
        self.stream: rr.RecordingStream = rerun.RecordingStream(_APPLICATION)
        self.samples = 0
        self._name = name
        self._classes = classes or {}
        self._jpeg_quality = jpeg_quality
        self._shown: set[str] = set()
        self._flush_s = math.inf

    def save(self, file: str | os.PathLike) -> None:
        """Writes what is logged from now on to a file."""
        self.stream.save(os.fspath(file))

    def connect(self, url: str) -> None:
        """Sends what is logged from now on to a viewer, such as "rerun+http://127.0.0.1:9876/proxy"."""
        self.stream.connect_grpc(url)
        self._flush_s = _VIEWER_FLUSH_S

    def log(self, sample: Mapping[str, Any]) -> list[str]:
        """Logs a sample in the place `samples`; returns the names of arrays that Rerun cannot show.

        Raises:
            As `log_sample`.
        """
        if not self.samples:
            self.stream.send_recording_name(self._name)
            self.stream.log(WORLD, need("rerun", extra="view").ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
            self.stream.send_blueprint(blueprint(sample))
        options: dict[str, Any] = {"classes": self._classes, "jpeg_quality": self._jpeg_quality}
        left_out = log_sample(self.stream, sample, place=self.samples, shown=self._shown, **options)
        self.samples += 1
        return left_out

    def close(self) -> None:
        """Ends the file, or the connection; all that was logged is in it.

        Raises:
            RuntimeError: The viewer is gone or does not answer, or the disk is full.
        """
        try:
            self.stream.flush(timeout_sec=self._flush_s)
        finally:
            self.stream.disconnect()

    def __enter__(self) -> "RerunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def blueprint(sample: Mapping[str, Any]) -> Any:
    """The arrangement of views for what a sample has: its picture with boxes, the space, other images, plots.

    Returns:
        A `rerun.blueprint.Blueprint`.
    """
    need("rerun", extra="view")
    import rerun.blueprint as rrb

    kinds = {field: kind_of(field, value) for field, value in sample.items()}
    images = {field: entity_of(field) for field, kind in kinds.items() if kind in IMAGES}
    main: list[Any] = []
    # Ids would cover the picture, in the image and in space.
    without = [f"- /{entity}/**" for field, entity in images.items() if kinds[field] == "ids"]
    if images or "boxes" in sample:
        main.append(rrb.Spatial2DView(origin=IMAGE, contents=["+ $origin/**", *without], name="picture"))
    if camera_of(sample):
        if intrinsics_of(sample) is None:  # the images of such a camera have no place in space
            without = [f"- /{IMAGE}/**", f"- /{DEPTH}/**"]
        main.append(rrb.Spatial3DView(origin=WORLD, contents=["+ $origin/**", *without], name="space"))
    others: list[Any] = [
        rrb.Spatial2DView(origin=place, name=field) for field, place in images.items() if place != IMAGE
    ]
    others.append(rrb.TimeSeriesView(origin=PLOTS, name="numbers"))
    rows = [rrb.Horizontal(*views) for views in (main, others) if views]
    time = rrb.TimePanel(timeline="sample", state="collapsed")
    return rrb.Blueprint(rrb.Vertical(*rows, row_shares=[2, 1][-len(rows) :]), time, collapse_panels=True)


@contextmanager
def _new_rrd(target: str | os.PathLike) -> Iterator[Path]:
    if Path(target).suffix == ".rrd":
        with new_file(target) as file:
            yield file
    else:
        with new_folder(target) as folder:
            yield folder / FILE
