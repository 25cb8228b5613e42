"""What has gone wrong, kept for the panel: in words, with the traceback, and at the entry of the list that it is about."""

import re
import traceback
from collections.abc import Callable

import bpy

from blendtorch.btb.setup import SceneSetup
from blendtorch.errors import BlendTorchError

from .scenes import find_scene

_TRACEBACK = re.compile(r"\nTraceback \(most recent call last\):(\n +.*)*")


class Errors:
    """What has gone wrong since something was started.

    Attributes:
        by_name: In words, by what it is about: "stream", "recording", "preview", "randomize" or "workers".
        last: The latest of them; "" if there is none.
        traceback: That of the latest.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, str] = {}
        self.last = ""
        self.traceback = ""
        self._told: dict[str, str] = {}
        self._settings: dict[str, tuple[int, tuple[object, ...]]] = {}  # by name: of which scene, and what was set up

    def note(self, name: str, error: BaseException) -> None:
        """Keeps an error."""
        self._settings.pop(name, None)
        self.by_name[name] = self.last = in_words(error)
        self.traceback = "".join(traceback.format_exception(error))

    def tell(self, name: str, words: str) -> None:
        """Keeps what another thread has met with; "" when all is well. It is told of again and again, and kept once."""
        if self._told.get(name, "") == words:
            return
        self._told[name] = words
        if words and self.by_name.get(name) != words:
            self._settings.pop(name, None)
            self.by_name[name] = self.last = words
            self.traceback = ""

    def attempt(self, name: str, action: Callable[[], object]) -> None:
        """Does something that is not to keep the rest from being done; an error is kept."""
        try:
            action()
        except Exception as error:
            self.note(name, error)

    def forget(self, name: str, scene: bpy.types.Scene) -> None:
        """Begins anew: what is started may go well."""
        self.by_name.pop(name, None)
        self.by_name.pop("randomize", None)  # as are the marks at the entries
        self.last = self.traceback = ""
        clear_marks(scene)

    def began(self, name: str, before: dict[str, str]) -> None:
        """Something was started, and goes well: what has gone wrong before is of the past.

        Args:
            name: What was started.
            before: `by_name` as it was when it was about to be started.
        """
        self._told.pop(name, None)
        for other, words in before.items():
            if self.by_name.get(other) == words:
                self._drop(other)

    def forget_outdated(self, scene: bpy.types.Scene, setup: SceneSetup) -> None:
        """Forgets errors of what is set up in another way by now. Called as often as they are drawn."""
        for name in list(self.by_name):
            now = (scene.session_uid, _set_up(name, setup))
            uid, before = self._settings.setdefault(name, now)
            if uid == now[0] and before != now[1]:
                self._drop(name)

    def _drop(self, name: str) -> None:
        self._settings.pop(name, None)
        if self.by_name.pop(name, None) == self.last:
            self.last = self.traceback = ""

    def mark(self, scene_uid: int, number: int | None, error: BaseException) -> None:
        """Keeps what has gone wrong with a randomizer, and writes it at its entry.

        Args:
            scene_uid: The scene's `session_uid`.
            number: Which entry of the list; None when it is about none.
            error: What has gone wrong.
        """
        scene = find_scene(scene_uid)
        words = in_words(error)
        if scene is None or number is None or not 0 <= number < len(scene.blendtorch.randomizers):
            return
        entry = scene.blendtorch.randomizers[number]
        if entry.error != words:  # of each sample the same would be written
            entry.error = words
            self.note("randomize", error)


def _set_up(name: str, setup: SceneSetup) -> tuple[object, ...]:
    """The part of a setup that an error may come from."""
    own = getattr(setup, name) if name in ("stream", "recording", "workers") else None
    return own, setup.seed, setup.output, setup.randomizers


def clear_marks(scene: bpy.types.Scene) -> None:
    """Takes the errors away that are written at the entries of the list."""
    for entry in scene.blendtorch.randomizers:
        if entry.error:
            entry.error = ""


def in_words(error: BaseException) -> str:
    """An error for the panel. BlendTorch's own say what to do; of others the kind tells more than nothing.

    Without the traceback that errors of hooks end with: the panel has a button for that.
    """
    if isinstance(error, BlendTorchError):
        return _TRACEBACK.sub("", str(error).removesuffix(getattr(error, "traceback", ""))).rstrip()
    return f"{type(error).__name__}: {error} (unexpected; the traceback tells where)"
