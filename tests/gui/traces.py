"""What a Blender has that the add-on could leave behind."""

import contextlib

import psutil

from .addon_window import AddonWindow
from .window import wait_for


class Traces:
    """What a Blender has that the add-on could leave behind."""

    def __init__(self, window: AddonWindow) -> None:
        self._window = window
        self._before = self._look()

    def _look(self) -> dict[str, object]:
        process = psutil.Process(self._window.process.pid)
        inside = self._window.run(
            "import threading\n"
            "lists = {name: getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers)}\n"
            "result = {'threads': sorted(t.name for t in threading.enumerate() if t.name != 'MainThread'),\n"
            "    'keys': sum(len(k.keymap_items) for k in bpy.context.window_manager.keyconfigs.addon.keymaps),\n"
            "    'handlers': {name: len(them) for name, them in lists.items() if isinstance(them, list)}}"
        )
        return {
            **inside,
            "sockets": sorted(str(one.laddr) for one in process.net_connections("tcp") if one.status == "LISTEN"),
            "children": [child.name() for child in process.children(recursive=True)],
            "shared": [file.path for file in process.open_files() if "/blendtorch-" in file.path],
        }

    def assert_none(self) -> None:
        """Fails when something is there, after some seconds, that was not at first."""
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: self._look() == self._before, "nothing to be left", 15)
        assert self._look() == self._before
