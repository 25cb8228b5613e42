"""In a Blender with the add-on installed: registers, unregisters and registers it, and tells what is there each time."""

import json
import os
import sys
import threading

import bpy  # first: it makes Blender's own modules importable

# isort: split
import addon_utils

MODULE = "bl_ext.user_default.blendtorch"


def ours():
    """What of the add-on's is registered: classes, properties, handlers; and the threads that run."""
    classes = [name for name in dir(bpy.types) if name.lower().startswith("blendtorch")]
    operators = dir(bpy.ops.blendtorch)
    properties = [
        f"{kind}.{name}"
        for kind in ("Scene", "WindowManager", "Object", "Material")
        for name in getattr(bpy.types, kind).bl_rna.properties.keys()  # noqa: SIM118  (it is no dict)
        if "blendtorch" in name
    ]
    handlers = [
        f"{name}.{function.__name__}"
        for name in dir(bpy.app.handlers)
        if isinstance(functions := getattr(bpy.app.handlers, name), list)
        for function in functions
        if getattr(function, "__module__", "").startswith(MODULE)
    ]
    threads = [thread.name for thread in threading.enumerate()]
    return {
        "classes": classes,
        "operators": operators,
        "properties": properties,
        "handlers": handlers,
        "threads": threads,
    }


before = ours()
states = []
for _ in range(2):
    assert addon_utils.enable(MODULE, default_set=True) is not None, "it was not registered"
    on = ours()
    addon_utils.disable(MODULE, default_set=True)
    states.append((on, ours()))
addon_utils.enable(MODULE, default_set=True)

import zmq  # noqa: E402

import blendtorch  # noqa: E402
from blendtorch import btb  # noqa: E402, F401

context = zmq.Context()
push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
push.connect(f"tcp://127.0.0.1:{pull.bind_to_random_port('tcp://127.0.0.1')}")
push.send(b"through")
told = {
    "before": before,
    "states": states,
    "blendtorch": blendtorch.__file__,
    "zmq": zmq.__file__,
    "pyzmq": zmq.__version__,
    "message": pull.recv().decode(),
    "torch": "torch" in sys.modules,
    "online": bpy.app.online_access,
}
print("TOLD " + json.dumps(told), flush=True)
os._exit(0)  # Blender 4.5's module may hang at the interpreter's own exit
