"""Does the window stay alive while the panel streams?

Blender in a window, the default cube, its 3D viewport asked to draw all the time, as somebody asks who turns the view:
how often it is drawn each second, without a stream, with one that nobody receives, and while samples of 128 x 128 Solid
with the labels that the panel makes at first go to a client that takes all. The add-on is built and installed into a
profile of its own. Every round measures all of them, one after the other.

Needs a `blender` executable and a display; where there is none, Xvfb.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from report import Row, parser, row_of_rounds, show

from blendtorch import btt

SIZE = 128
BATCH_SIZE = 8
REPO = Path(__file__).parents[1]
REMARKS = {
    "redraws": "drawing the viewport; software OpenGL takes all cores",
    "redraws-nobody": "as without: samples are made once somebody connects",
    "redraws-streaming": "the share of each turn that goes to samples",
}


def main() -> None:
    args = parser(__doc__.splitlines()[0]).parse_args()
    seconds, rounds = (3, 2) if args.quick else (6, 7)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blendtorch-bench-")))
        os.environ["BLENDER_USER_RESOURCES"] = str(folder / "profile")
        if not os.environ.get("DISPLAY"):
            os.environ["DISPLAY"] = stack.enter_context(virtual_display())
        blender = args.blender or str(REPO / ".gui" / "blender-plain")
        install(blender, folder)
        launcher = stack.enter_context(
            btt.BlenderLauncher(
                script=Path(__file__).parent / "panel.blend.py",
                named_sockets=["CTRL", "DATA"],
                proto="tcp",
                blend_path=blender,
                background=False,
            )
        )
        addresses = launcher.launch_info.addresses
        window = Window(btt.DuplexChannel(addresses["CTRL"][0], 0))
        results = [measure(window, addresses["DATA"][0], seconds) for _ in range(rounds + 1)][
            1:
        ]  # the first pictures compile shaders
        width, height = window.tell()["window"]
    rows = [row_of_rounds(results, name, "redraws/s", "redraws", remark) for name, remark in REMARKS.items()]
    rows.append(images_row(results))
    show(f"A window of {width} x {height} that streams {SIZE} x {SIZE} Solid", rows, args.json)


def images_row(results: list[dict[str, float]]) -> Row:
    """Images that arrive, for each time that the viewport was drawn."""
    return row_of_rounds(results, "images", "images/s", "redraws-streaming", "drawing, between two redraws")


class Window:
    """The window, which counts its redraws."""

    def __init__(self, channel: btt.DuplexChannel) -> None:
        self._channel = channel

    def tell(self, do: str = "", **options: object) -> dict:
        """Has it do something, and gives its count so far."""
        self._channel.send(do=do, size=SIZE, **options)
        answer = self._channel.recv(timeoutms=60_000)
        assert answer is not None, "the window did not answer in a minute"
        return answer

    def redraws(self, seconds: float) -> float:
        """Redraws a second, over some seconds from now."""
        before = self.tell()
        time.sleep(seconds)
        after = self.tell()
        return (after["redraws"] - before["redraws"]) / (after["at_s"] - before["at_s"])


def measure(window: Window, address: str, seconds: float) -> dict[str, float]:
    """One round."""
    values = {"redraws": window.redraws(seconds)}
    window.tell("start", port=int(address.rpartition(":")[2]))
    time.sleep(1)
    values["redraws-nobody"] = window.redraws(seconds)
    with Client(address) as client:
        before, at_s = client.images, time.perf_counter()
        values["redraws-streaming"] = window.redraws(seconds)
        values["images"] = (client.images - before) / (time.perf_counter() - at_s)
    window.tell("stop")
    return values


class Client:
    """Takes all samples, in a thread; returns from its `with` when they flow."""

    def __init__(self, address: str) -> None:
        self.images = 0
        self._loader = btt.StreamLoader(address, batch_size=BATCH_SIZE, timeoutms=60_000)
        self._thread = threading.Thread(target=self._take)
        self._flows = threading.Event()
        self._ended = False

    def __enter__(self) -> "Client":
        self._thread.start()
        assert self._flows.wait(60), "no samples came in a minute"
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended = True
        self._thread.join()

    def _take(self) -> None:
        with contextlib.closing(iter(self._loader)) as batches:
            for batch in batches:
                assert batch["image"].shape[1:3] == (SIZE, SIZE)
                self.images += len(batch["image"])
                if self.images >= 8 * BATCH_SIZE:  # what was in the queue has been taken
                    self._flows.set()
                if self._ended:
                    break


def install(blender: str, folder: Path) -> None:
    """Builds the add-on and installs it into the profile."""
    subprocess.run([sys.executable, REPO / "build_addon.py", "--output", folder], check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "blendtorch.cli", "addon", "install", "--blender", blender]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def virtual_display() -> Iterator[str]:
    """An X display that nobody sees; gives its name."""
    if shutil.which("Xvfb") is None:
        sys.exit("There is no display: run this on a desktop, or install Xvfb (Debian: apt-get install xvfb).")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        name = f":{answer.readline().strip()}"
    try:
        yield name
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
