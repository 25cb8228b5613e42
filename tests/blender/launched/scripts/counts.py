"""Publishes numbers as fast as it can, and ends."""

import numpy as np

from blendtorch import btb

btargs, (count, size) = btb.parse_blendtorch_args()
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
for number in range(int(count)):
    channel.publish(number=number, data=np.zeros(int(size), np.uint8))
