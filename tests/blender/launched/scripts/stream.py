"""Publishes small pictures of the turning cube, for ever or for --episodes."""

import sys

import bpy
import numpy as np

from blendtorch import btb

btargs, remainder = btb.parse_blendtorch_args()
cube = bpy.data.objects["Cube"]
camera = btb.Camera(shape=(48, 64))
renderer = btb.OffScreenRenderer(camera, mode="rgb", samples=1)
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
anim = btb.AnimationController()


def pre_frame():
    cube.rotation_euler = btb.sample_rng(btargs.seed, btargs.btid, anim.frameid).uniform(0, np.pi, size=3)


def post_frame():
    channel.publish(
        image=renderer.render(),
        xy=camera.object_to_pixel(cube),
        frameid=anim.frameid,
        blender=bpy.app.version_string,
        arguments=remainder,
    )


anim.pre_frame.add(pre_frame)
anim.post_frame.add(post_frame)
anim.play(frame_range=(1, 10), num_episodes=int(remainder[0]) if remainder else -1)
print("played to the end", file=sys.stderr)
