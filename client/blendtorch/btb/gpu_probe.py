"""Runs inside Blender, for `blendtorch doctor`: makes a GPU context, draws with it, and prints what it is.

The one argument is the mark that the line with the answer begins with.
"""

import ctypes
import json
import sys

import gpu

from blendtorch.btb.gpu_context import ensure_gpu_context

mark = sys.argv[sys.argv.index("--") + 1]
try:
    ctypes.CDLL("libEGL.so.1")
    egl = "there"
except OSError as error:
    egl = f"not there ({error})"
ensure_gpu_context()
target = gpu.types.GPUOffScreen(8, 8)
with target.bind():
    frame = gpu.state.active_framebuffer_get()
    frame.clear(color=(1.0, 0.0, 1.0, 1.0))
    pixel = list(frame.read_color(0, 0, 1, 1, 4, 0, "UBYTE").to_list()[0][0])
found = {
    "renderer": gpu.platform.renderer_get(),
    "vendor": gpu.platform.vendor_get(),
    "version": gpu.platform.version_get(),
    "backend": gpu.platform.backend_type_get(),
    "device_type": gpu.platform.device_type_get(),
    "egl": egl,
    "pixel": pixel,
}
print(mark + json.dumps(found), flush=True)
