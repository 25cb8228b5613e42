"""Installs the add-on's zips of the arguments one over the other in this Blender; tells each time what is imported then."""

import json
import os
import sys

import bpy

ADDON = "bl_ext.user_default.blendtorch"


def told():
    engine = sys.modules[f"{ADDON}.engine"]
    return {
        "new": hasattr(sys.modules["blendtorch.errors"], "IS_NEW"),
        "same": sys.modules["blendtorch.errors"].SceneError is engine.SceneError,
        "panel": hasattr(bpy.types, "BLENDTORCH_PT_main"),
    }


states = []
for path in sys.argv[sys.argv.index("--") + 1 :]:
    bpy.ops.extensions.package_install_files(filepath=path, repo="user_default", enable_on_install=True, overwrite=True)
    states.append(told())

# Reloaded by Blender, as when its files were replaced by another process.
import importlib  # noqa: E402

before = sys.modules["blendtorch.errors"]
addon = sys.modules[ADDON]
addon.unregister()
sys.modules["blendtorch"].__distribution_version__ = "another"
importlib.reload(addon)
addon.register()
states.append({**told(), "again": sys.modules["blendtorch.errors"] is not before})
print("TOLD", json.dumps(states), flush=True)
os._exit(0)
