"""Records the samples of a stream as they arrive."""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from ..recording.resume import key_of
from ..recording.settings import Record
from ..recording.writer import RecordingWriter, settings_for
from ..wire.group import Group

log = logging.getLogger(__name__)


class StreamRecorder:
    """Records what a receiver takes. Keys are INDEX-RANK: the sample's index, and its number among the samples of that.

    So the same sample has the same key whatever the number of instances, and one that comes again is not recorded again.

    Args:
        record: The folder, or all settings.
        origin: What is known of where samples come from.
        worker: A number for the names of the shards.

    Raises:
        ConfigError: The folder holds a recording of another stream.
        RecordingWriteError: It cannot be written to.

    Attributes:
        samples: How many samples were written; those that were there already are not counted.
        nbytes: How many bytes they take.
        duplicates: How many samples came that were there already; counted when it is closed.
    """

    def __init__(self, record: Record, origin: Mapping[str, Any], worker: int = 0) -> None:
        self._open = partial(RecordingWriter, settings_for(record, origin), worker=worker)
        self._writer: RecordingWriter | None = self._open()
        self.samples = self.duplicates = 0
        self.nbytes = 0

    def record(self, group: Group) -> None:
        """Writes samples, before their memory is given back.

        Raises:
            RecordingWriteError: The disk is full or has failed.
            EncodeError: A field cannot be recorded; names it.
        """
        if self._writer is None:
            self._writer = self._open()
        writer, bytes_before = self._writer, self._writer.nbytes
        for index, rank, sample in zip(group.index.tolist(), group.done.tolist(), views(group), strict=True):
            self.samples += writer.write(sample, key_of(index, rank))
        self.nbytes += writer.nbytes - bytes_before

    def close(self) -> None:
        """Ends the recording; it is gone on with when more is recorded."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if writer.duplicates and "seed" not in writer.settings.metadata:
            log.warning(
                "%d samples that came have keys that %s holds already, and were passed over; nothing tells whether they "
                "are of the same launch. Record with metadata=launcher.origin, or into another folder.",
                writer.duplicates,
                writer.settings.folder,
            )
        self.duplicates += writer.duplicates
        writer.close()


def views(group: Group) -> Iterator[dict[str, Any]]:
    """The samples of a group, their arrays where they lie: valid until its release."""
    for i in range(len(group)):
        yield group.view(i) | {
            "btid": group.btid,
            "btepoch": int(group.epoch[i]),
            "btseq": int(group.seq[i]),
            "btindex": int(group.index[i]),
        }
