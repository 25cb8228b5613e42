"""Runs inside Blender for render.py: draws frames on command, and publishes them or not."""

import bpy

from blendtorch import btb

SHAPE = (480, 640)

btargs, _ = btb.parse_blendtorch_args()
commands = btb.DuplexChannel(btargs.btsockets["CTRL"], btargs.btid)
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
cube = bpy.data.objects["Cube"]
renderer = btb.OffScreenRenderer(btb.Camera(shape=SHAPE), mode="rgba", samples=1)
scene = bpy.context.scene
frame = 0


def draw():
    global frame
    frame = frame % 250 + 1
    cube.rotation_euler.z = frame / 20
    scene.frame_set(frame)
    return renderer.render()


while True:
    command = commands.recv(timeoutms=None)
    for _ in range(command["frames"]):
        image = draw()
        if command["publish"]:
            channel.publish(image=image, frameid=frame)
    if not command["publish"]:
        commands.send(done=True)
