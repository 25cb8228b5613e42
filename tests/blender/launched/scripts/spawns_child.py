"""Starts a process of its own, and says how the script ends."""

import pathlib
import subprocess
import sys
import time

from blendtorch import btb

btargs, (ended_file,) = btb.parse_blendtorch_args()
subprocess.Popen(["sleep", "1000"])
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
try:
    while True:
        channel.publish(time=time.time())
finally:
    pathlib.Path(ended_file).write_text(str(sys.exc_info()[0].__name__))
