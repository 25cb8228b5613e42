"""Runs inside Blender for soak.py: publishes pictures of one colour, which tells the index that they were made for."""

import time

import numpy as np
from soak_picture import SHAPE, color_of

from blendtorch import btb

btargs, (rate,) = btb.parse_blendtorch_args()
interval_s = 1 / float(rate) if float(rate) else 0
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
image = np.empty(SHAPE, np.uint8)
# After a restart these go on with what the predecessor still owed.
for index in btb.sample_indices(btargs.btid, btargs.num_instances):
    image[:] = color_of(index)
    channel.publish(image=image, made_for=index)
    if interval_s:
        time.sleep(interval_s)
