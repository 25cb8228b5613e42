"""What a recording is made with."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import ConfigError
from .images import ENCODINGS

Fsync = Literal["never", "shard", "sample"]


@dataclass(frozen=True)
class RecordingSettings:
    """Where and how to record.

    Attributes:
        folder: The folder; made where it is not there. One that holds an interrupted recording is gone on with.
        encode: For fields that are images the format they are stored in: "png" (without loss; uint8 and uint16), "jpg",
            "webp", "exr" (float16, float32, uint32; without loss). Other fields are stored as they are ("npy"), which is
            fastest to write and read.
        quality: Of jpg and webp, 1 to 100.
        shard_samples: A shard has at most so many samples.
        shard_bytes: A shard is ended once it has so many bytes.
        fsync: When the disk is waited for: "never", after each "shard", or after each "sample". What was written survives
            the death of the process in any case; this is about the power's.
        metadata: What else is known of the recording, JSON; `{"classes": {"1": "cube"}}` names the classes of labels.

    Raises:
        ConfigError: A value is out of range.
    """

    folder: str | os.PathLike
    encode: Mapping[str, str] = field(default_factory=dict)
    quality: int = 95
    shard_samples: int = 10_000
    shard_bytes: int = 1 << 30
    fsync: Fsync = "shard"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike) or not os.fspath(self.folder):
            raise ConfigError(f"folder is {self.folder!r}, expected the path of a folder to record into.")
        if Path(self.folder).exists() and not Path(self.folder).is_dir():
            raise ConfigError(f"{self.folder} is a file, expected a folder to record into.")
        for name, encoding in self.encode.items():
            if encoding not in ENCODINGS:
                raise ConfigError(f"encode of {name!r} is {encoding!r}, expected one of {', '.join(ENCODINGS)}.")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}, expected 1 to 100.")
        if self.shard_samples < 1 or self.shard_bytes < 1:
            raise ConfigError(
                f"shard_samples is {self.shard_samples} and shard_bytes {self.shard_bytes}, expected positive numbers."
            )
        if self.fsync not in get_args(Fsync):
            raise ConfigError(f"fsync is {self.fsync!r}, expected one of {', '.join(get_args(Fsync))}.")
        try:
            json.dumps(dict(self.metadata))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"metadata is not JSON: {error}.") from None


Record = str | os.PathLike | RecordingSettings


def as_settings(record: Record) -> RecordingSettings:
    """The settings that a path stands for; settings are returned as they are.

    Raises:
        ConfigError: It is neither.
    """
    return record if isinstance(record, RecordingSettings) else RecordingSettings(record)
