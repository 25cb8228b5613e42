"""Video (.mp4): the pictures of a recording one after the other, to look at and to show.

H.264 where the library can write it, else MPEG-4 part 2; both in yuv420p, which every player reads. Colours: sRGB becomes
Y'CbCr by the matrix of ITU-R BT.709, in limited range (luma 16 to 235), and the file says so by the numbers of ITU-T H.273:
primaries 1 (BT.709, which are sRGB's), transfer 13 (sRGB), matrix 1. FFmpeg itself would take the matrix of BT.601 and say
nothing; players that take BT.709 then show other greens and reds.
"""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..errors import ConfigError, RecordingError
from .classes import class_names
from .missing import need
from .pictures import image_of
from .readable import PASSED_OVER, UNREADABLE
from .splits import episode_of
from .summary import ExportSummary
from .target import new_file, new_folder

if TYPE_CHECKING:
    from ..recording import Recording

Codec = Literal["h264", "mpeg4"]

_PLACE = re.compile(r"(?:r([0-9]+)-)?([0-9]+)-s?([0-9]+)")
FILE = "video.mp4"
"""What the exported file is called in its folder."""

_QUALITY = {"h264": {"crf": "18"}, "mpeg4": {"qmin": "2", "qmax": "4"}}  # both near to what one sees no loss in
_BT709, _SRGB_TRANSFER, _LIMITED, _FULL = 1, 13, 1, 2  # H.273, and FFmpeg's AVColorRange
_LARGEST_DENOMINATOR = 1001  # of frames per second: 30000/1001 is television's


def export_video(
    recording: "Recording",
    folder: str | os.PathLike,
    *,
    fps: float = 30.0,
    field: str = "image",
    annotate: bool = False,
    classes: Mapping[int, str] | None = None,
    per_episode: bool = False,
    scale: int = 1,
    codec: Codec | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write the pictures of a recording as a video, in the order of their addresses: episode after episode.

    (Samples that have names instead of addresses stay in the order of the recording.) Alpha is left out. yuv420p has even
    sizes: of an odd number of rows or columns the last one is repeated.

    Args:
        recording: What to show. Samples without the field are left out.
        folder: A new folder, for "video.mp4" in it; or the new file itself, if it ends with ".mp4".
        fps: Pictures a second.
        field: Which one, H x W x 3 or 4 uint8 sRGB.
        annotate: Whether labels are drawn on, as by `btt.annotate`.
        classes: Class ids to names, for that; by default those in the recording's metadata.
        per_episode: Writes a file for each episode into the folder, "000000007.mp4", instead of one for all.
        scale: Makes pictures so many times larger, without smoothing, for small ones.
        codec: "h264" or "mpeg4"; by default h264 where it can be written.
        progress: Called with how many samples are done, and how many there are.

    Returns:
        What was written.

    Raises:
        ConfigError: (a ValueError) The target exists, no sample has the field, the size changes within a file, an option is
            out of range, or PyAV is not installed.
        LabelError: (a ValueError) The field is no picture.
    """
    need("av", extra="export")
    if not 0 < fps < 1000 or scale < 1:
        raise ConfigError(
            f"fps is {fps} and scale {scale}, expected fps above 0 and below 1000, and a scale of 1 or more."
        )
    name = _writable(codec)
    draw = _drawing(field, annotate, class_names(recording.metadata) if classes is None else classes, scale)
    summary = ExportSummary("Video", Path(folder), {"pictures": 0})
    summary.leave_out(PASSED_OVER, recording.skipped)
    for text in recording.problems:
        summary.problem(text)
    order = _order(recording.keys, per_episode)
    with _target(folder, per_episode) as target:
        film: _Film | None = None
        try:
            for done, place in enumerate(order):
                key = recording.keys[place]
                try:
                    sample = recording[place]
                except RecordingError as error:
                    summary.leave_out(UNREADABLE)
                    summary.problem(str(error))
                    continue
                if field in sample:
                    file = target / f"{episode_of(key)}.mp4" if per_episode else _single(target)
                    if film is None or film.file != file:
                        if film is not None:
                            film.close()
                        film = _Film(file, name, Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR))
                        summary.count("files")
                    film.add(draw(sample), key)
                    summary.count("pictures")
                else:
                    summary.leave_out(f"samples without {field}")
                if progress is not None:
                    progress(done + 1, len(order))
        finally:
            if film is not None:
                film.close()
        if film is None:
            raise ConfigError(f"none of the {len(order)} samples has the field {field!r}: there is nothing to show.")
    return summary


class _Film:
    """One file that is being written."""

    def __init__(self, file: Path, codec: Codec, rate: Fraction) -> None:
        import av

        self.file = file
        # faststart: what tells where things are comes first, so that a browser shows the video while it loads.
        self._container = av.open(str(file), "w", format="mp4", options={"movflags": "faststart"})
        self._stream: Any = self._container.add_stream(codec, rate=rate, options=_QUALITY[codec])
        self._shape: tuple[int, ...] | None = None

    def add(self, picture: np.ndarray, key: str) -> None:
        """Appends a picture, (H, W, 3) uint8."""
        import av

        if self._shape is None:
            self._begin(picture.shape)
        elif picture.shape != self._shape:
            raise ConfigError(
                f"the picture of sample {key} is {_size(picture.shape)}, those before are {_size(self._shape)}; a video "
                "has one size. Export slices of one size each, or per_episode=True where only episodes differ."
            )
        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        # Without these FFmpeg takes the matrix of BT.601, whatever the file says.
        frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, src_color_range=_FULL, dst_color_range=_LIMITED)
        self._container.mux(self._stream.encode(frame))

    def _begin(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        context = self._stream.codec_context
        context.height, context.width, context.pix_fmt = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2, "yuv420p"
        context.color_range, context.colorspace = _LIMITED, _BT709
        context.color_primaries, context.color_trc = _BT709, _SRGB_TRANSFER

    def close(self) -> None:
        """Ends the file."""
        try:
            if self._shape is not None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _writable(codec: Codec | None) -> Codec:
    """The codec that is asked for, or the best one that this PyAV can write."""
    import av

    if codec is not None and codec not in get_args(Codec):
        raise ConfigError(f"codec is {codec!r}, expected one of {', '.join(get_args(Codec))}.")
    wanted: tuple[Codec, ...] = get_args(Codec) if codec is None else (codec,)
    for name in wanted:
        try:
            av.Codec(name, "w")
        except ValueError:  # av's UnknownCodecError is one
            continue
        return name
    raise ConfigError(
        f"this PyAV cannot write {' or '.join(wanted)}. Its wheels on PyPI can: pip install --force-reinstall av"
    )


def _drawing(
    field: str, annotated: bool, classes: Mapping[int, str], scale: int
) -> Callable[[Mapping[str, Any]], np.ndarray]:
    """What makes a sample's picture, (H, W, 3) uint8."""
    if annotated:
        from .annotate import annotate

        return lambda sample: annotate({**sample, "image": image_of(sample, field)}, classes=classes, scale=scale)
    return lambda sample: image_of(sample, field)[..., :3].repeat(scale, axis=0).repeat(scale, axis=1)


def _order(keys: list[str], per_episode: bool) -> list[int]:
    """The samples' numbers in the order of their addresses, stream by stream; of other names as they are."""
    places = [_PLACE.fullmatch(key) for key in keys]
    order = list(range(len(keys)))
    if all(places):
        return sorted(order, key=lambda i: [int(part or 0) for part in places[i].groups()])  # type: ignore[union-attr]
    # Each file is written in one go.
    return sorted(order, key=lambda i: episode_of(keys[i])) if per_episode else order


def _target(folder: str | os.PathLike, per_episode: bool) -> AbstractContextManager[Path]:
    if Path(folder).suffix != ".mp4":
        return new_folder(folder)
    if per_episode:
        raise ConfigError(f"{folder} is one file, and per_episode=True writes several. Give a folder.")
    return new_file(folder)


def _single(target: Path) -> Path:
    return target if target.suffix == ".mp4" else target / FILE
