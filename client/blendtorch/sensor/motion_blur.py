"""Motion blur: the mean, in linear light, of pictures taken while the shutter is open."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ..errors import ConfigError
from ._srgb import decode, encode, num_colors

ShutterPosition = Literal["start", "center", "end"]
_OPENS = {"start": 0.0, "center": -0.5, "end": -1.0}


def subframe_times(
    num: int, shutter: float, rng: np.random.Generator | None = None, position: ShutterPosition = "center"
) -> np.ndarray:
    """Tells when to take the pictures that make a blurred one.

    The time that the shutter is open is cut into `num` equal strata. Each gives one time: its middle, or, with `rng`, a
    time drawn uniformly from it, which turns the ghosts of few sub-frames into noise (stratified sampling in time: Cook,
    Porter and Carpenter, "Distributed ray tracing", SIGGRAPH 1984).

    Args:
        num: How many, at least 1.
        shutter: How long the shutter is open, in frames, >= 0: Blender's `render.motion_blur_shutter`.
        rng: For stratified jitter; None for the middles.
        position: Blender's `render.motion_blur_position`: the shutter opens at the frame ("start"), is half through
            ("center") or closes at it ("end").

    Returns:
        (num,) float64, rising, in frames relative to the frame.

    Raises:
        ConfigError: `num`, `shutter` or `position` is out of range.
    """
    if num < 1:
        raise ConfigError(f"num must be at least 1, got {num}")
    if not 0.0 <= shutter < np.inf:
        raise ConfigError(f"shutter must be finite and at least 0 frames, got {shutter}")
    if position not in _OPENS:
        raise ConfigError(f'position must be "start", "center" or "end", got {position!r}')
    within = 0.5 if rng is None else rng.random(num)
    return shutter * (_OPENS[position] + (np.arange(num) + within) / num)


class MotionBlur:
    """Adds up sub-frame pictures in linear light and gives their mean; holds one picture, however many are added.

    A film or sensor adds up light while the shutter is open, so the mean of the pictures of many instants is the blurred
    picture: the accumulation buffer of Haeberli and Akeley, SIGGRAPH 1990.

    Labels belong to the time of the frame itself (time 0 of `subframe_times`): take them from one render there, and
    do not average them. The mean of two ids is the id of a third object; the mean of the depths at an edge is a surface
    that is nowhere; and the box of a blurred object is not the mean of its boxes.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum: np.ndarray | None = None
        self._dtype: np.dtype | None = None

    def add(self, image: np.ndarray) -> None:
        """Adds one sub-frame, which may be changed or lent back afterwards.

        Args:
            image: (H, W) or (H, W, 1 .. 4), each of the same shape and dtype. uint8 is sRGB with straight alpha, if there
                is alpha: colours count by how much they cover. Floating point is linear light with premultiplied
                alpha, as in Blender's render results.

        Raises:
            ConfigError: Another shape or dtype than before, or none that pictures have.
        """
        colors = num_colors(image)
        if self._sum is None:
            self._dtype = image.dtype
            self._sum = np.zeros(
                image.shape, np.result_type(np.float32, image) if image.dtype != np.uint8 else np.float32
            )
        if image.shape != self._sum.shape or image.dtype != self._dtype:
            raise ConfigError(
                f"expected a sub-frame like the first, {self._sum.shape} {self._dtype}, got {image.shape} {image.dtype}"
            )
        if image.dtype != np.uint8:
            self._sum += image
        elif image.ndim == 2 or image.shape[2] == colors:
            self._sum += decode(image)
        else:
            alpha = image[..., colors:].astype(np.float32) / 255.0
            self._sum[..., :colors] += decode(image[..., :colors]) * alpha
            self._sum[..., colors:] += alpha
        self.count += 1

    def result(self) -> np.ndarray:
        """Gives the mean of what was added; more can be added afterwards.

        Returns:
            Shape and dtype of the sub-frames: uint8 sRGB, or linear light.

        Raises:
            ConfigError: Nothing was added.
        """
        if self._sum is None or self._dtype is None:
            raise ConfigError("no sub-frame was added: call add(image) before result()")
        mean = self._sum / self.count
        if self._dtype != np.uint8:
            return mean.astype(self._dtype)
        colors = num_colors(mean)
        if mean.ndim == 2 or mean.shape[2] == colors:
            return encode(mean)
        alpha = mean[..., colors:]
        straight = mean[..., :colors] / np.where(alpha > 0.0, alpha, 1.0)
        return np.concatenate([encode(straight), (alpha * 255.0 + 0.5).astype(np.uint8)], axis=-1)


def average_subframes(images: Iterable[np.ndarray]) -> np.ndarray:
    """Gives the mean of sub-frames in linear light; takes one after the other, so a generator needs little memory.

    Args:
        images: At least one picture as for `MotionBlur.add`.

    Returns:
        Shape and dtype of the sub-frames: uint8 sRGB, or linear light.

    Raises:
        ConfigError: No picture, or pictures that differ in shape or dtype.
    """
    blur = MotionBlur()
    for image in images:
        blur.add(image)
    return blur.result()
