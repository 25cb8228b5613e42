"""Whole silhouettes of instances, with what is hidden and what is beyond the frame.

Each instance is drawn alone into a tile of a sheet, at the scale of the picture and with its pixels in the same places;
the sheet is read back at once. A tile shows at most the frame and as much again on each side, and silhouettes that
would fill a larger tile are drawn smaller.
"""

import warnings
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from ..labels.boxes import boxes_from_ids
from ..labels.boxes3d import CORNERS, box_corners
from ..labels.projection import ndc_to_pixel, to_homogeneous
from .label_canvas import Canvas, Target
from .label_groups import Group, draw_groups, group_by_surface
from .label_scene import Snapshot
from .label_shader import instance_texture, make_shader

# Pixels along a side of the largest tile; a silhouette that needs more is drawn smaller.
_LARGEST_TILE = 512
_SHEET = 2048
_TEXELS = 7
# The edges of a box, by its corners.
_EDGES = np.array([(i, j) for i in range(8) for j in range(i) if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1])
_VERTEX = """
vec4 p = vec4(pos, 1.0);
gl_Position = mat4(texel(0), texel(1), texel(2), texel(3)) * p;
tile = texel(4);
frame = texel(5);
row = uint(texel(6).x);
"""
# What of the instance reaches into its neighbours' tiles is cut off. The last bit tells pixels of the frame.
_FRAGMENT = """
vec2 at = gl_FragCoord.xy;
if (any(lessThan(at, tile.xy)) || any(greaterThan(at, tile.zw))) { discard; }
bool is_in_frame = all(greaterThan(at, frame.xy)) && all(lessThan(at, frame.zw));
out_row = 2u * row + (is_in_frame ? 1u : 0u);
"""
_TARGETS = {"rows": Target("UINT", "R32UI", 1, 0)}


@dataclass(frozen=True)
class Silhouettes:
    """The silhouettes of the K instances of a snapshot.

    Attributes:
        boxes: (K, 4) float32 XYXY pixels of the picture, also beyond it; zeros where there is no silhouette.
        pixels: (K,) float64, how many pixels of the picture's size they have, beyond the frame included.
        pixels_in_frame: (K,) float64, how many of those lie in the frame.
        may_be_in_frame: (K,) bool, false where all lies beyond it.
    """

    boxes: np.ndarray
    pixels: np.ndarray
    pixels_in_frame: np.ndarray
    may_be_in_frame: np.ndarray

    def labels(self, visible_pixels: np.ndarray, visible_boxes: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of `schema.AMODAL`.

        Args:
            visible_pixels: (K,) how many pixels of each instance the picture shows.
            visible_boxes: (K, 4) their boxes.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            visible = visible_pixels / self.pixels
            beyond = 1 - self.pixels_in_frame / self.pixels
        exists = self.pixels > 0
        # What was drawn smaller is right to within the pixels of its tile, and what is seen is known better.
        both = np.concatenate(
            [np.minimum(self.boxes[:, :2], visible_boxes[:, :2]), np.maximum(self.boxes[:, 2:], visible_boxes[:, 2:])],
            1,
        )
        boxes = np.where(exists[:, None], self.boxes, visible_boxes)
        return {
            "box_amodal": np.where((exists & (visible_pixels > 0))[:, None], both, boxes),
            # A pixel whose centre an edge meets can fall to either side in the tile and in the picture.
            "visible_fraction": np.where(exists, np.clip(visible, 0, 1), visible_pixels > 0).astype(np.float32),
            "truncation": np.where(exists, np.clip(beyond, 0, 1), ~self.may_be_in_frame).astype(np.float32),
        }


class SilhouettePass:
    """Draws and measures silhouettes."""

    def __init__(self) -> None:
        self._canvas: Canvas | None = None
        self._shader = cache(
            partial(
                make_shader,
                "silhouettes",
                _VERTEX,
                _FRAGMENT,
                inputs={"pos": "VEC3"},
                varyings={"tile": "VEC4", "frame": "VEC4", "row": "UINT"},
                outputs=[("UINT", "out_row")],
                uniforms={},
                texels=_TEXELS,
            )
        )

    def measure(self, snapshot: Snapshot, threshold: float | None) -> Silhouettes:
        """Measures the silhouette of each instance.

        Args:
            snapshot: The scene.
            threshold: Alpha below which there is no surface; None if holes do not matter.
        """
        windows = _windows(snapshot)
        sizes = windows[:, 2:] - windows[:, :2]
        scales = np.minimum(1, _LARGEST_TILE / np.maximum(sizes.max(axis=1), 1))
        tiles = np.ceil(sizes * scales[:, None]).astype(np.int64)
        count = len(windows)
        boxes, pixels, in_frame = np.zeros((count, 4)), np.zeros(count), np.zeros(count)
        for page, origins in _pages(tiles):
            sheet = self._draw(snapshot, threshold, page, windows[page], scales[page], tiles[page], origins)
            width, height = (origins + tiles[page]).max(axis=0)
            sheet = sheet[:height, :width]  # the rest is empty
            numbers = np.arange(1, len(page) + 1, dtype=np.uint32)
            found, counts = boxes_from_ids(sheet >> 1, numbers)
            counts_in_frame = np.bincount(sheet[sheet & 1 == 1] >> 1, minlength=len(page) + 1)[1:]
            scale = scales[page]
            # The sheet has its first row at the top, as pictures have, and so have the tiles on it.
            offset = np.tile(windows[page, :2] - origins / scale[:, None], 2)
            # Windows are a pixel wider than what is in them.
            box = np.clip(found / scale[:, None] + offset, *np.tile([windows[page, :2] + 1, windows[page, 2:] - 1], 2))
            boxes[page] = np.where(counts[:, None] > 0, box, 0)
            pixels[page], in_frame[page] = counts / scale**2, counts_in_frame / scale**2
        for row in np.flatnonzero((scales < 1) & (pixels > 0)):
            exact = _box_of_vertices(snapshot, row)
            boxes[row] = boxes[row] if exact is None else exact
        height, width = snapshot.view.shape
        may_be_seen = (windows[:, :2] < [width, height]).all(axis=1) & (windows[:, 2:] > 0).all(axis=1)
        return Silhouettes(boxes.astype(np.float32), pixels, in_frame, may_be_seen)

    def _draw(
        self,
        snapshot: Snapshot,
        threshold: float | None,
        page: np.ndarray,
        windows: np.ndarray,
        scales: np.ndarray,
        tiles: np.ndarray,
        origins: np.ndarray,
    ) -> np.ndarray:
        """Draws one sheet, H x W uint32: 2 x row + (is in the frame), rows counted from 1, or 0."""
        height = int(2 ** np.ceil(np.log2((origins + tiles)[:, 1].max())))
        if self._canvas is None or not height <= self._canvas.shape[0] <= 4 * height:
            self._canvas = Canvas((height, _SHEET), _TARGETS)
        rows = _rows(snapshot, page, windows, scales, tiles, origins, self._canvas.shape)
        surfaces, holes = [snapshot.surfaces[row] for row in page], [snapshot.holes[row] for row in page]
        with self._canvas.drawing():
            order, groups = group_by_surface(surfaces, holes)
            draw_groups(groups, instance_texture(rows[order]), self._shader, Group.batch, threshold, {})
        return self._canvas.read()["rows"]


def _windows(snapshot: Snapshot) -> np.ndarray:
    """What of the image plane a tile must show, (K, 4) float64 XYXY whole pixels; without area where nothing is seen.

    It is that of the projected bounding box, or of the part of it that is beyond the near clip plane.
    """
    height, width = snapshot.view.shape
    low, high = np.array([-width, -height]), np.array([2 * width, 2 * height])
    corners = to_homogeneous(box_corners(snapshot.instances.world_from_object, snapshot.instances.bounds))
    clip = corners @ (snapshot.view.clip_from_camera @ snapshot.view.camera_from_world).T
    beyond_near = clip[..., 2] + clip[..., 3]  # how far beyond the near clip plane, in its own unit
    start, end = clip[:, _EDGES[:, 0]], clip[:, _EDGES[:, 1]]
    before, after = beyond_near[:, _EDGES[:, 0], None], beyond_near[:, _EDGES[:, 1], None]
    crosses = (before < 0) != (after < 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        crossings = np.where(crosses, start + before / (before - after) * (end - start), np.nan)
        points = np.concatenate([np.where(beyond_near[..., None] >= 0, clip, np.nan), crossings], axis=1)
        xy = ndc_to_pixel(points[..., :2] / points[..., 3:], snapshot.view.shape)
    xy = np.clip(xy, low, high)  # NaN stays
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN: wholly before the near plane
        # A pixel's width more, for edges are drawn in single precision.
        windows = np.concatenate([np.floor(np.nanmin(xy, axis=1)) - 1, np.ceil(np.nanmax(xy, axis=1)) + 1], axis=1)
    windows = np.clip(np.nan_to_num(windows), np.tile(low, 2) - 1, np.tile(high, 2) + 1)
    beyond = (windows[:, 2:] <= low + 1).any(axis=1) | (windows[:, :2] >= high - 1).any(axis=1)
    windows[beyond | np.isnan(xy[..., 0]).all(axis=1)] = 0
    return windows


def _box_of_vertices(snapshot: Snapshot, row: int) -> np.ndarray | None:
    """The box of a silhouette by its vertices, (4,) XYXY pixels; None where these do not tell it.

    That is with holes, and where some of it is before the near clip plane. It ends with the outermost pixels whose
    centres lie between the outermost vertices.
    """
    if snapshot.holes[row]:
        return None
    surface = snapshot.surfaces[row]
    vertices = to_homogeneous(surface.vertices[np.unique(surface.corner_vertices)])
    (clip_from_object,) = snapshot.view.clip_from_objects(snapshot.instances.world_from_object[row : row + 1])
    clip = vertices @ clip_from_object.T
    if not (clip[:, 2] >= -clip[:, 3]).all():
        return None
    xy = ndc_to_pixel(clip[:, :2] / clip[:, 3:], snapshot.view.shape)
    height, width = snapshot.view.shape
    box = np.concatenate([np.ceil(xy.min(axis=0) - 0.5), np.floor(xy.max(axis=0) - 0.5) + 1])
    return np.clip(box, [-width, -height] * 2, [2 * width, 2 * height] * 2)


def _pages(tiles: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Puts tiles on sheets, in shelves of falling height.

    Args:
        tiles: (K, 2) int64, width and height.

    Returns:
        For each sheet the rows of its tiles, and where these begin, (N, 2) int64 pixels from the upper left corner.
    """
    pages: list[tuple[list[int], list[tuple[int, int]]]] = []
    x = y = shelf = _SHEET
    for row in np.argsort(-tiles[:, 1], kind="stable"):
        width, height = tiles[row].tolist()
        if width == 0 or height == 0:
            continue
        if x + width > _SHEET:
            x, y, shelf = 0, y + shelf, height
        if y + shelf > _SHEET:
            pages.append(([], []))
            x, y, shelf = 0, 0, height
        pages[-1][0].append(int(row))
        pages[-1][1].append((x, y))
        x += width
    return [(np.array(rows), np.array(origins)) for rows, origins in pages]


def _rows(
    snapshot: Snapshot,
    page: np.ndarray,
    windows: np.ndarray,
    scales: np.ndarray,
    tiles: np.ndarray,
    origins: np.ndarray,
    sheet: tuple[int, int],
) -> np.ndarray:
    """What each instance has in the texture, (N, 7, 4) float32."""
    height, width = snapshot.view.shape
    sheet_height, sheet_width = sheet
    size = np.array([width, height])
    sheet_size = np.array([sheet_width, sheet_height])
    scale = scales[:, None]
    # OpenGL counts rows from the bottom, in the picture and on the sheet.
    window_low = np.stack([windows[:, 0], height - windows[:, 3]], axis=1)
    tile_low = np.stack([origins[:, 0], sheet_height - origins[:, 1] - tiles[:, 1]], axis=1)
    # The picture's lower edge of the window, not the tile's, is where scaled tiles have their remainder.
    tile_low_exact = np.stack(
        [origins[:, 0], sheet_height - origins[:, 1] - (windows[:, 3] - windows[:, 1]) * scales], 1
    )
    stretch = size * scale / sheet_size
    shift = ((0.5 * size - window_low) * scale + tile_low_exact) / sheet_size * 2 - 1
    clip = snapshot.view.clip_from_objects(snapshot.instances.world_from_object[page])
    clip[:, :2] = clip[:, :2] * stretch[:, :, None] + shift[:, :, None] * clip[:, 3:]
    frame_low = (0 - window_low) * scale + tile_low_exact
    rows = np.zeros((len(page), _TEXELS, 4), np.float32)
    rows[:, :4] = clip.transpose(0, 2, 1)
    rows[:, 4] = np.concatenate([tile_low, tile_low + tiles], axis=1)
    rows[:, 5] = np.concatenate([frame_low, frame_low + size * scale], axis=1)
    rows[:, 6, 0] = np.arange(1, len(page) + 1)
    return rows
