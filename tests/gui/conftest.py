"""These tests run in a real window: Blenders on a virtual X display, which `tests/gui/provision.sh` has made."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.blenders import REPO
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

from .addon_window import AddonWindow, install
from .window import virtual_display

SCRIPTS = Path(__file__).parent / "scripts"
SCREENSHOTS = REPO / "out" / "gui"


@dataclass(frozen=True)
class Provided:
    """A Blender that provision.sh has made.

    Attributes:
        version: Of Blender.
        folder: Where it lies.
        variant: Ending of the name of the add-on's zip for it.
    """

    version: str
    folder: Path
    variant: str

    def executable(self, name: str) -> str:
        """The path of one of its executables; a test that needs what is not there fails."""
        path = self.folder / name
        if not path.exists():
            pytest.fail(f"there is no {path.relative_to(REPO)}: run `make test-gui`, which installs it")
        return str(path)


PROVIDED = {
    "5.2": Provided("5.2", REPO / ".gui", "-abi3"),  # on Python 3.14
    "4.3": Provided("4.3", REPO / ".gui-trixie", ""),
}


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """A virtual display of its own."""
    with virtual_display(1024, 768) as name:
        yield name


@pytest.fixture
def blender(display, monkeypatch, tmp_path_factory) -> str:
    """The path of a Blender that opens its window on the virtual display, with a profile of its own."""
    monkeypatch.setenv("DISPLAY", display)
    # Under /tmp, which Blender's folder and this one share.
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    return PROVIDED["5.2"].executable("blender")


@pytest.fixture
def screenshot(display):
    """Takes a screenshot for people to look at: out/gui/NAME.png."""

    def take(name: str) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        file = SCREENSHOTS / f"{name}.png"
        subprocess.run(["import", "-display", display, "-window", "root", str(file)], check=True, timeout=60)
        return file

    return take


@pytest.fixture(scope="session")
def large_display() -> Iterator[str]:
    """A virtual display on which a whole panel has room."""
    with virtual_display() as name:
        yield name


@pytest.fixture(scope="session")
def zips(tmp_path_factory) -> Path:
    """A folder with the add-on's zips, built now."""
    folder = tmp_path_factory.mktemp("zips")
    subprocess.run([sys.executable, REPO / "build_addon.py", "--output", folder], check=True)
    return folder


@pytest.fixture(scope="session", params=PROVIDED.values(), ids=PROVIDED)
def provided(request) -> Provided:
    """Each Blender; `only_newest` for one of them."""
    return request.param


only_newest = pytest.mark.parametrize("provided", [PROVIDED["5.2"]], ids=["5.2"], indirect=True)


@pytest.fixture(scope="session")
def profile(provided, zips, large_display, tmp_path_factory) -> Path:
    """A home folder whose Blender has the add-on, installed through the operator of the Preferences."""
    home = tmp_path_factory.mktemp("profile")
    (zip_file,) = (file for file in zips.iterdir() if file.stem.endswith("-abi3") == bool(provided.variant))
    install(provided.executable("blender-plain"), large_display, home, zip_file)
    return home


@pytest.fixture
def home(profile, tmp_path) -> Path:
    """A copy of that home folder, for one test."""
    return shutil.copytree(profile, tmp_path / "home")


@pytest.fixture
def open_window(provided, home, large_display, leaves_nothing, request):  # noqa: F811
    """Opens windows of the Blender that has the add-on, and ends them after the test."""
    opened = []
    documents = os.environ.get("BLENDTORCH_PANEL_IMAGES")  # `make panel-screenshots`

    def start(*arguments: str | os.PathLike) -> AddonWindow:
        window = AddonWindow(
            provided.executable("blender-plain"),
            large_display,
            home,
            leaves_nothing,
            *arguments,
            pictures=SCREENSHOTS / f"{request.node.name.replace('[', '-').strip(']')}",
            documents=REPO / documents if documents and provided is PROVIDED["5.2"] else None,
        )
        opened.append(window)
        return window

    yield start
    for window in opened:
        window.kill()
    shutil.rmtree(leaves_nothing / "blender", ignore_errors=True)  # where Blender 4.3 keeps shaders
