"""Settings of a recording of what is set up."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from ...errors import ConfigError
from ...recording import RecordingSettings
from .settings import SceneSetup
from .stored import to_json


def recording_settings(setup: SceneSetup) -> RecordingSettings:
    """What records as it is set up: the folder in full; in the metadata the names of classes, and what the samples are of.

    Raises:
        ConfigError: The folder is beside the .blend, which was not saved yet; it is a file; or the pictures have alpha,
            which jpg does not hold.
    """
    options = setup.recording
    if options.folder.startswith("//") and not bpy.data.filepath:
        raise ConfigError(
            f"the recording's folder is {options.folder!r}, beside the .blend file, which was not saved yet: save it, or "
            "choose another folder."
        )
    if options.encode_image == "jpg" and setup.output.image_mode == "rgba":
        raise ConfigError(
            "the pictures have alpha (image mode 'rgba'), which jpg does not hold: record png or webp, or 'rgb'."
        )
    return RecordingSettings(
        folder=bpy.path.abspath(options.folder),
        encode={} if options.encode_image == "npy" else {"image": options.encode_image},
        shard_samples=options.shard_samples,
        fsync=options.fsync,
        metadata={"classes": names_of_classes(setup), **_identity(setup)},
    )


def names_of_classes(setup: SceneSetup) -> dict[str, str]:
    """What a recording's metadata says of classes: their names by their ids, as texts."""
    return {str(entry.class_id): entry.name for entry in reversed(setup.output.classes)}


def _identity(setup: SceneSetup) -> dict[str, Any]:
    """What one folder holds samples of: the seed, the file and what is set up in it.

    The file's name, without the hash of it that a launcher notes: in a window people save it as they go.
    """
    varies = to_json(replace(setup, output=replace(setup.output, episodes=0)))
    text = json.dumps([varies["output"], varies["randomizers"]], sort_keys=True)
    return {
        "seed": setup.seed,
        "scene": {"name": Path(bpy.data.filepath).name or "(not saved)"},
        "script": None,
        "setup": {"name": "what is set up", "sha256": hashlib.sha256(text.encode()).hexdigest()},
    }
