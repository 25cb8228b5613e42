"""The entry of the keymap that makes Esc stop everything; there only while something runs."""

import bpy

_OPERATOR = "blendtorch.stop"
_KEYMAP = "Window"  # heard in all windows, after what is under the mouse


def add_key() -> None:
    """Makes Esc stop everything. Nothing happens in a Blender without keymaps, as one without a window may be."""
    keymap = _keymap(new=True)
    if keymap is not None and not _entries(keymap):
        keymap.keymap_items.new(_OPERATOR, "ESC", "PRESS")


def remove_key() -> None:
    """Takes the entry away."""
    keymap = _keymap(new=False)
    if keymap is not None:
        for entry in _entries(keymap):
            keymap.keymap_items.remove(entry)


def _keymap(new: bool) -> bpy.types.KeyMap | None:
    keymaps = bpy.context.window_manager.keyconfigs.addon
    if keymaps is None:
        return None
    # Found or made: a keymap of that name may be another add-on's, too.
    return keymaps.keymaps.new(name=_KEYMAP) if new else keymaps.keymaps.get(_KEYMAP)


def _entries(keymap: bpy.types.KeyMap) -> list[bpy.types.KeyMapItem]:
    return [entry for entry in keymap.keymap_items if entry.idname == _OPERATOR]
