"""What a recording says of where its samples come from."""

import hashlib
import os
from pathlib import Path


def identity_of(file: str | os.PathLike | None) -> dict[str, str] | None:
    """Name and SHA-256 of a scene or script, so that it is known again wherever it lies; None for none."""
    if file is None:
        return None
    with open(file, "rb") as stream:
        return {"name": Path(file).name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
