"""Pictures of samples in a grid, with their boxes drawn on. numpy alone: Blender has no Pillow."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blendtorch.labels.pictures import ids_to_rgb

_GAP_COLOR = 32
_GAP_PX = 4
_COLUMNS = _ROWS = 3


def with_boxes(
    image: np.ndarray,
    labels: Mapping[str, Any] | None,
    width_px: int = 1,
    names: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Draws the box of each instance into a copy of a picture, in the colour that its id has everywhere.

    Args:
        image: H x W x 3 or 4 uint8; alpha is left out.
        labels: The sample's labels (docs/labels.md); None draws nothing.
        width_px: How wide the lines are.
        names: What stands at each box: for each instance a text as h x w uint8, 255 where it is. None: nothing.

    Returns:
        H x W x 3 uint8.
    """
    picture = np.array(image[..., :3])
    if not labels:
        return picture
    instances = labels["instances"]
    height, width = picture.shape[:2]
    # Small boxes last, so that large ones do not hide them.
    boxes = np.asarray(instances["box"], float).reshape(-1, 4)
    ids = np.asarray(instances["id"])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for number in np.argsort(-areas):
        if areas[number] <= 0:
            continue
        # A box names the outer corners of its first and last pixel.
        x0, y0, x1, y1 = boxes[number].round().astype(int)
        x0, x1, y0, y1 = max(x0, 0), min(x1, width), max(y0, 0), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            continue
        color = ids_to_rgb(ids[number : number + 1])[0]
        inside = picture[y0:y1, x0:x1]
        for edge in (inside[:width_px], inside[-width_px:], inside[:, :width_px], inside[:, -width_px:]):
            edge[:] = color
        if names is not None:
            _put_text(picture, names[number], x0, y0, color)
    return picture


def _put_text(picture: np.ndarray, mask: np.ndarray, x: int, y: int, color: np.ndarray) -> None:
    """Writes a text on a ground of a colour: above (x, y) where there is room, else below."""
    height, width = mask.shape
    top = y - height if y >= height else y
    left = max(0, min(x, picture.shape[1] - width))
    ground = picture[top : top + height, left : left + width]
    mask = mask[: ground.shape[0], : ground.shape[1], None] / 255.0
    ink = 0 if color.mean() > 128 else 255
    ground[:] = (color * (1 - mask) + ink * mask).round()


def grid(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Lays up to nine pictures of one size out in a grid, first row first; places that are left are dark.

    Args:
        pictures: At least one, H x W x 3 uint8.

    Returns:
        One picture, uint8 RGB.
    """
    height, width = pictures[0].shape[:2]
    shape = (_ROWS * (height + _GAP_PX) - _GAP_PX, _COLUMNS * (width + _GAP_PX) - _GAP_PX, 3)
    sheet = np.full(shape, _GAP_COLOR, np.uint8)
    for number, picture in enumerate(pictures[: _ROWS * _COLUMNS]):
        top, left = number // _COLUMNS * (height + _GAP_PX), number % _COLUMNS * (width + _GAP_PX)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def png(picture: np.ndarray) -> bytes:
    """A picture, H x W x 3 uint8, as a PNG file."""
    height, width = picture.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = picture.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
