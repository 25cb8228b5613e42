"""Settings in the .blend: written as JSON when it is saved, so that they work without the add-on, and read again.

The panel's properties are in the .blend, too. The JSON counts, unless it is exactly what these properties were last written
to: then they are at least as new. (Blender saves files for recovery without telling add-ons, and people rename objects
while the add-on is off.)
"""

import hashlib
import json
from dataclasses import replace
from typing import Any

import bpy
from bpy.app.handlers import persistent

import blendtorch
from blendtorch.btb import setup as btb_setup
from blendtorch.btb.setup import SceneSetup
from blendtorch.errors import BlendTorchError, ConfigError

from . import applied
from .preferences import get_preferences
from .properties import from_setup, let_go_of_deleted, to_setup_unfinished

_RECOVERED = (
    "Blender saved this file for recovery, in the middle of an episode or while a sample was shown: what was varied is as "
    "it was then. Put it where you want it."
)


def save_scene(scene: bpy.types.Scene) -> None:
    """Writes the settings of a scene into it, if it has any: they differ from a new scene's, or were saved before."""
    if scene.library is not None:
        return
    settings = scene.blendtorch
    let_go_of_deleted(scene)
    setup = to_setup_unfinished(scene)
    stored = _stored_digest(scene)
    is_new = setup in (SceneSetup(), _new_setup())
    if not stored and is_new:
        return
    problems = []
    if stored not in ("", settings.saved_digest):
        # A script has saved others meanwhile.
        if is_new or _digest(btb_setup.to_json(setup)) == settings.saved_digest:
            load_scene(scene)
            return
        problems = ["Other settings, which a script had saved in this scene, were replaced by those of the panel."]
    try:
        btb_setup.save(setup, scene)
        settings.saved_digest = _stored_digest(scene)
    except BlendTorchError as error:
        problems = [f"The settings were not saved: {error}"]
    if problems:
        settings.problems = "\n".join(problems)


def load_scene(scene: bpy.types.Scene) -> None:
    """Sets the panel to what is saved in a scene; what was not understood is said in `scene.blendtorch.problems`."""
    if scene.library is not None:
        return
    settings = scene.blendtorch
    for entry in settings.randomizers:
        entry.error = ""
    setup, problems = btb_setup.load(scene)
    settings.problems = "\n".join(problems)
    stored = _stored_digest(scene)
    if not stored:
        if to_setup_unfinished(scene) == SceneSetup() != _new_setup():
            from_setup(scene, _new_setup())
    elif setup is not None and settings.saved_digest != stored:
        from_setup(scene, setup)
        settings.saved_digest = stored


def load_all() -> None:
    """Sets the panel of all scenes to what is saved in them."""
    for scene in bpy.data.scenes:
        load_scene(scene)


def save_all() -> None:
    """Writes the settings of all scenes into them."""
    for scene in bpy.data.scenes:
        save_scene(scene)


@persistent
def _on_save(*args: object) -> None:
    save_all()


@persistent
def _on_load(*args: object) -> None:
    load_all()
    if applied.is_marked() and bpy.context.scene.library is None:
        applied.unmark()
        settings = bpy.context.scene.blendtorch
        settings.problems = f"{_RECOVERED}\n{settings.problems}".rstrip()


def _new_setup() -> SceneSetup:
    """What a scene that nothing was set up in begins with."""
    preferences = get_preferences()
    try:
        stream = replace(SceneSetup().stream, bind_addr=preferences.bind_addr, port=preferences.port)
    except ConfigError:
        return SceneSetup()
    return SceneSetup(stream=stream)


def _stored_digest(scene: bpy.types.Scene) -> str:
    """Of the JSON that a scene has; "" if it has none."""
    text = scene.get(btb_setup.KEY)
    if text is None:
        return ""
    try:
        return _digest(json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return _digest(str(text))


def _digest(data: Any) -> str:
    # Of another version of the add-on the properties may be others.
    text = f"{blendtorch.__version__}\n{json.dumps(data, sort_keys=True)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _load_once() -> None:
    load_all()


def register() -> None:
    """Adds the handlers, and reads the settings of the open file."""
    bpy.app.handlers.save_pre.append(_on_save)
    bpy.app.handlers.load_post.append(_on_load)
    if hasattr(bpy.data, "scenes"):
        load_all()
    else:  # while Blender enables add-ons it hides the file from them
        bpy.app.timers.register(_load_once, first_interval=0.0)


def unregister() -> None:
    """Removes the handlers. What is set up stays in the file, as JSON."""
    bpy.app.handlers.load_post.remove(_on_load)
    bpy.app.handlers.save_pre.remove(_on_save)
    if bpy.app.timers.is_registered(_load_once):
        bpy.app.timers.unregister(_load_once)
    if hasattr(bpy.data, "scenes"):
        save_all()
