"""Labels as pictures to look at: ids, depth and normals in colour, uint8 RGB."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError

# Of hue, saturation and value from one id to the next. The multiples of irrational numbers, modulo 1, never come twice and
# leave no large gap, however many there are; those of the golden section least of all (Weyl 1916).
_STEPS = np.array([(5**0.5 - 1) / 2, 2**0.5 - 1, 3**0.5 - 1])
_LEAST_SATURATION, _LEAST_VALUE = 0.35, 0.5

# From far to near; each is brighter than the one before.
_DEPTH_COLORS = np.array([[40, 20, 90], [120, 30, 130], [205, 65, 95], [250, 155, 60], [255, 245, 190]], np.float64)

PANELS = ("image", "ids", "depth", "normals_camera")
"""What `panels` shows by default."""


def ids_to_rgb(ids: ArrayLike) -> np.ndarray:
    """Give each id a colour of its own, the same in every picture; the background, 0, is black.

    Args:
        ids: (...) integers, such as an (H, W) uint32 image of ids, or one of classes.

    Returns:
        (..., 3) uint8 RGB. The first few dozens differ at a glance; of thousands some are alike.

    Raises:
        ConfigError: (a ValueError) Not integers.
    """
    image = np.asarray(ids)
    if image.dtype.kind not in "iu":
        raise ConfigError(f"ids is {image.dtype}, expected integers")
    present, where = np.unique(image, return_inverse=True)
    return _colors_of_ids(present)[where.reshape(image.shape)]


def depth_to_rgb(depth_m: ArrayLike, near_m: float | None = None, far_m: float | None = None) -> np.ndarray:
    """Colour depth, from near, pale yellow, by orange and magenta to far, dark violet; no depth is black.

    Colours change with 1 / depth: of a ground that reaches to the horizon most pixels are far away, and what stands on
    it would all have one colour otherwise.

    Args:
        depth_m: (...) metres; what is not finite, or not above 0, is no depth.
        near_m: The depth of the nearest colour, metres; by default the least that is there.
        far_m: The depth of the farthest colour, metres; by default the greatest that is there. To compare pictures, pass
            both, or all pictures in one array.

    Returns:
        (..., 3) uint8 RGB.

    Raises:
        ConfigError: (a ValueError) Not real numbers; the range is empty or not above 0.
    """
    depth = np.asarray(depth_m)
    if depth.dtype.kind not in "fiu":
        raise ConfigError(f"depth_m is {depth.dtype}, expected real numbers")
    there = np.isfinite(depth) & (depth > 0)
    seen = depth[there].astype(np.float64)
    near = float(seen.min(initial=np.inf)) if near_m is None else near_m
    far = float(seen.max(initial=0.0)) if far_m is None else far_m
    rgb = np.zeros((*depth.shape, 3), np.uint8)
    if not len(seen):
        return rgb
    if not 0 < near <= far < np.inf:
        raise ConfigError(f"the range is from {near} to {far} m, expected 0 < near_m <= far_m")
    # 1 for near, 0 for far, and 1 where all is at one depth.
    nearness = (1 / seen - 1 / far) / (1 / near - 1 / far) if near < far else np.ones(len(seen))
    stops = np.linspace(0, 1, len(_DEPTH_COLORS))
    channels = [np.interp(nearness, stops, channel) for channel in _DEPTH_COLORS.T]
    rgb[there] = np.stack(channels, axis=-1).round()
    return rgb


def normals_to_rgb(normals: ArrayLike) -> np.ndarray:
    """Show x, y and z of normals as red, green and blue: -1 is 0, 1 is 255; the background, a zero vector, is black.

    Normals in Blender's camera axes look like a tangent-space normal map: what faces the viewer is blue, to the right
    red, upwards green.

    Args:
        normals: (..., 3) unit vectors, or zero.

    Returns:
        (..., 3) uint8 RGB.

    Raises:
        ConfigError: (a ValueError) Not vectors of three real numbers.
    """
    vectors = np.asarray(normals)
    if vectors.dtype.kind != "f" or vectors.shape[-1:] != (3,):
        raise ConfigError(f"normals is {vectors.dtype} of shape {vectors.shape}, expected (..., 3) floats")
    rgb = ((vectors.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    rgb[~vectors.any(axis=-1)] = 0
    return rgb


def panels(sample: Mapping[str, Any], names: Sequence[str] = PANELS) -> np.ndarray:
    """Show a sample's picture and labels, to be laid side by side: `btt.montage(btt.panels(sample), columns=4)`.

    Args:
        sample: Fields of the size (H, W): "image" as it is, without alpha, "depth" by `depth_to_rgb`, those that begin with
            "normals" by `normals_to_rgb`, others ("ids", "semantic") by `ids_to_rgb`.
        names: Which fields, in order.

    Returns:
        (P, H, W, 3) uint8 RGB, a panel for each name.

    Raises:
        ConfigError: (a ValueError) A field is not there, or not of its kind.
    """
    missing = [name for name in names if name not in sample]
    if missing:
        raise ConfigError(f"the sample lacks {', '.join(missing)}; it has {', '.join(sample)}")
    return np.stack([_panel(name, sample[name]) for name in names])


def _panel(name: str, field: Any) -> np.ndarray:
    if name == "image":
        image = np.asarray(field)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4):
            raise ConfigError(f"image is {image.dtype} of shape {image.shape}, expected H x W x 3 or 4 of uint8")
        return image[..., :3]
    if name == "depth":
        return depth_to_rgb(field)
    return normals_to_rgb(field) if name.startswith("normals") else ids_to_rgb(field)


def _colors_of_ids(ids: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 of N ids: hue, saturation and value (Smith 1978, "Color gamut transform pairs") to RGB."""
    number = ids.astype(np.int64)
    hue, saturation, value = (number[:, None] * _STEPS % 1.0).T
    saturation = _LEAST_SATURATION + (1 - _LEAST_SATURATION) * saturation
    value = _LEAST_VALUE + (1 - _LEAST_VALUE) * value
    # How far red, green and blue are from the hue, in sixths of the circle: full within one, none beyond two.
    sixths = np.abs((hue[:, None] * 6 - np.array([0, 2, 4]) + 3) % 6 - 3)
    share = (2 - sixths).clip(0, 1)
    rgb = value[:, None] * (1 - saturation[:, None] * (1 - share))
    return np.where(number[:, None] == 0, 0, (255 * rgb).round()).astype(np.uint8)
