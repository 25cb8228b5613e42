"""Recordings: samples in tar shards that WebDataset reads, too. docs/recording.md is the format.

Imports numpy, errors and wire alone, so that both sides write the same; images need Pillow or OpenEXR where they are asked
for.
"""

from .description import FieldSchema
from .recording import Recording
from .settings import RecordingSettings
from .writer import RecordingWriter

__all__ = ["FieldSchema", "Recording", "RecordingSettings", "RecordingWriter"]
