"""`export`: all formats by one function."""

import importlib
import inspect
import os
from typing import Any

from ..errors import ConfigError
from ..recording import Recording
from ..recording.recording import Source
from .summary import ExportSummary

FORMATS = ("coco", "yolo", "hdf5", "bop", "rerun", "video")


def export(recording: Recording | Source, to: str, folder: str | os.PathLike, **options: Any) -> ExportSummary:
    """Writes a recording as a dataset of other tools.

    Args:
        recording: A `btt.Recording`, its folder, a shard, or several of them.
        to: "coco", "yolo", "hdf5", "bop", "rerun" or "video".
        folder: Where to, new or empty.
        **options: Those of the format: of `blendtorch.export.coco.export_coco` and so on.

    Returns:
        What was written, and what was left out; `print` it.

    Raises:
        ConfigError: There is no such format or option, one is out of range, the folder is not empty, or a library is
            missing.
        MissingFileError: There is no such recording.
        RecordingError: It is not one.
    """
    if to not in FORMATS:
        raise ConfigError(f"there is no format {to!r}, expected one of {', '.join(FORMATS)}.")
    function = getattr(importlib.import_module(f"{__package__}.{to}"), f"export_{to}")
    known = [name for name in inspect.signature(function).parameters if name not in ("recording", "folder")]
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigError(f"{to} has no option {', '.join(unknown)}. It has {', '.join(known)}.")
    opened = recording if isinstance(recording, Recording) else Recording(recording)
    summary: ExportSummary = function(opened, folder, **options)
    return summary
