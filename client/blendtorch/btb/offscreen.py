"""Pictures of what the 3D viewport shows, drawn off screen and read back without a file."""

from dataclasses import dataclass
from typing import Literal

import bpy
import gpu
import numpy as np
from mathutils import Matrix

from ..errors import ConfigError
from .camera import Camera, as_camera
from .gpu_context import ensure_gpu_context
from .temporary_settings import TemporarySettings
from .viewport import require_viewport
from .window_context import OffScreenTargets
from .workbench import WORKBENCH_AA

Mode = Literal["rgb", "rgba", "bgr"]
Origin = Literal["upper-left", "lower-left"]
Shading = Literal["WIREFRAME", "SOLID", "MATERIAL", "RENDERED"]

_CHANNELS = {"rgb": 3, "rgba": 4, "bgr": 3}
_ORIGINS = ("upper-left", "lower-left")
_SHADINGS = ("WIREFRAME", "SOLID", "MATERIAL", "RENDERED")


@dataclass
class _Style:
    shading: str = "SOLID"
    overlays: bool = False


class OffScreenRenderer:
    """Draws the scene through a camera with the viewport's renderers: fast, in memory, with or without a display.

    Args:
        camera: Where to look from; it also gives the size. By default the scene's active camera.
        mode: Channels and their order: "rgb", "rgba" or "bgr" (OpenCV's).
        origin: Which corner the first row begins at: "upper-left", the field's convention, or "lower-left", OpenGL's.
        samples: Anti-aliasing. For Material and Rendered shading the number of EEVEE's samples (time grows with it);
            for Solid and Wireframe 1, 5, 8, 11, 16 or 32. None leaves what the file and the preferences say.
        color_management: True gives display-referred sRGB as the scene's view transform makes it ("Standard" suits
            data sets best); false gives scene-linear values. Solid shading ignores the view transform.

    Raises:
        ConfigError: An argument is not one of those above.
        SceneError: The file has no 3D viewport to draw with.
    """

    def __init__(
        self,
        camera: Camera | None = None,
        mode: Mode = "rgba",
        origin: Origin = "upper-left",
        *,
        samples: int | None = None,
        color_management: bool = True,
    ) -> None:
        _check("mode", mode, tuple(_CHANNELS))
        _check("origin", origin, _ORIGINS)
        if samples is not None and samples < 1:
            raise ConfigError(f"samples is {samples}, expected at least 1.")
        self.camera = as_camera(camera)
        self.mode = mode
        self.origin = origin
        self.samples = samples
        self.color_management = color_management
        self._style = _Style()
        self._targets: OffScreenTargets | None = None
        self._pixels = np.empty(0, np.uint8)  # of the picture drawn last, first row at the bottom
        require_viewport()
        ensure_gpu_context()

    def set_render_style(self, shading: Shading = "RENDERED", overlays: bool = False) -> None:
        """Sets what the pictures look like. Before the first call it is Solid, without overlays.

        In a window the first picture switches the viewport that one sees to this style.

        Args:
            shading: "WIREFRAME", "SOLID", "MATERIAL" or "RENDERED", as in the viewport's header. Rendered uses the
                scene's engine, which must be one that draws in the viewport: EEVEE or Workbench.
            overlays: Whether grid, outlines, empties, cameras and lights are drawn over the picture.

        Raises:
            ConfigError: `shading` is not one of those, or cannot be drawn with the renderer's number of samples.
        """
        _check("shading", shading, _SHADINGS)
        _check_samples(self.samples, shading)
        self._style = _Style(shading, overlays)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of channels of the pictures."""
        height, width = self.camera.shape
        return height, width, _CHANNELS[self.mode]

    def render(self, out: np.ndarray | None = None) -> np.ndarray:
        """Draws the scene as it is now.

        Args:
            out: Where to write the picture: uint8, C-contiguous, of `shape`. By default a new array.

        Returns:
            The picture, H x W x C uint8, C-contiguous: `out`, or a new array that is the caller's own.

        Raises:
            ConfigError: `out` has another shape, dtype or memory layout, or the style cannot be drawn with `samples`.
        """
        if out is None:
            out = np.empty(self.shape, np.uint8)
        elif out.shape != self.shape or out.dtype != np.uint8 or not out.flags.c_contiguous or not out.flags.writeable:
            raise ConfigError(
                f"out is {out.dtype} of shape {out.shape}, expected writable C-contiguous uint8 of shape {self.shape}."
            )
        _check_samples(self.samples, self._style.shading)
        drawn = self._draw()
        rows = drawn if self.origin == "lower-left" else drawn[::-1]
        np.copyto(out, rows[..., ::-1] if self.mode == "bgr" else rows)
        return out

    def _draw(self) -> np.ndarray:
        """Draws and reads back: H x W x C uint8, first row at the bottom, as OpenGL has it."""
        height, width, channels = self.shape
        if self._targets is None or self._pixels.shape != self.shape:
            self.close()
            self._targets = OffScreenTargets(width, height)
            self._pixels = np.empty(self.shape, np.uint8)
            self._buffer = gpu.types.Buffer("UBYTE", self._pixels.shape, self._pixels)
        target = self._targets.active()
        scene, view_layer = bpy.context.scene, bpy.context.view_layer
        space, region = require_viewport()
        _apply_style(space, self._style)
        with TemporarySettings() as change:
            _set_samples(change, self.samples, self._style, scene)
            # A change of colour settings or of a property is drawn only once the view layer has taken it over.
            view_layer.update()
            target.draw_view3d(
                scene,
                view_layer,
                space,
                region,
                Matrix(self.camera.view_matrix.tolist()),
                Matrix(self.camera.proj_matrix.tolist()),
                do_color_management=self.color_management,
                draw_background=True,
            )
            with target.bind():
                framebuffer = gpu.state.active_framebuffer_get()
                framebuffer.read_color(0, 0, width, height, channels, 0, "UBYTE", data=self._buffer)
        return self._pixels

    def close(self) -> None:
        """Frees the memory on the GPU. The next `render` takes it again."""
        if self._targets is not None:
            self._targets.free()
            self._targets = None


def _apply_style(space: bpy.types.SpaceView3D, style: _Style) -> None:
    """Sets the viewport up for a style, and leaves it so: switching to Rendered costs seconds in a window."""
    wanted = [
        (space.shading, "type", style.shading),
        (space.overlay, "show_overlays", style.overlays),
        (space, "show_gizmo", style.overlays),
    ]
    for owner, name, value in wanted:
        # Only what differs: each assignment makes Blender redraw the viewport.
        if getattr(owner, name) != value:
            setattr(owner, name, value)


def _set_samples(change: TemporarySettings, samples: int | None, style: _Style, scene: bpy.types.Scene) -> None:
    """Sets the number of samples; the user's preferences, which rule Solid shading, for as long as `change` lasts."""
    if samples is None:
        return
    if style.shading in {"SOLID", "WIREFRAME"}:
        change(bpy.context.preferences.system, "viewport_aa", WORKBENCH_AA[samples])
    elif scene.eevee.taa_samples != samples:
        scene.eevee.taa_samples = samples


def _check(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}.")


def _check_samples(samples: int | None, shading: str) -> None:
    if shading in {"SOLID", "WIREFRAME"} and samples is not None and samples not in WORKBENCH_AA:
        raise ConfigError(f"samples is {samples}, {shading} shading takes one of {', '.join(map(str, WORKBENCH_AA))}.")
