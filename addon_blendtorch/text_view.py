"""Long texts (tracebacks, logs) in Blender's own Text Editor."""

from pathlib import Path

import bpy

from .editors import open_area

# The end of a longer log is shown: what went wrong is there.
_LONGEST_LOG_BYTES = 200_000


def show_text(name: str, content: str) -> bpy.types.Text:
    """Puts a text into a text block, anew each time, and shows it where there is a window: in a Text Editor that is
    open, else in a window of its own.

    Args:
        name: Of the text block.
        content: The text.

    Returns:
        The text block.
    """
    text = bpy.data.texts.get(name) or bpy.data.texts.new(name)
    text.use_fake_user = False  # it is not to be saved in the file, unless an editor shows it
    text.from_string(content)
    text.cursor_set(len(text.lines) - 1)
    if not bpy.app.background:
        area = open_area("TEXT_EDITOR")
        if area is not None:
            space = area.spaces.active
            space.text = text
            space.show_word_wrap = True
            space.top = max(0, len(text.lines) - 20)
            area.tag_redraw()
    return text


def read_log(file: Path) -> str:
    """The end of a log, or why it cannot be read."""
    try:
        with open(file, "rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - _LONGEST_LOG_BYTES))
            return f"{file}\n\n{log.read().decode(errors='replace')}"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}."
