"""These tests run in a real window: Blender 5.2 on a virtual X display, which `tests/gui/provision.sh` has made."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blenders import REPO
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

BLENDER = REPO / ".gui" / "blender"
SCRIPTS = Path(__file__).parent / "scripts"
SCREENSHOTS = REPO / "out" / "gui"


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """A virtual display of its own."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait()


@pytest.fixture
def blender(display, monkeypatch, tmp_path_factory) -> str:
    """The path of a Blender that opens its window on the virtual display, with a profile of its own."""
    if not BLENDER.exists():
        pytest.fail("there is no .gui/blender: run `make test-gui`, which installs it")
    monkeypatch.setenv("DISPLAY", display)
    # Under /tmp, which Blender's folder and this one share.
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    return str(BLENDER)


@pytest.fixture
def screenshot(display):
    """Takes a screenshot for people to look at: out/gui/NAME.png."""

    def take(name: str) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        file = SCREENSHOTS / f"{name}.png"
        subprocess.run(["import", "-display", display, "-window", "root", str(file)], check=True, timeout=60)
        return file

    return take
