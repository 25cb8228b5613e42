"""Writes a recording."""

import atexit
import logging
import operator
import os
import platform
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from .. import __version__
from ..errors import ConfigError, RecordingWriteError
from .description import Description
from .members import members_of, schema_of
from .origin import check_same_stream
from .recording import recording_in
from .settings import Record, RecordingSettings, as_settings
from .shard_files import finish_abandoned, next_number, shard_name
from .shard_index import KEY
from .shard_writer import ShardWriter
from .typed_json import is_array

log = logging.getLogger(__name__)

_NO_KEY = "00-00000-000000"  # until the shard is known
# Those that are open: they are closed at the end of the process.
_open_writers: "set[RecordingWriter]" = set()


class RecordingWriter:
    """Appends samples to a recording: a folder of tar files that WebDataset's readers read, too (docs/recording.md).

    What was written is readable at once, also after this process was killed. A recording that was interrupted is gone on
    with in the same folder: samples that are there already are passed over. Several writers may write to one folder at a
    time, each its own shards. One thread writes; any may close.

    Args:
        settings: The folder, or all settings.
        worker: A number for the names of the shards, so that those of several writers can be told apart.

    Raises:
        ConfigError: A setting is out of range, or the folder holds a recording of another scene, script or seed.
        RecordingError: The folder holds tar files, and none of them is of a recording.
        RecordingWriteError: The folder cannot be written to.

    Attributes:
        settings: The settings.
        samples: How many samples were written.
        nbytes: How many bytes they take.
        duplicates: How many were passed over, because they are there already.
    """

    def __init__(self, settings: Record, *, worker: int = 0) -> None:
        self.settings = as_settings(settings)
        self.samples = 0
        self.nbytes = 0
        self.duplicates = 0
        self._worker = worker
        self._folder = Path(self.settings.folder)
        self._shard: ShardWriter | None = None
        self._closed = False
        # One thread writes; another one may close: at the end of the process, say, while a loader's thread still writes. So
        # may a handler of a signal, in the thread that writes.
        self._lock = threading.RLock()
        self._writes = False
        self._process = os.getpid()
        self._keys: set[str] = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise PermissionError(f"no permission to write to {self._folder}")
            finish_abandoned(self._folder)
        except OSError as error:
            raise RecordingWriteError(
                f"cannot record into {self._folder}: {error}. Choose a folder that can be written to."
            ) from None
        before = recording_in(self._folder)
        if before is not None:
            for metadata, _ in before.parts:
                check_same_stream(self._folder, metadata, self.settings.metadata)
            self._keys.update(before.keys)
            log.info("%s holds %d samples already; the recording goes on.", self._folder, len(self._keys))
        _open_writers.add(self)

    def write(self, sample: Mapping[str, Any], key: str | None = None) -> bool:
        """Appends a sample.

        Args:
            sample: The fields: arrays (numpy, or tensors in main memory), numbers, texts, bytes, lists, tuples and dicts of
                such. What `btt.RemoteIterableDataset` yields, for example.
            key: What the sample is called, unique in the recording: letters, digits, "-" and "_". By default its place in
                the stream, from `btindex` and `btseq`, or else a running number, such as "00-00003-000012".

        Returns:
            Whether it was written; false when the recording has a sample of that key.

        Raises:
            EncodeError: A field cannot be recorded; names it. Nothing was written.
            ConfigError: The key is not one; a library for an encoding is missing; the writer is closed.
            RecordingWriteError: The disk is full or has failed. All samples before are kept, the writer is closed.
        """
        if self._process != os.getpid():
            raise ConfigError(
                f"this process is a fork of the one that records into {self._folder}. Make a RecordingWriter in it, with "
                "another number as worker."
            )
        with self._lock:
            self._writes = True
            try:
                return self._write(sample, key)
            finally:
                self._writes = False
                if self._closed:  # in the meantime, by a handler of a signal
                    self._end()

    def _write(self, sample: Mapping[str, Any], key: str | None) -> bool:
        if self._closed:
            raise ConfigError(
                f"the recording in {self._folder} is closed. Make another RecordingWriter to go on with it."
            )
        key = _place_in_stream(sample) if key is None else key
        if key is not None and (not isinstance(key, str) or not KEY.fullmatch(key)):
            raise ConfigError(f"key is {key!r}, expected at most 64 letters, digits, '-' and '_'.")
        if key in self._keys:
            self.duplicates += 1
            return False
        members = members_of(key or _NO_KEY, sample, self.settings)
        try:
            if self._shard is not None and not self._shard.has_place_for(members):
                self._finish()
            if self._shard is None:
                self._shard = self._open(sample)
            if key is None:  # a number that no other writer gives: a shard has one writer
                key = f"{self._shard.name}-{self._shard.samples:06d}"
                members = [(key + name.removeprefix(_NO_KEY), content, size) for name, content, size in members]
            before = self._shard.nbytes
            self._shard.append(members)
            self.nbytes += self._shard.nbytes - before
            self._keys.add(key)
            self.samples += 1
            if self._shard.samples >= self.settings.shard_samples or self._shard.nbytes >= self.settings.shard_bytes:
                self._finish()
        except OSError as error:
            self._fail(error)
        return True

    def close(self) -> None:
        """Ends the recording; it can be gone on with.

        Raises:
            RecordingWriteError: The disk is full or has failed. All samples are kept.
        """
        if self._process != os.getpid():
            return  # a fork: the shard is its parent's
        with self._lock:
            self._closed = True
            if not self._writes:
                self._end()

    def __enter__(self) -> "RecordingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self) -> None:
        _open_writers.discard(self)
        try:
            self._finish()
        except OSError as error:
            raise RecordingWriteError(self._report(error)) from None

    def _finish(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.finish()

    def _open(self, sample: Mapping[str, Any]) -> ShardWriter:
        versions = {"blendtorch": __version__, "python": platform.python_version(), "numpy": np.__version__}
        stored = {"encode": dict(self.settings.encode), "quality": self.settings.quality}
        metadata = {**versions, **self.settings.metadata, "settings": stored}
        arrays = {name for name, value in sample.items() if is_array(value)}
        for name in self.settings.encode.keys() - arrays if not self.samples else ():
            log.warning(
                "encode names %r, which is no array of the first sample; its arrays are %s.", name, sorted(arrays)
            )
        description = Description(metadata, schema_of(sample, self.settings))
        number = next_number(self._folder, self._worker)
        while True:
            try:
                return ShardWriter(self._folder / shard_name(self._worker, number), description, self.settings.fsync)
            except FileExistsError:  # another writer was faster
                number += 1

    def _fail(self, error: OSError) -> NoReturn:
        shard, self._shard, self._closed = self._shard, None, True
        _open_writers.discard(self)
        if shard is not None:
            try:
                shard.finish()
            except OSError:
                pass  # no room for its end, either: it is read without
        raise RecordingWriteError(self._report(error)) from None

    def _report(self, error: OSError) -> str:
        return (
            f"the recording in {self._folder} cannot be written on: {error.strerror or error}. Its {len(self._keys)} "
            "samples are kept. Make room, and record into the same folder to go on."
        )


def _place_in_stream(sample: Mapping[str, Any]) -> str | None:
    try:
        return f"{operator.index(sample['btindex']):09d}-s{operator.index(sample['btseq']):09d}"
    except (KeyError, TypeError, ValueError):
        return None


def settings_for(record: Record, origin: Mapping[str, Any]) -> RecordingSettings:
    """The settings with what is known of where samples come from; what the settings say themselves wins."""
    settings = as_settings(record)
    return replace(settings, metadata={**origin, **settings.metadata})


@atexit.register
def close_writers() -> None:
    """Ends the shards of writers of this process that nobody has closed."""
    for writer in list(_open_writers):
        try:
            writer.close()
        except RecordingWriteError as error:
            log.warning("%s", error)
