"""Reads a recording: a list of samples, each read when it is asked for."""

import logging
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..errors import MissingFileError, RecordingError
from .description import FieldSchema
from .file_io import OpenFiles
from .origin import stream_of
from .shard import Shard
from .shard_files import PARTIAL, has_begun, shards_of

log = logging.getLogger(__name__)

Source = str | os.PathLike | Sequence[str | os.PathLike]


class Recording(Sequence[dict[str, Any]]):
    """The samples of a recording, in the order in which each writer wrote them. Opening it executes nothing.

    `recording[i]` is a sample: a dict of its fields, as they were when it was recorded. Arrays are read-only, and lie in
    the file (memory-mapped): what is not looked at is not read. Images are decoded. A slice, and `a + b`, are recordings,
    too.

    Shards that are being written, or were left by a writer that was killed, are read as far as they go at this moment. What
    is damaged, incomplete or none of BlendTorch's is passed over, and counted.

    Args:
        source: A folder, a shard (.tar), or several of them.

    Raises:
        MissingFileError: There is nothing, or no shard in the folder.
        RecordingError: None of the shards can be read as a recording.

    Attributes:
        skipped: How many samples were passed over.
        problems: Why, in words; also of shards that cannot be read at all.
        shards: The files.
    """

    def __init__(self, source: Source) -> None:
        self._files = OpenFiles()
        self._shards: list[Shard] = []
        self.problems: list[str] = []
        for path in _paths(source):
            try:
                self._shards += _opened(path, self._files)
            except (RecordingError, OSError) as error:
                if path.name.endswith(PARTIAL) and not has_begun(path):
                    continue  # its writer has just begun
                self.problems.append(f"{path} {error}" if isinstance(error, RecordingError) else f"{path}: {error}")
        if not self._shards and not self.problems:
            if not isinstance(source, str | os.PathLike) and not len(source):
                raise MissingFileError("no shards were given.")
            raise MissingFileError(f"{source} holds no samples yet. Is it being recorded?")
        if not self._shards:
            raise RecordingError(
                "; ".join(self.problems[:3]) + ". Expected what btt.RecordingWriter or `blendtorch record` has written."
            )
        self.problems += [f"{shard.path}: {problem}" for shard in self._shards for problem in shard.index.problems]
        self.skipped = sum(shard.index.skipped for shard in self._shards)
        starts = [0, *accumulate(len(shard.index) for shard in self._shards)]
        self._starts = starts
        self._rows = self._distinct(np.arange(starts[-1]))
        if self.problems:
            passed_over = f"{self.skipped} sample(s) were passed over: " if self.skipped else ""
            log.warning("%s%s", passed_over, "; ".join(self.problems[:5]))

    @property
    def shards(self) -> list[Path]:
        """The files, in order."""
        return [shard.path for shard in self._shards]

    @cached_property
    def keys(self) -> list[str]:
        """The samples' keys, each once."""
        streams = self._streams_of(self._rows).tolist()
        keys = self._all_keys()[self._rows].tolist()
        return [f"r{n}-{key.decode()}" if n else key.decode() for n, key in zip(streams, keys, strict=True)]

    @property
    def parts(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        """For each shard what it says of itself, and the keys of all its samples."""
        return [
            (shard.index.description.metadata, [key.decode() for key in shard.index.keys.tolist()])
            for shard in self._shards
        ]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What is known of the recording: versions, seed, scene, and what was given. Later shards win; classes add up."""
        metadata: dict[str, Any] = {}
        classes: dict[str, Any] = {}
        for shard in self._shards:
            metadata |= shard.index.description.metadata
            named = metadata.get("classes")
            for class_id, name in named.items() if isinstance(named, dict) else ():
                if classes.setdefault(class_id, name) != name:
                    log.warning(
                        "class %s is called %r and %r in parts of the recording.", class_id, classes[class_id], name
                    )
        return metadata | ({"classes": classes} if classes else {})

    @cached_property
    def schema(self) -> dict[str, FieldSchema]:
        """What the fields are, over all samples that are stored as they are ("npy"); of others as each shard's first is."""
        schema: dict[str, FieldSchema] = {}
        for shard in self._shards:
            for name, field in _schema_of(shard).items():
                schema[name] = schema[name].merged(field) if name in schema else field
        return schema

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name} {field.dtype} {'x'.join('?' if n is None else str(n) for n in field.shape)}"
            for name, field in self.schema.items()
            if field.shape is not None
        )
        folders = ", ".join(sorted({str(path.parent) for path in self.shards}))
        return f"<Recording {folders}: {len(self)} samples; {fields}>"

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice | list[int] | range | np.ndarray) -> "Recording": ...
    def __getitem__(self, index: int | slice | list[int] | range | np.ndarray) -> "dict[str, Any] | Recording":
        """A sample, or a recording of some of them: of a slice, a list of numbers, or a mask.

        Raises:
            IndexError: There is no such sample.
            RecordingError: The sample is damaged.
            ConfigError: A library for an encoding is missing; names it.
        """
        if isinstance(index, slice | np.ndarray | list | range):
            chosen = index if isinstance(index, slice) else np.asarray(index, None if len(index) else np.int64)
            return self._of(self._rows[chosen])
        shard, row = self.locate(index)
        arrays = {name: shard.view(row, name) for name in shard.fields}
        sample: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
        return sample | shard.rest(row)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def __add__(self, other: "Recording") -> "Recording":
        """The samples of both.

        Where both are of the same stream (seed, scene, script and arguments are equal), samples with the same key are there
        once; otherwise the keys of the other one begin with "r1-", "r2-", ...
        """
        merged = Recording.__new__(Recording)
        merged._files = self._files
        merged._shards = self._shards + other._shards
        merged._starts = self._starts + [self._starts[-1] + start for start in other._starts[1:]]
        is_same = self._shards is other._shards  # parts of one recording
        merged.problems = self.problems + ([] if is_same else other.problems)
        merged.skipped = self.skipped + (0 if is_same else other.skipped)
        merged._rows = merged._distinct(np.concatenate([self._rows, other._rows + self._starts[-1]]))
        return merged

    def locate(self, index: int) -> tuple[Shard, int]:
        """Where a sample is: its shard, and the number it has there.

        Raises:
            IndexError: There is no such sample.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index}; the recording has {len(self)}.")
        row = int(self._rows[index])
        number = bisect_right(self._starts, row) - 1
        return self._shards[number], row - self._starts[number]

    def _of(self, rows: np.ndarray) -> "Recording":
        part = Recording.__new__(Recording)
        part._files, part._shards, part._starts = self._files, self._shards, self._starts
        part.problems, part.skipped, part._rows = self.problems, self.skipped, rows
        return part

    def _all_keys(self) -> np.ndarray:
        return np.concatenate([shard.index.keys for shard in self._shards])

    def _distinct(self, rows: np.ndarray) -> np.ndarray:
        """The rows without those whose key came before in the same stream."""
        keys, streams = self._all_keys()[rows], self._streams_of(rows)
        kept = []
        for stream in np.unique(streams):
            (places,) = np.nonzero(streams == stream)
            kept.append(places[np.unique(keys[places], return_index=True)[1]])
        first = np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)
        if len(first) < len(rows):
            twice = len(rows) - len(first)
            self.skipped += twice
            self.problems.append(f"{twice} sample(s) have the key of one before, and are passed over")
            log.warning("%d sample(s) have the key of one before in the same stream.", twice)
        return rows[first]

    def _streams_of(self, rows: np.ndarray) -> np.ndarray:
        """For each row the number of the stream that it is of: a folder holds one, and two folders may hold the same."""
        metadata: dict[Path, dict[str, Any]] = {}
        for shard in self._shards:
            metadata.setdefault(shard.path.absolute().parent, {}).update(shard.index.description.metadata)
        numbers: dict[str, int] = {}
        of_folder = {
            folder: numbers.setdefault(stream_of(known) or f"folder {folder}", len(numbers))
            for folder, known in metadata.items()
        }
        of_shard = np.array([of_folder[shard.path.absolute().parent] for shard in self._shards])
        return of_shard[np.searchsorted(self._starts, rows, "right") - 1]


def recording_in(folder: str | os.PathLike) -> Recording | None:
    """The recording in a folder; None where there is none yet, or its writer died before the first sample.

    Raises:
        RecordingError: The folder holds shards, and none of them can be read as one of a recording.
    """
    try:
        return Recording(folder)
    except MissingFileError:
        return None


def _paths(source: Source) -> list[Path]:
    if not isinstance(source, str | os.PathLike):
        return [path for part in source for path in _paths(part)]
    path = Path(source)
    if not path.exists():
        raise MissingFileError(f"there is no recording {path} (looked for {path.resolve()}). Check the path.")
    if not path.is_dir():
        return [path]
    if found := shards_of(path):
        return found
    raise MissingFileError(f"{path} holds no shards (.tar). Is it the folder of a recording?")


def _opened(path: Path, files: OpenFiles) -> list[Shard]:
    """The shard; none if its writer has removed it, being empty, since it was listed."""
    try:
        return [Shard(path, files)]
    except FileNotFoundError:
        ended = path.with_name(path.name.removesuffix(PARTIAL))
        if ended == path:
            raise
        return [Shard(ended, files)] if ended.exists() else []


def _schema_of(shard: Shard) -> dict[str, FieldSchema]:
    index = shard.index
    schema = dict(index.description.schema)
    for name, (column, encoding) in shard.fields.items():
        kinds = [index.kind_table[number] for number in np.unique(index.kinds[:, column]) if number >= 0]
        for i, kind in enumerate(kinds):
            field = FieldSchema(kind.dtype, kind.shape, encoding)
            schema[name] = schema[name].merged(field) if i else field
    return schema
