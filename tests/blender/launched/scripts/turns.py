"""Publishes pictures of a cube that is turned by its sample's address alone, two or three for each index.

Arguments: "indices" or "episodes", and how many of them each instance works at; -1 for ever.
"""

import bpy
import numpy as np

from blendtorch import btb

btargs, (kind, count) = btb.parse_blendtorch_args()
cube = bpy.data.objects["Cube"]
renderer = btb.OffScreenRenderer(btb.Camera(shape=(48, 64)), mode="rgb", samples=1)
for screen in bpy.data.screens:
    for area in screen.areas:
        if area.type == "VIEW_3D":
            # The first pictures of a process would differ by a trace.
            area.spaces.active.shading.show_specular_highlight = False
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid, send_hwm=4)


def publish(index, part):
    cube.rotation_euler = btb.sample_rng(btargs.seed, index, part).uniform(0, np.pi, size=3)
    bpy.context.view_layer.update()
    channel.publish(image=renderer.render(), part=part, turn=np.array(cube.rotation_euler))


if kind == "indices":
    indices = btb.sample_indices(btargs.btid, btargs.num_instances)
    for index in indices:
        if int(count) != -1 and index >= btargs.btid + int(count) * btargs.num_instances:
            break
        for part in range(2 + index % 2):
            publish(index, part)
else:
    anim = btb.AnimationController()
    anim.post_frame.add(lambda: publish(btargs.btid + anim.episode * btargs.num_instances, anim.frameid - 1))
    anim.play(frame_range=(1, 3), num_episodes=int(count))
