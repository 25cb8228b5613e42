"""What a recording says of where its samples come from."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What makes two launches the same stream; one folder holds one stream.
IDENTITY = ("seed", "scene", "script", "instance_args")


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
