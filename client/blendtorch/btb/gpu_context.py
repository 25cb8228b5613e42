"""A GPU context for drawing, also in background mode and without a display."""

import bpy
import gpu

from . import compat


def ensure_gpu_context() -> None:
    """Makes the `gpu` module draw, whatever the mode and the version of Blender. Cheap when it does already.

    In a window it always does. In background Blender 5.2 offers `gpu.init()`; before that, a first render leaves its
    context behind, so one of 8 x 8 pixels is made, of a scene of its own. It has a triangle: where nothing but an empty
    scene was rendered before something is drawn, 4.5 may leave Workbench's first render empty, without an error.
    """
    if not compat.is_background() or _can_draw():
        return
    if hasattr(gpu, "init"):
        gpu.init()
    else:
        _render_once()
    if not _can_draw():
        raise RuntimeError(
            "Blender has no GPU context to draw with in background mode. Expected OpenGL through EGL (on Debian: "
            "apt-get install libegl1 libgl1 libgl1-mesa-dri). `blendtorch doctor` tells what is missing."
        )


def _can_draw() -> bool:
    try:
        gpu.state.active_framebuffer_get()
    except SystemError:  # "GPU functions for drawing are not available in background mode"
        return False
    return True


def _render_once() -> None:
    scene = bpy.data.scenes.new("blendtorch GPU context")
    camera_data = bpy.data.cameras.new(scene.name)
    camera = bpy.data.objects.new(scene.name, camera_data)
    mesh = bpy.data.meshes.new(scene.name)
    mesh.from_pydata([(-1, -1, -2), (1, -1, -2), (0, 1, -2)], [], [(0, 1, 2)])
    triangle = bpy.data.objects.new(scene.name, mesh)
    try:
        scene.collection.objects.link(camera)
        scene.collection.objects.link(triangle)
        scene.camera = camera
        scene.render.engine = "BLENDER_WORKBENCH"
        scene.render.resolution_x = scene.render.resolution_y = 8
        scene.render.use_compositing = scene.render.use_sequencer = False
        bpy.ops.render.render(scene=scene.name)
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.objects.remove(camera)
        bpy.data.objects.remove(triangle)
        bpy.data.cameras.remove(camera_data)
        bpy.data.meshes.remove(mesh)
