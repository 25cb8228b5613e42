"""Reserves memory of another shape than it has first published."""

import numpy as np

from blendtorch import btb

btargs, _ = btb.parse_blendtorch_args()
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
channel.publish(image=np.zeros((2, 3), np.uint8))
for shape, dtype in [((2, 3), np.uint8), ((2, 4), np.uint8), ((2, 3), np.float32)]:
    image = channel.reserve("image", shape, dtype)
    image[:] = len(shape)
    channel.publish(image=image)
channel.reserve("other", (5,))
