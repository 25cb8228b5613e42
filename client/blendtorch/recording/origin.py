"""What a recording says of where its samples come from."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError

# What makes two launches the same stream; one folder holds one stream.
IDENTITY = ("seed", "scene", "script", "instance_args", "setup")


def identity_of(file: str | os.PathLike | None) -> dict[str, str] | None:
    """Name and SHA-256 of a scene or script, so that it is known again wherever it lies; None for none."""
    if file is None:
        return None
    with open(file, "rb") as stream:
        return {"name": Path(file).name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def stream_of(metadata: Mapping[str, Any]) -> str:
    """Which stream a recording is of, as a text that is the same for the same one; "" where that is not known."""
    is_known = all(name in metadata for name in ("seed", "scene", "script"))  # None is: there is no scene, say
    return json.dumps([metadata.get(name) for name in IDENTITY]) if is_known else ""


def check_same_stream(folder: Path, before: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Checks that a recording may be gone on with.

    Args:
        folder: Where it is.
        before: What is known of what was recorded.
        here: What is known of what is to be recorded.

    Raises:
        ConfigError: Both tell, and not the same.
    """
    for name in IDENTITY:
        if name not in before or name not in here or json.dumps(before[name]) == json.dumps(here[name]):
            continue  # None is known: there is no scene, say
        raise ConfigError(
            f"{folder} holds a recording of another stream: {_difference(name, before[name], here[name])}. Choose another "
            "folder, or remove that recording. (To go on all the same, record with "
            f"metadata={{{name!r}: btt.Recording(folder).metadata[{name!r}]}}.)"
        )


def _difference(name: str, before: Any, here: Any) -> str:
    there, this = _called(before), _called(here)
    if there != this:
        return f"its {name} is {there}, this one's is {this}"
    if _is_hashed(before) != _is_hashed(here):  # the panel does not: people save the file as they go
        return f"one of both is recorded by the panel in Blender, the other one from outside, of {this} as it was saved"
    return f"{this} was changed since it was made"


def _is_hashed(value: Any) -> bool:
    return isinstance(value, Mapping) and "sha256" in value


def _called(value: Any) -> Any:
    return value["name"] if isinstance(value, Mapping) and "name" in value else value
