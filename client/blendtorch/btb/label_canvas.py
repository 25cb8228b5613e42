"""Textures that label passes draw into, and read back into arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import gpu
import numpy as np

from ..errors import ConfigError


class Target(NamedTuple):
    """One texture that is drawn into.

    Attributes:
        kind: Its type in the shader.
        format: Its format on the GPU.
        channels: How many of its channels are read back.
        background: What it holds where nothing is drawn.
    """

    kind: str
    format: str
    channels: int
    background: float


class Canvas:
    """Textures of one size with a depth buffer, to draw into and to read back.

    Args:
        shape: (H, W), pixels.
        targets: By name.

    Raises:
        ConfigError: The GPU has no textures of that size.
    """

    def __init__(self, shape: tuple[int, int], targets: dict[str, Target]) -> None:
        height, width = self.shape = shape
        largest = gpu.capabilities.max_texture_size_get()
        if max(shape) > largest:
            raise ConfigError(f"the image is {width} x {height} pixels, this GPU draws at most {largest} along a side.")
        self._targets = targets
        self._textures = [gpu.types.GPUTexture((width, height), format=target.format) for target in targets.values()]
        self._depth = gpu.types.GPUTexture((width, height), format="DEPTH_COMPONENT32F")
        self._memory: dict[str, tuple[np.ndarray, gpu.types.Buffer]] = {}
        for name, target in targets.items():
            array = np.empty((height, width, target.channels), np.uint32 if target.kind == "UINT" else np.float32)
            self._memory[name] = array, gpu.types.Buffer(_buffer_type(target), array.shape, array)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Clears all textures; what is drawn inside is drawn into them, nearest surface first."""
        for texture, target in zip(self._textures, self._targets.values(), strict=True):
            texture.clear(format=_buffer_type(target), value=(target.background,) * (4 if target.channels > 1 else 1))
        before = gpu.state.depth_test_get(), gpu.state.depth_mask_get(), gpu.state.blend_get()
        framebuffer = self._framebuffer()
        with framebuffer.bind():
            framebuffer.clear(depth=1.0)
            gpu.state.depth_test_set("LESS_EQUAL")
            gpu.state.depth_mask_set(True)
            gpu.state.blend_set("NONE")
            gpu.state.face_culling_set("NONE")
            try:
                yield
            finally:
                gpu.state.depth_test_set(before[0])
                gpu.state.depth_mask_set(before[1])
                gpu.state.blend_set(before[2])

    def read(self) -> dict[str, np.ndarray]:
        """New arrays, H x W or H x W x C, first row at the top."""
        height, width = self.shape
        arrays = {}
        framebuffer = self._framebuffer()
        with framebuffer.bind():
            for slot, (name, target) in enumerate(self._targets.items()):
                array, buffer = self._memory[name]
                framebuffer.read_color(0, 0, width, height, target.channels, slot, _buffer_type(target), data=buffer)
                rows = array[::-1] if target.channels > 1 else array[::-1, :, 0]
                arrays[name] = rows.copy()
        return arrays

    def _framebuffer(self) -> gpu.types.GPUFrameBuffer:
        """A framebuffer of these textures, for now.

        Each window of Blender has a GPU context of its own. They share textures, but a framebuffer belongs to the one that
        it was made in, and cannot be bound in another.
        """
        return gpu.types.GPUFrameBuffer(depth_slot=self._depth, color_slots=tuple(self._textures))


def _buffer_type(target: Target) -> str:
    return "UINT" if target.kind == "UINT" else "FLOAT"
