"""Plays in the window: publishes pictures, the order of signals, and how often the window's own timers ran."""

import bpy

from blendtorch import btb

btargs, remainder = btb.parse_blendtorch_args()
bpy.context.preferences.view.show_splash = False
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid, send_hwm=2)
camera = btb.Camera(shape=(48, 64))
renderer = btb.OffScreenRenderer(camera, mode="rgb", samples=1)
for area in bpy.context.window_manager.windows[0].screen.areas:
    if area.type == "VIEW_3D":
        area.spaces.active.shading.show_object_outline = False  # a pixel around the cube, where no surface is
labels = btb.LabelRenderer(camera, ("ids", "depth", "normals_world", "flow"))
anim = btb.AnimationController()
calls = []
ticks = 0
returned = False
for name in ["pre_play", "pre_animation", "pre_frame", "post_frame", "post_animation", "post_play"]:
    getattr(anim, name).add(calls.append, name)


def tick():
    """Runs as long as the window lives; a window that is held has no ticks."""
    global ticks
    ticks += 1
    return 0.02


def pre_frame():
    bpy.data.objects["Cube"].rotation_euler.z = anim.frameid / 10


def post_frame():
    arrays = labels.render()
    channel.publish(
        image=renderer.render(),
        ids=arrays["ids"],
        reasons=btb.check_labels(labels.annotate(), ids=arrays["ids"], depth=arrays["depth"]),
        frameid=anim.frameid,
        ticks=ticks,
        returned=returned,
        window=bpy.context.window is not None,
        scene=bpy.context.scene.name,
    )


anim.pre_frame.add(pre_frame)
anim.post_frame.add(post_frame)
anim.post_play.add(lambda: channel.publish(calls=calls))
bpy.app.timers.register(tick)
first, last, episodes = map(int, remainder)
anim.play((first, last), num_episodes=episodes)
returned = True
