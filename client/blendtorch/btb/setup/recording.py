"""Settings of a recording of what is set up."""

import bpy

from ...errors import ConfigError
from ...recording import RecordingSettings
from .settings import SceneSetup


def recording_settings(setup: SceneSetup) -> RecordingSettings:
    """What records as it is set up: the folder in full, the names of classes in the metadata.

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
        metadata={"classes": {str(entry.class_id): entry.name for entry in reversed(setup.output.classes)}},
    )
