"""A picture of a batch: its images in a grid, with boxes drawn on."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..errors import ConfigError

Arrays = np.ndarray | torch.Tensor | Sequence[np.ndarray] | Sequence[torch.Tensor]

_BOX_COLOR = (255, 220, 0)
_GAP_COLOR = (32, 32, 32)
_TITLE_COLOR = (230, 230, 230)
_TITLE_HEIGHT = 20


def montage(
    images: Arrays,
    boxes: Arrays | None = None,
    *,
    columns: int | None = None,
    gap: int = 2,
    titles: Sequence[str] | None = None,
) -> Image.Image:
    """Arranges images in a grid, first row first.

    Args:
        images: N x H x W x C uint8, sRGB, C = 3 or 4 (alpha is left out).
        boxes: For each image the boxes to draw on, K x 4, XYXY pixels; boxes without area are left out.
        columns: How many images lie side by side; by default as many as make the grid square.
        gap: Pixels between images.
        titles: What stands above each column.

    Raises:
        ConfigError: An array has another shape or dtype; there are not as many titles as columns.
    """
    pictures = np.stack([np.asarray(image) for image in images]) if len(images) else np.empty(0, np.uint8)
    if pictures.ndim != 4 or pictures.shape[3] not in (3, 4) or pictures.dtype != np.uint8 or not len(pictures):
        raise ConfigError(
            f"images is {pictures.dtype} of shape {pictures.shape}, expected N x H x W x 3 or 4 of uint8."
        )
    if boxes is not None and len(boxes) != len(pictures):
        raise ConfigError(f"there are boxes for {len(boxes)} images, expected them for all {len(pictures)}.")
    count, height, width = pictures.shape[:3]
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    rows = math.ceil(count / columns)
    if titles is not None and len(titles) != columns:
        raise ConfigError(f"there are {len(titles)} titles, expected one for each of {columns} columns.")
    top = 0 if titles is None else _TITLE_HEIGHT
    sheet = Image.new("RGB", (columns * (width + gap) - gap, top + rows * (height + gap) - gap), _GAP_COLOR)
    for i, title in enumerate(titles or ()):
        place = (i * (width + gap) + _TITLE_HEIGHT // 4, top // 2)
        ImageDraw.Draw(sheet).text(place, title, _TITLE_COLOR, ImageFont.load_default(_TITLE_HEIGHT * 0.6), "lm")
    for i, picture in enumerate(pictures):
        tile = Image.fromarray(picture[..., :3])
        if boxes is not None:
            _draw_boxes(tile, np.asarray(boxes[i]))
        sheet.paste(tile, (i % columns * (width + gap), top + i // columns * (height + gap)))
    return sheet


def _draw_boxes(tile: Image.Image, boxes: np.ndarray) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ConfigError(f"the boxes of an image have the shape {boxes.shape}, expected K x 4 (XYXY pixels).")
    draw = ImageDraw.Draw(tile)
    for x0, y0, x1, y1 in boxes.astype(float):
        if x1 > x0 and y1 > y0:
            # Pillow names the pixels to colour, a box the outer corners of its first and last pixel.
            left, top = round(x0), round(y0)
            draw.rectangle((left, top, max(left, round(x1) - 1), max(top, round(y1) - 1)), outline=_BOX_COLOR)
