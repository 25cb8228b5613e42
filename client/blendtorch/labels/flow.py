"""Optical flow: which pixels are not seen in the other image, and warping by the flow.

Flow is (dx, dy) in pixels, y down, (H, W, 2) float32: what is seen at the centre of a pixel here lies at that centre plus
flow in the other image. NaN where it is unknown, as for the background.
"""

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from .arrays import as_depth_image, as_id_image
from .neighbours import AT_CENTRE_PX, four_pixels, inside
from .tolerance import DEFAULT_TOLERANCE, DepthTolerance


def occlusion(
    flow: ArrayLike,
    depth_there_m: ArrayLike,
    ids: ArrayLike,
    target_depth: ArrayLike,
    target_ids: ArrayLike,
    tolerance: DepthTolerance = DEFAULT_TOLERANCE,
) -> np.ndarray:
    """Find what is seen here and not in the other image: it leaves the image, or is hidden there.

    A surface is seen in the other image where, among the 2 x 2 pixels around the place that the flow leads to, there are
    some of the same id, and the farthest of these is not in front of it by more than the tolerance. The farthest, so
    that a surface at a slant does not hide itself; of the same id, so that a surface is not seen where only the edge
    of something else is near. At the centre of a pixel (within a hundredth) that pixel alone counts, so what does not
    move is compared with itself. Along silhouettes this errs by at most a pixel, on the side of being seen.

    Args:
        flow: (H, W, 2) pixels, NaN where unknown.
        depth_there_m: (H, W) the depth, metres, that the surface seen at this pixel has in the other image.
        ids: (H, W) uint32 here.
        target_depth: (H, W) depth in the other image, metres, inf for its background.
        target_ids: (H, W) uint32 of the other image.
        tolerance: What counts as in front.

    Returns:
        (H, W) bool, True where not seen there. True, too, where nothing is known: for the background (id 0), and where
        flow or depth is NaN, or the depth is not above 0.

    Raises:
        ConfigError: (a ValueError) Other types, or shapes that differ.
    """
    vectors = _as_flow(flow)
    shape = (vectors.shape[0], vectors.shape[1])
    depth_there = as_depth_image("depth_there_m", depth_there_m, shape)
    surface = as_depth_image("target_depth", target_depth, shape).ravel()
    here, there = as_id_image("ids", ids), as_id_image("target_ids", target_ids)
    for name, image in (("ids", here), ("target_ids", there)):
        if image.shape != shape:
            raise ConfigError(f"{name}: expected the shape of flow, {shape}, got {image.shape}")
    x, y = _targets(vectors)
    known = np.flatnonzero((inside(x, y, shape) & (here != 0) & (depth_there > 0.0)).ravel())
    own = here.ravel()[known]
    farthest = np.full(known.shape, -np.inf, dtype=surface.dtype)
    for pixel in four_pixels(x.ravel()[known], y.ravel()[known], shape, AT_CENTRE_PX):
        same = there.ravel()[pixel] == own
        np.maximum(farthest, np.where(same, surface[pixel], -np.inf), out=farthest)
    occluded = np.ones(here.size, dtype=bool)
    occluded[known] = tolerance.in_front(farthest, depth_there.ravel()[known])
    return occluded.reshape(shape)


def warp(image_there: ArrayLike, flow: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Fetch, for each pixel here, what the other image shows at the pixel's centre plus flow.

    Backward warping, bilinear between pixel centres; beyond the outermost centres, the half pixel to the border of the
    image, the outermost pixel. What is hidden in the other image is fetched like anything else: leave out where
    `occlusion` is True.

    Args:
        image_there: (H, W) or (H, W, C), uint8 or floating point; not ids, between which there is nothing.
        flow: (H, W, 2) pixels, NaN where unknown.

    Returns:
        warped: Shape and dtype of the image, uint8 rounded; 0 where not valid.
        valid: (H, W) bool: flow is known and leads into the image.

    Raises:
        ConfigError: (a ValueError) Other types, or shapes that do not go together.
    """
    image = np.asarray(image_there)
    vectors = _as_flow(flow)
    shape = (vectors.shape[0], vectors.shape[1])
    if image.ndim not in (2, 3) or image.shape[:2] != shape:
        raise ConfigError(f"image_there: expected {shape} as flow has, with or without channels, got {image.shape}")
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ConfigError(f"image_there: expected uint8 or floating point, got {image.dtype}, which cannot be blended")
    x, y = _targets(vectors)
    valid = inside(x, y, shape)
    known = np.flatnonzero(valid.ravel())
    x, y = x.ravel()[known], y.ravel()[known]
    exact = np.float64 if image.dtype == np.float64 else np.float32
    pixels = image.reshape(shape[0] * shape[1], *image.shape[2:])
    corners = [pixels.take(corner, axis=0).astype(exact, copy=False) for corner in four_pixels(x, y, shape)]
    # The first centre is at 0.5; half a pixel is added before the fraction is taken, so that none is negative.
    column, row = (np.modf(axis + 0.5)[0].astype(exact).reshape(-1, *(1,) * (image.ndim - 2)) for axis in (x, y))
    blended = _blend(_blend(corners[0], corners[1], column), _blend(corners[2], corners[3], column), row)
    if image.dtype == np.uint8:
        blended = np.rint(blended, out=blended)
    warped = np.zeros_like(pixels)
    warped[known] = blended.astype(image.dtype, copy=False)
    return warped.reshape(image.shape), valid


def _blend(a: np.ndarray, b: np.ndarray, share_of_b: np.ndarray) -> np.ndarray:
    """Return a (1 - share) + b share; where the share is 0, a alone, even if b is infinite."""
    with np.errstate(invalid="ignore"):
        blended = b - a
        blended *= share_of_b
        blended += a
        if not np.isfinite(blended).all():  # infinity less infinity is no number: the slower formula
            blended = np.where(share_of_b == 0.0, a, a * (1.0 - share_of_b) + b * share_of_b)
    return blended


def _as_flow(flow: ArrayLike) -> np.ndarray:
    array = np.asarray(flow)
    if array.ndim != 3 or array.shape[2] != 2 or array.dtype.kind != "f" or array.size == 0:
        raise ConfigError(f"flow: expected (H, W, 2) float32, got {array.dtype} of shape {array.shape}")
    return array.astype(np.float32, copy=False) if array.dtype.itemsize < 4 else array


def _targets(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel's centre goes, x and y, (H, W) of flow's type."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(0.5, width, dtype=flow.dtype)
    y = flow[..., 1] + np.arange(0.5, height, dtype=flow.dtype)[:, None]
    return x, y
