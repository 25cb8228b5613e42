"""What is drawn into off screen, in each of the windows' GPU contexts.

Each window has a context of its own, and the one that was drawn last is active when a timer or an operator runs. They share
textures and shaders, but neither framebuffers nor what `GPUOffScreen.draw_view3d` keeps from one picture to the next: in
another context it draws black, without an error. So there is one target for each.
"""

import ctypes
import sys

import bpy
import gpu

from . import compat


class OffScreenTargets:
    """The targets of one renderer, of one size, made as they are needed.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self._targets: list[tuple[_WindowContext, gpu.types.GPUOffScreen]] = []

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.free()
        elif len(self._targets) > 1:  # Blender ends, and has no windows any more
            for _, target in self._targets:
                _abandon(target)

    def active(self) -> gpu.types.GPUOffScreen:
        """The target for the context that is active now."""
        for context, target in self._targets:
            if context.is_active:
                return target
        target = gpu.types.GPUOffScreen(*self._size, format="RGBA8")
        self._targets.append((_WindowContext(), target))
        return target

    def free(self) -> None:
        """Frees the memory, but for what windows that were closed meanwhile have left."""
        while self._targets:
            context, target = self._targets.pop()
            if context.may_exist:
                target.free()
            else:
                _abandon(target)


class _WindowContext:
    """The GPU context that is active when this is made."""

    def __init__(self) -> None:
        self._framebuffer = _framebuffer()
        self._windows = _windows()

    @property
    def is_active(self) -> bool:
        """Whether that context is active now."""
        return _framebuffer() is self._framebuffer

    @property
    def may_exist(self) -> bool:
        """Whether no window was closed since."""
        return self._windows <= _windows()


def _abandon(target: gpu.types.GPUOffScreen) -> None:
    """Keeps it from ever being freed: where its context is gone that hangs or crashes Blender."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(target))


def _framebuffer() -> "gpu.types.GPUFrameBuffer | None":
    """What is drawn to when nothing else is bound: the window, which tells its context. Without a window there is one."""
    # To bind a framebuffer and see whether Blender does so would do, too, but it does not take those that it has refused
    # off its stack of 16, and crashes.
    return None if compat.is_background() else gpu.state.active_framebuffer_get()


def _windows() -> set[int]:
    if compat.is_background():
        return set()
    return {window.as_pointer() for window in bpy.context.window_manager.windows}
