"""A Blender in a window that a program works with: Python in its main loop, mouse and keys from outside."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTROL = Path(__file__).parent / "scripts" / "control.py"
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 120.0


@contextmanager
def virtual_display(width: int = 1280, height: int = 1024) -> Iterator[str]:
    """An X display of its own that nobody sees; gives its name."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(write)
        with os.fdopen(read) as answer:
            number = answer.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


@dataclass(frozen=True)
class Rectangle:
    """A part of the display, in pixels from its upper left corner."""

    left: int
    top: int
    width: int
    height: int


class BlenderError(AssertionError):
    """The Python that was sent raised; the message is its traceback."""


class Window:
    """Blender, started in a window that fills the display.

    Args:
        blender: The executable.
        display: Name of the X display.
        home: Home folder, which holds Blender's profile.
        folder: Where the socket and the log go; short, and both sides see it.
        arguments: Of Blender, before the script: a file to open.
        size: Of the window, in pixels.
    """

    def __init__(
        self,
        blender: str | Path,
        display: str,
        home: Path,
        folder: Path,
        *arguments: str | Path,
        size: tuple[int, int] = (1280, 1024),
    ) -> None:
        self.display = display
        self.size = size
        self.log = folder / f"window-{time.monotonic_ns()}.log"
        address = self.log.with_suffix(".sock")
        self._environment = {**os.environ, "DISPLAY": display, "HOME": str(home)}
        geometry = ["--window-geometry", "0", "0", *map(str, size)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [blender, *geometry, *arguments, "--python", CONTROL, "--", address],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._socket = self._connect(address)
            self._stream = self._socket.makefile("rwb")
            self._id = self._xdotool("search", "--sync", "--onlyvisible", "--pid", str(self.process.pid)).split()[0]
            self.focus()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    # Python in its main loop

    def run(self, code: str) -> Any:
        """Executes code in the main loop and gives what it leaves in `result`; names last until the next one.

        Raises:
            BlenderError: It raised.
        """
        self.send(code)
        answer = self._stream.readline()
        if not answer:
            raise BlenderError(f"Blender ended:\n{self.tail()}")
        message = json.loads(answer)
        if "error" in message:
            raise BlenderError(f"{message['error']}\nof: {code}")
        return message["result"]

    def send(self, code: str) -> None:
        """Sends code, whose answer nobody waits for."""
        self._stream.write(json.dumps({"code": code}).encode() + b"\n")
        self._stream.flush()

    def settle(self) -> None:
        """Waits until what mouse and keys have done has been done and drawn."""
        time.sleep(0.2)
        self.turns()

    def turns(self) -> None:
        """Waits until Blender has heard of what mouse and keys have done, however busy it is.

        In each of its turns it takes up what has come, then answers, then does what it has taken up: what is asked next,
        is asked after that.
        """
        for _ in range(2):
            self.run("")

    def get(self, expression: str) -> Any:
        """The value of an expression."""
        return self.run(f"result = {expression}")

    def wait_for(self, expression: str, timeout_s: float = 30.0) -> Any:
        """Waits until an expression is true, and gives its value; Blender goes on meanwhile."""
        try:
            return wait_for(lambda: self.get(expression), expression, timeout_s)
        except TimeoutError as error:
            raise BlenderError(f"{error}\n{self.tail()}") from None

    # Mouse and keys

    def focus(self) -> None:
        """Gives it the keyboard."""
        self._xdotool("windowfocus", self._id)

    def focus_other(self) -> Rectangle:
        """Gives the keyboard to the second window that Blender has opened, and tells where that is."""
        self.wait_for("len(bpy.context.window_manager.windows) == 2")
        self.settle()
        ids = self._xdotool("search", "--onlyvisible", "--pid", str(self.process.pid)).split()
        (other,) = (one for one in ids if one != self._id)
        self._xdotool("windowfocus", other)
        x, y, width, height = self.run(
            "w = bpy.context.window_manager.windows[1]; result = [w.x, w.y, w.width, w.height]"
        )
        return Rectangle(x, self.size[1] - y - height, width, height)

    def move(self, x: int, y: int) -> None:
        """Moves the pointer; by way of a neighbour, for Blender to see a motion in any case."""
        self._xdotool("mousemove", str(x + 1), str(y), "mousemove", str(x), str(y))
        self.turns()

    def click(self, x: int, y: int, button: int = 1, *, ctrl: bool = False) -> None:
        """Clicks with a button of the mouse: 1 left, 3 right."""
        self.move(x, y)
        self._xdotool(*(["keydown", "ctrl"] if ctrl else []), "mousedown", str(button))
        self.turns()  # both within one turn are no click
        self._xdotool("mouseup", str(button), *(["keyup", "ctrl"] if ctrl else []))
        self.turns()

    def key(self, *keys: str) -> None:
        """Presses keys, by their names in X, one after the other."""
        for key in keys:
            self._xdotool("key", key)
            self.turns()

    def type(self, text: str) -> None:
        """Types a text."""
        self._xdotool("type", "--delay", "20", text)
        self.turns()

    def region(self, region_type: str = "UI", area_type: str = "VIEW_3D") -> Rectangle:
        """Where the region of an area lies."""
        region = f"region_of({region_type!r}, {area_type!r})"
        x, y, width, height = self.run(f"r = {region}; result = [r.x, r.y, r.width, r.height]")
        return Rectangle(x, self.size[1] - y - height, width, height)

    def screenshot(self, file: Path, part: Rectangle | None = None) -> Path:
        """Writes what the display shows, or a part of it."""
        crop = [] if part is None else ["-crop", f"{part.width}x{part.height}+{part.left}+{part.top}", "+repage"]
        command = ["import", "-display", self.display, "-window", "root", *crop, "-depth", "8", str(file)]
        subprocess.run(command, check=True, timeout=60)
        return file

    # Its end

    def close(self) -> int:
        """Quits as its user does, without saving, and gives the exit status."""
        self.run("bpy.context.preferences.view.use_save_prompt = False")
        self._xdotool("key", "ctrl+q")
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        """The last lines that Blender printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _connect(self, address: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_TIMEOUT_S)

        def attempt() -> bool:
            assert self.process.poll() is None, f"Blender ended:\n{self.tail()}"
            try:
                connection.connect(str(address))
            except OSError:
                return False
            return True

        wait_for(attempt, "Blender to listen", START_TIMEOUT_S)
        address.unlink()
        return connection

    def _xdotool(self, *arguments: str) -> str:
        command = ["xdotool", *arguments]
        return subprocess.run(
            command, env=self._environment, check=True, capture_output=True, text=True, timeout=30
        ).stdout


def wait_for(look: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Looks until it sees something true, and gives that.

    Raises:
        TimeoutError: It did not.
    """
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s for: {what}")
        time.sleep(0.05)
    return seen
