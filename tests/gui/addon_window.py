"""A Blender in a window whose panel one works with: the add-on's tab, and its buttons by what they do."""

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .window import BlenderError, Rectangle, Window, wait_for

# The headers in the tab, from the top.
PANELS = ("BlendTorch", "Stream", "Output", "Randomizers", "Recording", "Workers", "Environment")
# What is behind the + of the randomizers, from the top.
MENU = ("Location in Box", "Location in Sphere", "Location on Surface", "Rotation", "Scale", "Look At", "Visibility")
# Where buttons are looked for: parts of the sidebar's width. Fields have their names on the left.
COLUMNS = (0.3, 0.7, 0.83)
FIELD_COLUMNS = (0.7, 0.3, 0.83)
# Buttons are 20 pixels high: each is met with, at 15 pixels from its upper edge or less.
ROW_STEP = 15
# At the least so much is between two headers of panels that are closed.
HEADER_STEP = 20

TITLES_IN_MAGENTA = """
theme = bpy.context.preferences.themes[0]
titles = theme.user_interface if hasattr(theme.user_interface, "panel_title") else theme.view_3d.space  # from 5.0 on
title = "panel_title" if hasattr(titles, "panel_title") else "button_title"
title_before = tuple(getattr(titles, title))
def put_back_titles():
    setattr(titles, title, title_before)
    region_of("UI").tag_redraw()
setattr(titles, title, (1.0, 0.0, 1.0, 1.0)[: len(title_before)])
region_of("UI").tag_redraw()
"""


def install(blender: str, display: str, home: Path, zip_file: Path) -> None:
    """Installs the add-on's zip into a profile, through the operator that Preferences > Install from Disk calls."""
    with Window(blender, display, home, home) as window:
        window.run(
            "bpy.ops.extensions.package_install_files("
            f"filepath={str(zip_file)!r}, repo='user_default', enable_on_install=True)\n"
            "bpy.ops.wm.save_userpref()"
        )
        enabled = window.get("list(bpy.context.preferences.addons.keys())")
        assert "bl_ext.user_default.blendtorch" in enabled, f"not enabled: {enabled}\n{window.tail()}"
        assert window.close() == 0


class AddonWindow(Window):
    """A window with the add-on.

    Args:
        pictures: Folder for its screenshots.
        documents: Folder for the pictures of docs/panel.md; None: they are not made.
    """

    def __init__(self, *arguments: Any, pictures: Path, documents: Path | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pictures = pictures
        self._documents = documents
        self._count = 0
        self._open_at = 0  # how far below the sidebar's top the open panel begins, at the least

    def __exit__(self, *exception: Any) -> None:
        try:
            if exception[0] is not None and self.process.poll() is None:
                print(self.tail())
                self.step("failed")
                state = "f'{e.state}\\n{e.stats}\\n{e.notice}\\n{e.errors.by_name}'"
                print(self.run(f"e = addon('engine').engine\nresult = {state}"))
        finally:
            super().__exit__(*exception)

    def step(self, name: str) -> Path:
        """Takes a screenshot for people to look at, numbered."""
        if not self._count:
            self._pictures.mkdir(parents=True, exist_ok=True)
            for old in self._pictures.glob("*.png"):
                old.unlink()
        self._count += 1
        self.settle()
        return self.screenshot(self._pictures / f"{self._count:02d}-{name}.png")

    def picture(self, name: str, part: Rectangle | None = None) -> None:
        """Makes a picture of docs/panel.md, by default of the tab."""
        if self._documents is not None:
            self.settle()
            file = self.screenshot(self._documents / f"panel-{name}.png", part or self._panel())
            Image.open(file).convert("RGB").quantize(128).save(file, optimize=True)  # a third of the size

    def _panel(self) -> Rectangle:
        """The part of the sidebar that is in use: below it the viewport's grid shows."""
        sidebar = self.sidebar()
        outline = self.pixels(sidebar)[20:, 8]  # on the left of the main panel
        ends = np.flatnonzero(np.abs(outline - outline[0]).max(axis=-1) >= 4)
        return Rectangle(sidebar.left, sidebar.top, sidebar.width, int(ends[0]) + 30 if len(ends) else sidebar.height)

    def open_tab(self, name: str = "BlendTorch") -> Rectangle:
        """Shows a tab of the sidebar, and gives its place."""
        self.run("with view():\n    bpy.context.space_data.show_region_ui = True")
        show = f"region_of('UI').active_panel_category = {name!r}"
        # What is set before the sidebar has been drawn for the first time is forgotten.
        self.wait_for("region_of('UI').width > 1 and region_of('UI').active_panel_category")
        self.run(show)
        time.sleep(0.3)
        self.run(show)
        time.sleep(0.3)
        assert self.get("region_of('UI').active_panel_category") == name
        self._open_at = 0
        return self.sidebar()

    def sidebar(self) -> Rectangle:
        """Where the sidebar lies now."""
        return self.region("UI")

    def open_panel(self, name: str) -> None:
        """Opens one of the panels below the main one, with clicks on headers, and closes the others."""
        for _ in range(4):  # what comes or goes above a header moves it
            opened = self._open_panels()
            wrong = [other for other in PANELS[1:] if (other in opened) != (other == name)]
            if not wrong:
                return
            rows = self.rows_of_headers()
            sidebar = self.sidebar()
            for other in reversed(wrong):  # a click moves those below
                self.click(sidebar.left + sidebar.width // 2, rows[PANELS.index(other)])
            self._open_at = rows[1] + HEADER_STEP * (PANELS.index(name) - 1) - sidebar.top
        raise BlenderError(f"the headers {wrong} cannot be clicked on")

    def _open_panels(self) -> list[str]:
        """Which panels below the main one are open: what is added to them is drawn then."""
        each = f"for name in {PANELS[1:]!r}:\n    panel = getattr(bpy.types, f'BLENDTORCH_PT_{{name.lower()}}')\n"
        self.run(
            f"drawn, notes = [], {{}}\n{each}"
            "    def note(self, context, name=name): drawn.append(name)\n"
            "    notes[name] = note\n    panel.append(note)\n"
            "region_of('UI').tag_redraw()"
        )
        self.settle()
        return self.run(f"{each}    panel.remove(notes[name])\nresult = drawn")

    def header(self, name: str) -> tuple[int, int]:
        """Where the header of a panel is."""
        sidebar = self.sidebar()
        return sidebar.left + sidebar.width // 2, self.rows_of_headers()[PANELS.index(name)]

    def rows_of_headers(self) -> list[int]:
        """Where the headers of all panels are, from the top: found by their colour, which is changed for it."""
        self.focus_view()  # a tooltip may cover headers
        self.run(TITLES_IN_MAGENTA)
        seen: list[list[int] | None] = [None]

        def look() -> list[int] | None:
            seen.append(self._seen_headers())
            return seen[-1] if seen[-1] == seen[-2] else None  # the opening of a panel is animated

        try:
            return wait_for(look, f"{len(PANELS)} headers to be seen")
        finally:
            self.run("put_back_titles()")

    def pixels(self, part: Rectangle) -> np.ndarray:
        """What a part of the display shows: int (height, width, 3), sRGB from 0 to 255."""
        file = self.screenshot(self.log.with_suffix(".ppm"), part)
        return np.asarray(Image.open(file).convert("RGB")).astype(int)

    def _seen_headers(self) -> list[int] | None:
        sidebar = self.sidebar()
        part = self.pixels(sidebar)
        is_title = (part[..., 0] > part[..., 1] + 100) & (part[..., 2] > part[..., 1] + 100)
        rows = np.flatnonzero(is_title.any(axis=1))
        groups = np.split(rows, np.flatnonzero(np.diff(rows) > 6) + 1)
        middles = [sidebar.top + int(group.mean()) for group in groups if len(group)]
        return middles if len(middles) == len(PANELS) else None

    def wait_for_preview(self) -> None:
        """Waits until the preview is complete, in the window that it has opened."""
        self.wait_for("len(bpy.context.window_manager.windows) == 2")
        self.wait_for("not addon('engine').engine.state.preview")

    def close_preview(self) -> None:
        """Closes that window; no window manager gives the focus back."""
        self.run(
            "with bpy.context.temp_override(window=bpy.context.window_manager.windows[1]):\n    bpy.ops.wm.window_close()"
        )
        self.focus()

    def find(self, pattern: str, columns: tuple[float, ...] = COLUMNS) -> tuple[int, int]:
        """Where a button is that a pattern describes: the call of its operator or the path of its property.

        The pointer is led over the sidebar, and Blender asked what lies under it, so that this does not depend on
        where a version or a change of the panel puts its buttons. It begins with the panel that is open.

        Args:
            pattern: A regular expression.
            columns: Where to look, as parts of the sidebar's width.
        """
        seen: dict[str, None] = {}
        sidebar, panel = self.sidebar(), self._panel()
        begin, end = sidebar.top + self._open_at, panel.top + panel.height
        in_use = [*range(begin, end, ROW_STEP), *range(sidebar.top + 4, begin, ROW_STEP)]
        for rows in (in_use, range(end, sidebar.top + sidebar.height, ROW_STEP)):
            for column in columns:
                x = sidebar.left + int(sidebar.width * column)
                for y in rows:
                    self.move(x, y)
                    button = self.get("button()")
                    seen[button] = None
                    if button and re.search(pattern, button):
                        return x, y + 2
        raise BlenderError(f"no button in the sidebar is {pattern!r}. There are:\n" + "\n".join(seen))

    def add_randomizer(self, label: str) -> None:
        """Adds one by the menu behind +; the panel Randomizers is open."""
        _, y = self.header("Randomizers")
        sidebar = self.sidebar()
        self.click(sidebar.left + int(sidebar.width * 0.83), y + 30)
        time.sleep(0.3)
        self.step(f"menu-{label.lower()}")
        self.key(*["Down"] * (MENU.index(label) + 1), "Return")

    def fill(self, pattern: str, text: str) -> None:
        """Types into a field, as one does after a double click."""
        self.move(*self.find(pattern, FIELD_COLUMNS))
        self.key("Return", "ctrl+a")
        self.type(text)
        self.key("Return")

    def press_and_copy(self, pattern: str) -> str:
        """Clicks on a button, and gives what is in the clipboard then."""
        self.press(pattern)
        return self.wait_for("bpy.context.window_manager.clipboard")

    def focus_view(self) -> None:
        """Leads the pointer into the 3D viewport, away from the panel."""
        view = self.region("WINDOW")
        self.move(view.left + 100, view.top + view.height // 2)

    def press(self, pattern: str) -> None:
        """Clicks with the mouse on that button."""
        self.click(*self.find(pattern))
