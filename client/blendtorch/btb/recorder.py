"""Records what an instance makes, without a training process."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ConfigError, EncodeError
from ..recording import RecordingWriter
from ..recording.recording import recording_in
from ..recording.resume import RecordedShare, key_of
from ..recording.settings import Record
from ..recording.writer import settings_for
from ..wire import LaunchArguments
from ..wire.body import MAX_JSON_INT
from ..wire.field_names import check_field_names
from .origin import origin_of
from .session import open_session


class Recorder:
    """Records samples into a folder; in place of a `BlenderOutputChannel`, or beside it. Nobody needs to receive them.

    Each instance writes shards of its own, all of them into the same folder. What was published is readable at once, and
    stays so however this process ends (docs/recording.md). A sample is called INDEX-RANK: its `btindex`, see
    `btb.sample_indices`, and how many samples of that index come before it. So the number of instances does not change what
    samples are called.

    A folder that holds a recording of the same stream is gone on with. A script that numbers its samples by
    `btb.sample_indices` or the episodes of an `AnimationController` goes on with the first index of this instance's share
    that is not recorded in full; the last one that is there may not be, so it is made once more, and what there is of it is
    passed over. As with channels, the recorder must be there before the first index is asked for, and what an index
    publishes must depend on the index alone. Any other script begins anew, and its samples are numbered on.

    Args:
        settings: The folder, or all settings.
        btid: Id of this instance; by default `btargs.btid`.
        metadata: What else is known of the recording, JSON, such as `{"classes": {"1": "cube"}}`. It wins over what is
            noted anyway: `seed`, `num_instances`, `blender`; and where it is known for certain `scene` and `script`, each
            with `name` and `sha256`.

    Raises:
        ConfigError: The folder holds a recording of another seed, scene or script; or this process records into it already.
        RecordingWriteError: The folder cannot be written to.

    Attributes:
        btid: The same.
        settings: The settings, complete.
        samples: How many samples this recorder has written; those that were there already are not among them.
    """

    def __init__(self, settings: Record, btid: int | None = None, *, metadata: Mapping[str, Any] | None = None) -> None:
        # The session that this process is already, where the script has parsed its arguments.
        self._session = session = open_session(LaunchArguments())
        self.btid = session.args.btid if btid is None else btid
        settings = settings_for(settings, origin_of(session.args, session.scene, session.script_args))
        self.settings = replace(
            settings,
            folder=os.path.abspath(settings.folder),  # a script may change the working directory
            metadata={**settings.metadata, **(metadata or {})},
        )
        if self.address in session.position.owed:
            raise ConfigError(f"this process records into {self.address} already. Choose another folder.")
        self._writer = RecordingWriter(self.settings, worker=self.btid)
        self._share = RecordedShare.of(recording_in(self.settings.folder), self.btid, session.args.num_instances)
        self._next_seq: int | None = None  # None until the first sample tells where the stream goes on
        self._number = 0  # of the next sample that has no index
        self._last = (-1, 0)  # index and rank
        self._memory: dict[str, np.ndarray] = {}
        session.position.owed[self.address] = self._share.owed
        session.add_channel(self)

    @property
    def address(self) -> str:
        """The folder."""
        return os.fspath(self.settings.folder)

    @property
    def samples(self) -> int:
        return self._writer.samples

    def publish(self, **fields: Any) -> None:
        """Records one sample. It is in the file when this returns, so arrays may be drawn into again.

        What was recorded before a restart is passed over.

        Args:
            **fields: The sample: numpy arrays, numbers, strings, lists, dicts, ...; see docs/recording.md. It is recorded
                with `btid`, `btepoch`, `btseq` and `btindex` added, as a `BlenderOutputChannel` sends it.

        Raises:
            EncodeError: A field has a type that a recording cannot hold; names the field.
            RecordingWriteError: The disk is full or has failed. All samples before are kept, the recorder is closed.
            ConfigError: A field is called as one of those that are added; a sample of this index and rank was published
                already; the recorder is closed.
        """
        check_field_names(fields)
        session = self._session
        index, rank, seq = self._place(session.position.index)
        who = {"btid": self.btid, "btepoch": session.args.epoch, "btseq": seq, "btindex": index}
        session.published += self._writer.write({**fields, **who}, key_of(index, rank))
        self._last, self._next_seq = (index, rank), seq + 1
        self._number += 1

    def reserve(self, name: str, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
        """Memory to draw the next sample's field into, as a `BlenderOutputChannel` has it.

        Args:
            name: The name under which it will be published.
            shape: Its shape.
            dtype: Its dtype.

        Returns:
            An array with arbitrary content, to be used until the next `publish`; it may be the one of the last sample.
        """
        array = self._memory.get(name)
        if array is None or array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
            array = self._memory[name] = np.empty(shape, dtype)
        return array

    def publish_error(self, body: dict[str, str], duration_s: float) -> None:
        """Nothing: nobody listens. What is recorded is kept."""

    def ready(self) -> bool:
        """Whether `publish` would not block: always."""
        return True

    def close(self) -> None:
        """Ends the recording; it can be gone on with. At the end of the script this comes by itself.

        Raises:
            RecordingWriteError: The disk is full or has failed. All samples are kept.
        """
        self._session.remove_channel(self)
        self._session.position.owed.pop(self.address, None)
        self._writer.close()

    def _place(self, index: int | None) -> tuple[int, int, int]:
        """Index, rank and number in the stream of the next sample: those that `SampleSender` would give it."""
        if index is None:
            index, rank, seq = self._free_index(), 0, self._number
        else:
            rank = self._last[1] + 1 if index == self._last[0] else 0
            seq = self._share.samples_before(index) if self._next_seq is None else self._next_seq
        if not 0 <= index <= MAX_JSON_INT:
            raise EncodeError(f"the sample's index is {index}, expected 0 .. 2**53.")
        if (index, rank) <= self._last:
            raise ConfigError(
                f"a sample of index {index} was published already, before one of index {self._last[0]}: it would take its "
                "place. Expected ascending indices. Was an AnimationController played twice, or something published before "
                "it played? Then number all by btb.sample_indices."
            )
        return index, rank, seq

    def _free_index(self) -> int:
        """The index of the next sample that the script gives none."""
        count = self._session.args.num_instances
        while self._share.has(self.btid + self._number * count):
            self._number += 1
        return self.btid + self._number * count
