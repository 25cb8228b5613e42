"""Records pictures and labels of a cube, two or three of each index; publishes them, too, if there is a DATA socket.

Arguments: "indices" or "episodes", how many of them all instances make together, the FOLDER, and maybe a mishap: "killed"
(the last instance, once, amid its third index), "waits" (in index 2), a size in bytes that no file may exceed, or "full":
the size that the recording has in the end.
"""

import os
import resource
import signal
import time

import bpy
import numpy as np

from blendtorch import btb

btargs, (kind, count, folder, *mishap) = btb.parse_blendtorch_args()
mishap = mishap[0] if mishap else ""
cube = bpy.data.objects["Cube"]
renderer = btb.OffScreenRenderer(btb.Camera(shape=(48, 64)), mode="rgb", samples=1)
for screen in bpy.data.screens:
    for area in screen.areas:
        if area.type == "VIEW_3D":
            # The first pictures of a process would differ by a trace.
            area.spaces.active.shading.show_specular_highlight = False
channels = [btb.Recorder(folder, btargs.btid)]
if "DATA" in btargs.btsockets:
    channels.append(btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid))
if mishap.isdigit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(mishap), int(mishap)))


def publish(index, part):
    if mishap == "killed" and btargs.epoch == 0 and (index, part) == (3 * btargs.num_instances - 1, 1):
        time.sleep(0.5)  # so that the launcher hears that it has published
        os.kill(os.getpid(), signal.SIGKILL)
    rng = btb.sample_rng(btargs.seed, index, part)
    cube.rotation_euler = rng.uniform(0, np.pi, size=3)
    bpy.context.view_layer.update()
    print("made", index, part, flush=True)
    image = channels[0].reserve("image", renderer.shape)
    renderer.render(out=image)
    labels = {"pose": np.array(cube.matrix_world), "names": ["Cube"], "size": tuple(cube.dimensions)}
    for channel in channels:
        channel.publish(image=image, labels=labels, part=part, angle=np.float32(cube.rotation_euler.x), note=None)
    if mishap == "waits" and (index, part) == (2, 1):
        print("waits", flush=True)
        time.sleep(100)


if kind == "indices":
    for index in btb.sample_indices(btargs.btid, btargs.num_instances, stop=int(count)):
        for part in range(2 + index % 2):
            publish(index, part)
else:
    anim = btb.AnimationController()
    anim.post_frame.add(lambda: publish(btargs.btid + anim.episode * btargs.num_instances, anim.frameid - 1))
    anim.play((1, 3), num_episodes=int(count) // btargs.num_instances)
if mishap == "full":
    (shard,) = (os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".partial"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(shard),) * 2)
