"""Publishes pictures that are drawn straight into where they are sent from."""

import sys
import time

import numpy as np

from blendtorch import btb
from blendtorch.wire import layout

btargs, _ = btb.parse_blendtorch_args()
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
renderer = btb.OffScreenRenderer(btb.Camera(shape=(48, 64)), mode="rgb", samples=1)
copied = []
write = layout.Field.write
layout.Field.write = lambda self, place, value: (copied.append(self.name), write(self, place, value))

for i in range(20):
    while not channel.ready():  # without room the place is elsewhere
        time.sleep(0.001)
    image = channel.reserve("image", renderer.shape)
    renderer.render(out=image)
    channel.publish(image=image, mean=float(np.mean(image)), number=i)
print("copied", copied.count("image"), "images", file=sys.stderr)
