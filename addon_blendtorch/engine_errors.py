"""What has gone wrong, kept for the panel: in words, with the traceback, and at the entry of the list that it is about."""

import re
import traceback
from collections.abc import Callable

import bpy

from blendtorch.btb import setup as btb_setup
from blendtorch.errors import BlendTorchError

from .properties.convert_randomizer import entry_to_json
from .scenes import find_scene

NO_TIMERS = (
    "This Blender has no window, so nothing is made by itself: a script has to call engine.step() of the add-on, "
    "or the file be launched with `blendtorch launch`."
)
"""What is told when something is started where it will not go on."""

# What all errors but an environment's may come from; those of the stream, the recording and the workers from their own
# settings, too.
_SHARED = ("seed", "output", "randomizers")
_TRACEBACK = re.compile(r"\nTraceback \(most recent call last\):(\n +.*)*")


class Errors:
    """What has gone wrong since something was started.

    Attributes:
        by_name: In words, by what it is about: "stream", "recording", "preview", "randomize", "workers" or "environment".
        last: The latest of them; "" if there is none.
        traceback: That of the latest.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, str] = {}
        self.last = ""
        self.traceback = ""
        self._told: dict[str, str] = {}
        self._scenes: dict[str, int] = {}  # by name: the `session_uid` of the scene that it is about
        self._settings: dict[str, tuple[int, dict[str, object]]] = {}  # by name: the same, and what was set up then

    def clear(self) -> None:
        """Forgets all, for another file is loaded."""
        self.last = self.traceback = ""
        for kept in (self.by_name, self._told, self._scenes, self._settings):
            kept.clear()

    def note(self, name: str, error: BaseException) -> None:
        """Keeps an error, and what is set up now."""
        self._keep(name, in_words(error))
        self.traceback = "".join(traceback.format_exception(error))

    def tell(self, name: str, words: str) -> None:
        """Keeps what another thread has met with; "" when all is well. It is told of again and again, and kept once."""
        if self._told.get(name, "") == words:
            return
        self._told[name] = words
        if words and self.by_name.get(name) != words:
            self._keep(name, words)
            self.traceback = ""

    def attempt(self, name: str, action: Callable[[], object]) -> None:
        """Does something that is not to keep the rest from being done; an error is kept."""
        try:
            action()
        except (Exception, SystemExit) as error:  # no hook ends Blender
            self.note(name, error)

    def forget(self, name: str, scene: bpy.types.Scene) -> None:
        """Begins anew with a scene: what is started may go well."""
        self._scenes[name] = scene.session_uid
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

    def of(self, scene: bpy.types.Scene) -> dict[str, str]:
        """Those that a scene's panel shows: not where the scene is set up in another way by now. Drawing may ask."""
        if not self.by_name:
            return {}
        now = _set_up(scene)
        return {name: words for name, words in self.by_name.items() if not self._is_outdated(name, scene, now)}

    def _is_outdated(self, name: str, scene: bpy.types.Scene, now: dict[str, object]) -> bool:
        uid, then = self._settings.get(name, (None, {}))
        parts = (name,) if name == "environment" else (*_SHARED, name)
        return uid == scene.session_uid and any(then[part] != now[part] for part in parts if part in now)

    def _keep(self, name: str, words: str) -> None:
        self.by_name[name] = self.last = words
        scene = find_scene(self._scenes.get(name) or self._scenes.get("stream", 0))  # workers may be of the stream's
        if scene is None:
            self._settings.pop(name, None)
        else:
            self._settings[name] = (scene.session_uid, _set_up(scene))

    def _drop(self, name: str) -> None:
        self._settings.pop(name, None)
        if self.by_name.pop(name, None) == self.last:
            self.last = self.traceback = ""

    def mark(self, scene_uid: int, error: BaseException) -> None:
        """Keeps what has gone wrong with a randomizer, and writes it at its entry.

        Args:
            scene_uid: The scene's `session_uid`.
            error: What has gone wrong; one that is about an entry of the list has its `number`.
        """
        scene = find_scene(scene_uid)
        number, words = getattr(error, "number", None), in_words(error)
        if scene is None or number is None or not 0 <= number < len(scene.blendtorch.randomizers):
            return
        entry = scene.blendtorch.randomizers[number]
        if entry.error != words:  # of each sample the same would be written
            entry.error = words
            self._scenes["randomize"] = scene_uid
            self.note("randomize", error)


def _set_up(scene: bpy.types.Scene) -> dict[str, object]:
    """What the panel is set to, to be compared. In a fifth of the time that a `SceneSetup` takes: panels ask for it."""
    settings = scene.blendtorch
    sections = {name: _values(getattr(settings, name)) for name in btb_setup.SECTIONS}
    text, environment = scene.blendtorch_environment.text, _values(scene.blendtorch_environment)
    return {
        "seed": settings.seed,
        "randomizers": [entry_to_json(entry) for entry in settings.randomizers],
        "environment": [text.name if text is not None else "", *environment],
        **sections,
    }


def _values(group: bpy.types.PropertyGroup) -> list[object]:
    """All that a group and the rows of its lists hold; of what they point to the names, which are there beside it."""
    values: list[object] = []
    for prop in group.bl_rna.properties:
        if prop.type == "COLLECTION":
            values.append([_values(row) for row in getattr(group, prop.identifier)])
        elif prop.type != "POINTER" and not prop.identifier.endswith("_index"):  # which row is chosen is no setting
            values.append(getattr(group, prop.identifier))
    return values


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
