"""What a recording is made with."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import ConfigError
from .images import ENCODINGS

MAX_METADATA = 1 << 23  # of the 16 MiB that a description may have

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
        if not isinstance(self.encode, Mapping):
            raise ConfigError(f"encode is {self.encode!r}, expected formats by names of fields.")
        for name, encoding in self.encode.items():
            if encoding not in ENCODINGS:
                raise ConfigError(f"encode of {name!r} is {encoding!r}, expected one of {', '.join(ENCODINGS)}.")
        for name, most in (("quality", 100), ("shard_samples", None), ("shard_bytes", None)):
            value = getattr(self, name)
            if type(value) is not int or value < 1 or (most is not None and value > most):
                raise ConfigError(f"{name} is {value!r}, expected an integer from 1 {f'to {most}' if most else 'on'}.")
        if self.fsync not in get_args(Fsync):
            raise ConfigError(f"fsync is {self.fsync!r}, expected one of {', '.join(get_args(Fsync))}.")
        try:
            if not isinstance(self.metadata, Mapping):
                raise TypeError("no object")
            text = json.dumps(dict(self.metadata))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"metadata is not JSON: {error}.") from None
        if len(text) > MAX_METADATA:
            raise ConfigError(f"metadata has {len(text)} bytes as JSON, expected at most {MAX_METADATA}.")
        object.__setattr__(self, "metadata", json.loads(text))  # as it is read again: tuples are lists there


Record = str | os.PathLike | RecordingSettings


def as_settings(record: Record) -> RecordingSettings:
    """The settings that a path stands for; settings are returned as they are.

    Raises:
        ConfigError: It is neither.
    """
    return record if isinstance(record, RecordingSettings) else RecordingSettings(record)
