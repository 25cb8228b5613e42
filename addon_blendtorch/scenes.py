"""The scene that is streamed, looked up anew each time: references do not outlive an undo."""

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from blendtorch.errors import SceneError


def find_scene(uid: int) -> bpy.types.Scene | None:
    """The scene of that `session_uid`, which stays when the scene is renamed, and after an undo."""
    return next((scene for scene in bpy.data.scenes if scene.session_uid == uid), None)


def find_window(scene: bpy.types.Scene) -> bpy.types.Window | None:
    """A window that shows the scene; else any; None without windows."""
    windows = list(bpy.context.window_manager.windows)
    return next((window for window in windows if window.scene == scene), windows[0] if windows else None)


@contextmanager
def scene_context(uid: int, missing_ok: bool = False) -> Iterator[bpy.types.Scene | None]:
    """Makes the scene that of the context; in timers the context has none of its own choice.

    Args:
        uid: Its `session_uid`.
        missing_ok: Whether it may be gone; the context is left alone then.

    Raises:
        SceneError: It is gone.
    """
    scene = find_scene(uid)
    if scene is None:
        if not missing_ok:
            raise SceneError("the scene that samples were made of was removed. Choose a scene and start again.")
        yield None
        return
    with bpy.context.temp_override(window=find_window(scene), scene=scene):
        yield scene
