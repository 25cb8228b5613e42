"""The first member of each shard: what the recording is, and what its samples are like."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RecordingError

# WebDataset's and Hugging Face's readers pass over members without an extension, WebDataset's over "__...__", too.
NAME = "__blendtorch__"
MAX_BYTES = 1 << 24
_FORMAT, VERSION = "blendtorch recording", 1


@dataclass(frozen=True)
class FieldSchema:
    """What one field of the samples is.

    Attributes:
        dtype: The arrays' dtype by its numpy name; for what is no array the name of Python's type. "" where samples differ.
        shape: The arrays' shape; None for axes in which samples differ. None for what is no array, or differs in its number
            of axes.
        encoding: "npy", "png", "jpg", "webp", "exr", or "json" for what is stored in `KEY.json`.
    """

    dtype: str
    shape: tuple[int | None, ...] | None
    encoding: str

    def merged(self, other: "FieldSchema") -> "FieldSchema":
        """What holds for the samples of both."""
        if self == other:
            return self
        shape = None
        if self.shape is not None and other.shape is not None and len(self.shape) == len(other.shape):
            shape = tuple(a if a == b else None for a, b in zip(self.shape, other.shape, strict=True))
        dtype = self.dtype if self.dtype == other.dtype else ""
        return FieldSchema(dtype, shape, self.encoding if self.encoding == other.encoding else "")


@dataclass(frozen=True)
class Description:
    """What a shard says of itself.

    Attributes:
        metadata: Versions, seed, scene, and what the settings gave.
        schema: What the fields of its first sample are.
    """

    metadata: Mapping[str, Any]
    schema: Mapping[str, FieldSchema]

    def to_json(self) -> bytes:
        """The member's content."""
        schema = {name: [f.dtype, f.shape, f.encoding] for name, f in self.schema.items()}
        return json.dumps(
            {"format": _FORMAT, "version": VERSION, "metadata": dict(self.metadata), "schema": schema}, indent=1
        ).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Description":
        """Reads what `to_json` wrote.

        Raises:
            RecordingError: It is something else, or of a newer version.
        """
        try:
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise ValueError(f"format is {found['format']!r}")
            if found["version"] != VERSION:
                raise RecordingError(
                    f"is of version {str(found['version'])[:20]} of the format, this BlendTorch reads version {VERSION}. "
                    "pip install --upgrade blendtorch"
                )
            schema = {str(name): _schema(*values) for name, values in found["schema"].items()}
            if not isinstance(found["metadata"], dict):
                raise ValueError("metadata is no object")
        except RecordingError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RecordingError(f"has no description of a recording: {str(error)[:200]}") from None
        return cls(found["metadata"], schema)


def _schema(dtype: Any, shape: Any, encoding: Any) -> FieldSchema:
    if shape is not None:
        shape = tuple(shape)
        if not all(n is None or (type(n) is int and n >= 0) for n in shape):
            raise ValueError(f"a shape is {shape}")
    return FieldSchema(str(dtype), shape, str(encoding))
