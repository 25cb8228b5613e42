"""Short texts as pictures, drawn by Blender's own font."""

from functools import cache

import blf
import gpu
import numpy as np
from mathutils import Matrix

from blendtorch.btb.gpu_context import ensure_gpu_context

_FONT = 0
_HEIGHT_PX = 11
_MARGIN_PX = 2


@cache
def text_mask(text: str) -> np.ndarray:
    """A text in one line, H x W uint8: 255 where it is, 0 around it.

    Blender 4.2 without a window draws no text: the mask is empty then, 0 x 0.
    """
    ensure_gpu_context()
    blf.size(_FONT, _HEIGHT_PX)
    width = int(blf.dimensions(_FONT, text)[0]) + 2 * _MARGIN_PX
    height = round(1.3 * _HEIGHT_PX) + _MARGIN_PX
    target = gpu.types.GPUOffScreen(width, height)
    pixels = np.empty((height, width, 4), np.uint8)
    try:
        with target.bind(), gpu.matrix.push_pop(), gpu.matrix.push_pop_projection():
            framebuffer = gpu.state.active_framebuffer_get()
            framebuffer.clear(color=(0, 0, 0, 0))
            to_clip = ((2 / width, 0, 0, -1), (0, 2 / height, 0, -1), (0, 0, 1, 0), (0, 0, 0, 1))
            gpu.matrix.load_matrix(Matrix(to_clip))
            gpu.matrix.load_projection_matrix(Matrix.Identity(4))
            gpu.state.blend_set("ALPHA")
            blf.position(_FONT, _MARGIN_PX, _MARGIN_PX + 0.2 * _HEIGHT_PX, 0)
            blf.color(_FONT, 1, 1, 1, 1)
            blf.draw(_FONT, text)
            gpu.state.blend_set("NONE")
            framebuffer.read_color(
                0, 0, width, height, 4, 0, "UBYTE", data=gpu.types.Buffer("UBYTE", pixels.shape, pixels)
            )
    finally:
        target.free()
    return np.ascontiguousarray(pixels[::-1, :, 0]) if pixels.any() else np.empty((0, 0), np.uint8)
