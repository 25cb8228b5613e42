"""Runs in the window: does what the test sends, in Blender's main loop, and answers.

    blender --python control.py -- SOCKET

A line of JSON `{"code": ...}` is executed in a namespace that lasts; what it leaves in `result` is answered as
`{"result": ...}`, an exception as `{"error": TRACEBACK}`.
"""

import json
import socket
import sys
import traceback

import bpy

EVERY_S = 0.01


class Control:
    """A listening socket, looked at by a timer."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self._received = b""
        self._names: dict = {"bpy": bpy, "region_of": region_of, "view": view, "button": button, "addon": addon}

    def tick(self) -> float:
        """Answers what has come in."""
        try:
            if self._connection is None:
                self._connection, _ = self._listener.accept()
                self._connection.setblocking(False)
            self._received += self._connection.recv(1 << 20)
        except BlockingIOError:
            return EVERY_S
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            answer = json.dumps(self._do(json.loads(line)["code"])).encode() + b"\n"
            self._connection.setblocking(True)
            self._connection.sendall(answer)
            self._connection.setblocking(False)
        return EVERY_S

    def _do(self, code: str) -> dict:
        self._names.pop("result", None)
        try:
            exec(compile(code, "<test>", "exec"), self._names)
            return {"result": self._names.get("result")}
        except Exception:
            return {"error": traceback.format_exc()}


def region_of(region_type: str = "WINDOW", area_type: str = "VIEW_3D"):
    """The region of the first area of a type."""
    screen = bpy.context.window_manager.windows[0].screen
    area = next(area for area in screen.areas if area.type == area_type)
    return next(region for region in area.regions if region.type == region_type)


def view(region_type: str = "WINDOW", area_type: str = "VIEW_3D"):
    """What operators are called in, as if that region were under the pointer."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == area_type)
    return bpy.context.temp_override(window=window, area=area, region=region_of(region_type, area_type))


def addon(name: str):
    """A module of the add-on."""
    return sys.modules[f"bl_ext.user_default.blendtorch.{name}"]


def button(region_type: str = "UI", area_type: str = "VIEW_3D") -> str:
    """What the button under the pointer is: the call of its operator, the path of its property, or nothing."""
    manager = bpy.context.window_manager
    with view(region_type, area_type):
        for copy in (bpy.ops.ui.copy_python_command_button, bpy.ops.ui.copy_data_path_button):
            if copy.poll():
                kept, manager.clipboard = manager.clipboard, ""
                try:
                    copy()
                    return manager.clipboard
                finally:
                    manager.clipboard = kept
    return ""


# The splash covers the window, and asks what a first start asks.
bpy.context.preferences.view.show_splash = False
control = Control(sys.argv[-1])
bpy.app.timers.register(control.tick, persistent=True)
