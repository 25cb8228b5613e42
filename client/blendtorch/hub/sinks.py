"""Where a hub's samples go to: clients, and a recording."""

import time
from collections import Counter
from dataclasses import replace

from ..errors import PeerTimeout
from ..recording import Recording, RecordingSettings, RecordingWriter
from ..recording.recording import recording_in
from ..recording.resume import indices_of, key_of
from ..wire.sample_sender import SampleSender
from .sources import Sample


class StreamSink:
    """Sends samples to the clients of one address. Made by any thread, then used by the hub's alone.

    Args:
        sender: What has bound the address.

    Attributes:
        address: The address.
        clients: How many clients are there.
        waiting: How many samples wait for them, or are on their way to them.
        sent: How many samples they were sent.
    """

    def __init__(self, sender: SampleSender) -> None:
        self._sender = sender
        self.address = sender.address
        self.clients = self.waiting = 0
        self.sent = 0
        self._closed = False

    def has_room(self) -> bool:
        """Hears what clients say; whether one is there and takes a sample."""
        ready = self._sender.ready()
        self.clients, self.waiting = self._sender.receivers, self._sender.waiting
        return ready

    def send(self, sample: Sample) -> bool:
        """Sends a sample, if a client takes it now; whether that is done.

        Raises:
            EncodeError, PickleNotAllowedError: A field cannot be sent; names it.
        """
        try:
            self.sent += self._sender.publish(sample.fields, sample.index, 0, done=sample.rank)
        except PeerTimeout:
            return False
        self.waiting = self._sender.waiting  # before it leaves the hub: somebody may wait until nothing waits
        return True

    def close(self, linger_s: float) -> None:
        """Tells clients that the stream has ended; they may fetch what waits for so long."""
        self.clients = self.waiting = 0
        if not self._closed:
            self._closed = True
            self._sender.close(linger_s)


class RecordingSink:
    """Records samples. Made by any thread, then used by the hub's alone.

    Args:
        settings: Where and how.
        num_samples: How many samples the recording is to have; None for any number.
        btid: The id that they are recorded with.

    Raises:
        ConfigError: The folder holds a recording of another stream.
        RecordingError: It holds tar files that are no recording.
        RecordingWriteError: It cannot be written to.

    Attributes:
        num_samples: The same.
        first_index: The first index that is not recorded in full.
    """

    def __init__(self, settings: RecordingSettings, num_samples: int | None, btid: int) -> None:
        self.num_samples = num_samples
        self._btid = btid
        # Who reads `num_instances` believes that each share was made in order, see `RecordedShare`.
        metadata = {name: value for name, value in settings.metadata.items() if name != "num_instances"}
        self._writer = RecordingWriter(replace(settings, metadata=metadata))
        before = recording_in(settings.folder)
        self._before = 0 if before is None else len(before)
        self._bytes_before = 0 if before is None else sum(path.stat().st_size for path in before.shards)
        self.first_index = 0 if before is None else first_index_after(before)
        self._taken = 0
        self._started = time.monotonic()

    @property
    def recorded(self) -> int:
        """How many samples the recording has."""
        return self._before + self._writer.samples

    @property
    def nbytes(self) -> int:
        """How many bytes its shards take, those before included."""
        return self._bytes_before + self._writer.nbytes

    @property
    def over(self) -> bool:
        """Whether all samples are there."""
        return self.num_samples is not None and self.recorded >= self.num_samples

    @property
    def seconds_left(self) -> float | None:
        """How long it will take yet, as fast as so far; None where that is not known."""
        if self.num_samples is None or not self._writer.samples:
            return None
        left = max(0, self.num_samples - self.recorded)
        return (time.monotonic() - self._started) / self._writer.samples * left

    def record(self, sample: Sample) -> None:
        """Writes a sample; one that is there already is passed over.

        Raises:
            RecordingWriteError: The disk is full or has failed. What was recorded is kept, this sink is closed.
            EncodeError: A field cannot be recorded; names it.
            ConfigError: A library for an encoding is missing.
        """
        who = {"btid": self._btid, "btepoch": 0, "btseq": self._taken, "btindex": sample.index}
        self._writer.write({**sample.fields, **who}, key_of(sample.index, sample.rank))
        self._taken += 1

    def close(self) -> None:
        """Ends the recording; it can be gone on with.

        Raises:
            RecordingWriteError: The disk is full or has failed. All samples are kept.
        """
        self._writer.close()


def first_index_after(recording: Recording) -> int:
    """The first index that a recording does not hold in full, as far as that is known.

    Samples of a window and its workers come in any order. So an index is taken to be complete that has as many samples as
    the one with most; but not the last one, for of one alone nobody knows how many it has.
    """
    counts = Counter(indices_of(recording.keys))
    if not counts:
        return 0
    most, index = max(counts.values()), 0
    while counts.get(index, 0) == most:
        index += 1
    return min(index, max(counts))
