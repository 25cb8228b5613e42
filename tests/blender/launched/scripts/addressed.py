"""Publishes its indices, with some bytes, as fast as it can.

Arguments: COUNT of indices, SIZE in bytes, DELAY in seconds, and maybe the largest FILE that it can make, in bytes.
"""

import resource
import time

import numpy as np

from blendtorch import btb

btargs, (count, size, delay_s, *largest) = btb.parse_blendtorch_args()
if largest:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest[0]), int(largest[0])))
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
for index in btb.sample_indices(btargs.btid, btargs.num_instances):
    if index >= int(count) * btargs.num_instances:
        break
    channel.publish(index=index, data=np.full(int(size), index % 256, np.uint8))
    time.sleep(float(delay_s))
