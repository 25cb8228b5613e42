"""Runs inside Blender: turns the default cube and publishes its picture with the pixels of its corners."""

import bpy
import numpy as np

from blendtorch import btb


def main() -> None:
    btargs, _ = btb.parse_blendtorch_args()
    cube = bpy.data.objects["Cube"]

    def pre_frame() -> None:
        episode = btargs.btid + anim.episode * btargs.num_instances  # of the whole stream
        rng = btb.sample_rng(btargs.seed, episode, anim.frameid)
        cube.rotation_euler = rng.uniform(0, np.pi, size=3)

    def post_frame(anim: btb.AnimationController) -> None:
        channel.publish(image=renderer.render(), xy=camera.object_to_pixel(cube), frameid=anim.frameid)

    channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
    camera = btb.Camera(shape=(240, 320))
    renderer = btb.OffScreenRenderer(camera, mode="rgb")
    renderer.set_render_style(shading="SOLID", overlays=False)

    anim = btb.AnimationController()
    anim.pre_frame.add(pre_frame)
    anim.post_frame.add(post_frame, anim)
    anim.play(frame_range=(0, 100), num_episodes=-1)


main()
