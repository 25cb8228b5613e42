"""Text of any length in a sidebar of any width: Blender's labels do not wrap."""

import blf
import bpy

# What is left and right of a label in a sidebar: its scroll bar, the panel's border and the label's own margin, in
# pixels at a scale of 1.
_MARGIN_PX = 56
_ICON_PX = 20
_FONT = 0
_MAX_LINES = 12


def draw_text(
    layout: bpy.types.UILayout,
    context: bpy.types.Context,
    text: str,
    *,
    icon: str = "NONE",
    alert: bool = False,
    indent_px: int = 0,
) -> None:
    """Draws a text over as many lines as it takes; of a very long one the beginning, and "...".

    Args:
        layout: Where.
        context: Where the region's width is from.
        text: The text; its own line breaks are kept.
        icon: Beside the first line.
        alert: Whether it is red.
        indent_px: How much narrower than the panel the layout is, in pixels at a scale of 1.
    """
    column = layout.column(align=True)
    column.alert = alert
    column.scale_y = 0.8
    scale = context.preferences.system.ui_scale
    width_px = context.region.width if context.region else 280 * scale
    width_px -= (_MARGIN_PX + indent_px + (_ICON_PX if icon != "NONE" else 0)) * scale
    lines = wrap(text, width_px, _font_size(context))
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], "..."]
    for number, line in enumerate(lines):
        shown = icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=shown, translate=False)


def wrap(text: str, width_px: float, font_size: float) -> list[str]:
    """Breaks a text into lines of at most `width_px` pixels, between words where that is possible."""
    blf.size(_FONT, font_size)
    lines = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            for part in _parts(word, width_px):
                joined = f"{line} {part}" if line else part
                if line and _width(joined) > width_px:
                    lines.append(line)
                    line = part
                else:
                    line = joined
        lines.append(line)
    return lines


def _parts(word: str, width_px: float) -> list[str]:
    """A word, in parts when it is wider than a line, as paths are."""
    parts = []
    while len(word) > 1 and _width(word) > width_px:
        end = max(1, int(len(word) * width_px / _width(word)))
        parts.append(word[:end])
        word = word[end:]
    return [*parts, word]


def _width(text: str) -> float:
    return blf.dimensions(_FONT, text)[0]


def _font_size(context: bpy.types.Context) -> float:
    styles = context.preferences.ui_styles
    points = styles[0].widget.points if styles else 11
    return points * context.preferences.system.ui_scale
