"""The add-on where it is part of Blender's own menus and windows: presets, the preferences, the search."""

from collections.abc import Callable

import numpy as np

from .addon_window import AddonWindow
from .addon_work import ENGINE, free_port, small
from .conftest import only_newest
from .window import Rectangle

SETTINGS = "[s.seed, s.output.width, [one.type for one in s.randomizers]]"
CHECKED = "bpy.context.window_manager.blendtorch.check_lines"


@only_newest
def test_presets(open_window, home):
    """One is saved, brings all settings back, and is removed, in the menu that the panel's header has."""
    with open_window() as window:
        window.open_tab()
        small(window, vary=True)
        window.run("s.seed = 5")
        before = window.get(SETTINGS)
        menu = open_presets(window)
        window.step("none")
        window.click(menu.left + 100, last_row(menu))
        window.key("ctrl+a")
        window.type("Small Cube")
        window.key("Return")
        window.click(menu.left + menu.width - 20, last_row(menu))
        window.wait_for("bpy.utils.preset_paths('blendtorch')")
        window.step("saved")
        (preset,) = home.rglob("presets/blendtorch/*.py")
        assert preset.stem == "Small_Cube"

        window.run("s.seed = 1\ns.output.width = 320\ns.randomizers.clear()")
        assert window.get(SETTINGS) != before
        menu = open_presets(window)
        window.click(menu.left + 100, last_row(menu) - PRESET_ABOVE)
        window.settle()
        window.step("chosen")
        assert window.get(SETTINGS) == before
        assert window.get("s.problems") == ""

        menu = open_presets(window)
        window.click(menu.left + menu.width - 20, last_row(menu) - PRESET_ABOVE)
        window.settle()
        window.step("removed")
        assert not preset.exists()
        assert window.get(SETTINGS) == before
        window.key("Escape")
        assert window.close() == 0


@only_newest
def test_preferences(open_window):
    """Check Installation tells in words what it has found; the port that is set counts in new files."""
    with open_window() as window:
        window.run("bpy.ops.preferences.addon_show(module='bl_ext.user_default.blendtorch')")
        place = window.focus_other()
        x = place.left + int(place.width * 0.6)
        check = find_copied(window, x, range(place.top + 200, place.top + place.height, 10), "check_installation")
        before = window.pixels(place)
        window.click(x, check)
        window.wait_for(f"len({CHECKED})")
        window.step("checked")
        found = {
            name: (status, seen, fix)
            for name, status, seen, fix in window.get(f"[(i.name, i.status, i.seen, i.fix) for i in {CHECKED}]")
        }
        assert {"Blender", "BlendTorch", "ZeroMQ", "memory", "tcp sockets", "GPU", "cache folder"} <= set(found)
        assert [line for line in found.values() if line[0] == "FAILED" or not line[1]] == []
        status, seen, fix = found["GPU"]
        assert status == "WARNING"  # software draws here
        assert "drawn by the processor" in seen
        assert "use a graphics card" in fix
        changed = np.abs(window.pixels(place) - before).max(axis=-1) > 60
        assert changed[check - place.top + 20 :].sum() > 1000  # letters

        port = free_port()
        row = find_copied(window, x, range(check - 40, check - 140, -10), "0")
        window.move(x, row)
        window.key("Return", "ctrl+a")
        window.type(str(port))
        window.key("Return")
        window.settle()
        window.step("port")
        assert window.get("bpy.context.preferences.addons['bl_ext.user_default.blendtorch'].preferences.port") == port
        window.run("bpy.ops.wm.read_homefile(app_template='')")
        window.focus()
        window.open_tab()
        window.step("new-file")
        small(window)
        window.press("stream_start")
        window.wait_for(f"{ENGINE}.state.stream", 10)
        assert window.get(f"{ENGINE}.endpoint.address") == f"tcp://127.0.0.1:{port}"
        assert window.close() == 0


@only_newest
def test_search(open_window):
    """F3 over the viewport finds the operators; Esc there closes the search alone."""
    with open_window() as window:
        window.open_tab()
        small(window)
        search(window, "BlendTorch")
        window.key("Escape")
        search(window, "Start Stream")
        window.key("Return")
        window.wait_for(f"{ENGINE}.state.stream", 10)
        search(window, "Stop Stream")
        window.key("Escape")
        window.settle()
        assert window.get(f"{ENGINE}.state.stream") is True
        search(window, "Stop Stream")
        window.key("Return")
        window.wait_for(f"not {ENGINE}.state.running", 10)
        assert window.close() == 0


# From the row of the name to that of the only preset.
PRESET_ABOVE = 37


def open_presets(window: AddonWindow) -> Rectangle:
    """Opens the menu in the header of the main panel, and gives its place."""
    window.key("Escape")  # it stays open when something was chosen
    window.settle()
    _, y = window.header("BlendTorch")
    sidebar = window.sidebar()
    part = Rectangle(sidebar.left, y + 10, window.size[0] - sidebar.left, 200)
    return come_up(window, part, lambda: window.click(sidebar.left + int(sidebar.width * 0.768), y))


def last_row(menu: Rectangle) -> int:
    """Where the name of a new preset is."""
    return menu.top + menu.height - 19


def come_up(window: AddonWindow, part: Rectangle, action: Callable[[], object]) -> Rectangle:
    """What changes in a part of the display by an action."""
    before = window.pixels(part)
    action()
    window.settle()
    changed = np.abs(window.pixels(part) - before).max(axis=-1) > 10
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert len(rows), "nothing has come up"
    return Rectangle(
        part.left + int(columns[0]), part.top + int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    )


def find_copied(window: AddonWindow, x: int, rows: range, what: str) -> int:
    """In which row the button or field is from which Ctrl-C, with the pointer over it, copies this."""
    for y in rows:
        window.run("bpy.context.window_manager.clipboard = 'nothing'")
        window.move(x, y)
        window.key("ctrl+c")
        if what in window.get("bpy.context.window_manager.clipboard"):
            return y + 2
    raise AssertionError(f"{what} is not in these rows")


def search(window: AddonWindow, text: str) -> None:
    """Types into Blender's search of menus."""
    window.focus_view()
    window.key("F3")
    window.settle()
    window.type(text)
    window.step(f"search-{text.lower().replace(' ', '-')}")
