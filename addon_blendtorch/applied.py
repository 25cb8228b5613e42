"""What is in a scene only for a sample while the user works: put back when an undo step brings it again.

Blender saves a step after each edit, without telling add-ons. Where an episode is underway, or *Randomize Once* shows a
sample, the step holds what randomizers have set. So there is a mark then, which the step holds, too: a text, for undo
brings back a data block that is missing, but leaves one alone that is there and the same in both steps.
"""

import secrets
from collections.abc import Callable

import bpy

from blendtorch.errors import SceneError

_NAME = ".blendtorch applied"  # the dot hides it in Blender's lists
# Blender has up to 256 undo steps. Episodes that begin with the same scene have the same mark.
_MAX_KEPT = 1024

_kept: dict[str, Callable[[], None]] = {}


def mark(put_back: Callable[[], None]) -> str:
    """Marks that something is applied, in place of what was marked before, until `unmark`.

    Args:
        put_back: Puts it back, once or more often; it refers to nothing of Blender's by address.

    Returns:
        What it is known by.
    """
    token = secrets.token_hex(8)
    _kept[token] = put_back
    if len(_kept) > _MAX_KEPT:
        del _kept[next(iter(_kept))]
    mark_again(token)
    return token


def mark_again(token: str) -> None:
    """Marks that something is applied with the same to put back; it may be marked already."""
    text = _text()
    if text is None:
        text = bpy.data.texts.new(_NAME)
    if text.as_string() != token:
        text.from_string(token)


def mark_nothing() -> None:
    """Marks that nothing is applied, between two episodes, say; `unmark` before an undo all the same."""
    if _text() is not None:
        mark_again("")


def unmark() -> None:
    """Removes the mark: what was applied is put back."""
    text = _text()
    if text is not None:  # Blender looks anew at what depends on what then, which takes time in large scenes
        bpy.data.texts.remove(text)


def is_marked() -> bool:
    """Whether something is applied."""
    text = _text()
    return text is not None and text.as_string() != ""


def put_back() -> None:
    """Puts back what a step has brought again; to be called after each undo and redo.

    Raises:
        SceneError: It is not known any more.
        RandomizeError: Something could not be put back; everything else is.
    """
    text = _text()
    if text is None:
        return
    token = text.as_string()
    unmark()
    if not token:
        return
    action = _kept.get(token)
    if action is None:
        raise SceneError("this step of undo is from the middle of an episode of long ago: undo once more.")
    action()


def forget_all() -> None:
    """Another file is loaded: no undo reaches beyond it."""
    _kept.clear()


def _text() -> bpy.types.Text | None:
    text = bpy.data.texts.get(_NAME)
    return text if text is not None and text.library is None else None
