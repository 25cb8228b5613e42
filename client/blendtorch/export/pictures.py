"""`image_file`: the picture of a sample as an image file, as datasets hold them."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from ..errors import ConfigError, LabelError
from ..recording.images import encode

ImageFormat = Literal["png", "jpg"]


def image_of(sample: Mapping[str, Any], field: str = "image") -> np.ndarray:
    """The picture of a sample.

    Args:
        sample: Of a recording.
        field: Which of its fields.

    Returns:
        (H, W, 3) or (H, W, 4) uint8, sRGB. A picture of one channel is repeated.

    Raises:
        LabelError: (a ValueError) It is no picture.
    """
    image = sample[field]
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
        seen = f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise LabelError(f"{field}: expected a picture, H x W x 3 or 4 uint8, got {seen}")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise LabelError(f"{field}: expected a picture, H x W x 3 or 4 uint8, got shape {image.shape}")
    return image


def image_file(image: np.ndarray, image_format: ImageFormat, quality: int) -> bytes:
    """Encode a picture.

    Args:
        image: (H, W, 3) or (H, W, 4) uint8. JPEG has no alpha: it is dropped there.
        image_format: "png", without loss, or "jpg".
        quality: Of jpg, 1 to 100.

    Returns:
        The content of the file.
    """
    return encode(np.ascontiguousarray(image[..., :3]) if image_format == "jpg" else image, image_format, quality)


def checked_image_format(image_format: str, quality: int) -> None:
    """Check the options, before anything is written.

    Raises:
        ConfigError: (a ValueError) Another format, or a quality out of range.
    """
    if image_format not in get_args(ImageFormat):
        raise ConfigError(f"image_format: expected one of {', '.join(get_args(ImageFormat))}, got {image_format!r}")
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality: expected 1 to 100, got {quality!r}")
