"""Launches two workers of the Blender that it runs in, takes samples of both, prints them; "wait" waits to be killed.

Run in a Blender that nobody has launched, as the panel does: without torch, with whatever its Python has.
"""

import json
import sys
import time
from pathlib import Path

import bpy

from blendtorch.launch import BlenderLauncher
from blendtorch.wire.sample_receiver import SampleReceiver

mode = sys.argv[-1]
blender = bpy.app.binary_path or sys.executable  # the bpy module has no executable of its own
script = Path(__file__).with_name("stream.py")
with BlenderLauncher(script=script, num_instances=2, blend_path=blender, seed=1) as launcher:
    receiver = SampleReceiver(launcher.launch_info.addresses["DATA"])
    found = {}
    while len(found) < 2:
        group = receiver.receive(1, 60)
        found.setdefault(group.btid, group.items()[0]["image"].std())
        group.release()
    receiver.close()
    folders = [str(owned.path) for owned in launcher._folders]
    told = {
        "blender": bpy.app.version_string,
        "deviations": {str(btid): float(value) for btid, value in found.items()},
        "pids": launcher.launch_info.pids,
        "folders": folders,
        "modules": sorted({"torch", "psutil"} & sys.modules.keys()),
    }
    print("TOLD " + json.dumps(told), flush=True)
    while mode == "wait":
        time.sleep(0.1)
print("ENDED", flush=True)
