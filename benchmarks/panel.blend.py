"""Runs in a window for panel.py: counts how often the 3D viewport is drawn, while the panel streams or not."""

import time

import bpy

from blendtorch import btb

btargs, _ = btb.parse_blendtorch_args()
commands = btb.DuplexChannel(btargs.btsockets["CTRL"], btargs.btid)
bpy.context.preferences.view.show_splash = False
redraws = 0


def drawn():
    global redraws
    redraws += 1


def ask_for_redraw():
    """As somebody does who turns the view all the time."""
    for area in bpy.context.window_manager.windows[0].screen.areas:
        if area.type == "VIEW_3D":
            area.tag_redraw()
    return 0.0


def serve():
    """Starts and stops the stream on command, and tells how many redraws there have been until when."""
    command = commands.recv(timeoutms=0)
    if command is None:
        return 0.01
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        if command["do"] == "start":
            setup(window.scene.blendtorch, command)
            bpy.ops.blendtorch.stream_start()
        elif command["do"] == "stop":
            bpy.ops.blendtorch.stream_stop()
    commands.send(redraws=redraws, at_s=time.perf_counter(), window=(window.width, window.height))
    return 0.01


def setup(settings, command):
    settings.stream.port = command["port"]
    settings.output.width = settings.output.height = command["size"]
    settings.output.renderer = "SOLID"


bpy.types.SpaceView3D.draw_handler_add(drawn, (), "WINDOW", "POST_PIXEL")
bpy.app.timers.register(ask_for_redraw)
bpy.app.timers.register(serve)
