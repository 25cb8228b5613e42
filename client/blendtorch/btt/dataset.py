"""A live stream of samples as an `IterableDataset`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from ..errors import ConfigError, PeerTimeout
from ..launch.addresses import address_list
from ..recording.settings import Record, as_settings
from ..wire.curve import CurveKeys
from ..wire.recycled_memory import RecycledMemory
from ..wire.sample_receiver import SampleReceiver
from ..wire.sockets import DEFAULT_QUEUE_SIZE
from .stream_recorder import StreamRecorder

Item = dict[str, Any]

_MOST_KEPT = 32  # arrays of each field that are kept to be used again: about a batch


class RemoteIterableDataset(IterableDataset[Any]):
    """Samples as Blender instances publish them, for a `torch.utils.data.DataLoader` with any number of workers.

    Each sample goes to exactly one worker. With `num_workers` 0 or 1, and one instance, samples arrive in the order in
    which they were made; samples of several instances are interleaved fairly.

    Args:
        addresses: What to connect to, usually `launcher.launch_info.addresses["DATA"]`.
        max_items: How many samples an iteration yields, all workers together; None until all scripts have ended. Workers
            get equal shares. What they do not take waits for the next iteration.
        item_transform: Called on each sample, in the worker; what it returns is yielded.
        record: A folder, or `btt.RecordingSettings`, to record samples into, before `item_transform`. Each worker writes
            its own shards. A folder that holds an interrupted recording of this stream is gone on with.
        queue_size: How many samples per instance and worker may wait here that do not come by shared memory. At Blender's
            side wait `send_hwm` more.
        timeoutms: How many milliseconds to wait for each sample.
        allow_pickle: Whether pickled fields are loaded. **A pickle can execute code**: only from Blenders you trust.
        curve: The keys of the launch, `launch_info.curve`, for Blenders on other machines.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        max_items: int | None = None,
        item_transform: Callable[[Item], Any] | None = None,
        *,
        record: Record | None = None,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        timeoutms: float = 30_000,
        allow_pickle: bool = False,
        curve: CurveKeys | None = None,
    ) -> None:
        self._addresses = address_list(addresses)
        if max_items is not None and max_items < 0:
            raise ConfigError(f"max_items is {max_items}, expected 0 or more, or None for an endless stream.")
        if queue_size < 1 or timeoutms <= 0:
            raise ConfigError(f"queue_size is {queue_size} and timeoutms {timeoutms}, expected positive numbers.")
        self._record = None if record is None else as_settings(record)
        self._origin = {"num_instances": len(self._addresses)}
        self._max_items = max_items
        self._item_transform = item_transform
        self._timeout_s = timeoutms / 1000
        self._options: dict[str, Any] = {"queue_size": queue_size, "allow_pickle": allow_pickle, "curve": curve}

    def __iter__(self) -> Iterator[Any]:
        """Yields the samples: a dict of the published fields, and `btid`, `btepoch`, `btseq` and `btindex`.

        Arrays are C-contiguous and writable. `btid` is the id of the instance that made the sample, the others are told
        at `btb.BlenderOutputChannel.publish`.

        Raises:
            PeerTimeout: No sample came in time.
            ScriptError: The script in an instance has failed, or the instance has died and was not restarted.
            AuthenticationError: An instance wants keys, see `curve`.
            ProtocolVersionError: An instance speaks another version of the protocol.
            PickleNotAllowedError: A sample holds a pickle, and `allow_pickle` is false.
            RecordingWriteError: The disk that is recorded to is full or has failed; what was recorded is kept.
            EncodeError: A field cannot be recorded; names it.
        """
        left = self._share()
        if left == 0:
            return
        # Made here, not in __init__: this runs in the worker, and sockets do not survive a fork.
        worker = get_worker_info()
        recorder = (
            None
            if self._record is None
            else StreamRecorder(self._record, self._origin, 0 if worker is None else worker.id)
        )
        receiver = SampleReceiver(self._addresses, **self._options)
        memory = RecycledMemory(_MOST_KEPT)
        try:
            while left is None or left > 0:
                item = self._receive(receiver, memory, recorder)
                if item is None:
                    return
                yield item if self._item_transform is None else self._item_transform(item)
                if left is not None:
                    left -= 1
        finally:
            try:
                receiver.close()
            finally:
                if recorder is not None:
                    recorder.close()

    def _share(self) -> int | None:
        """How many of `max_items` are this worker's."""
        worker = get_worker_info()
        if self._max_items is None or worker is None:
            return self._max_items
        share, rest = divmod(self._max_items, worker.num_workers)
        return share + (worker.id < rest)

    def _receive(
        self, receiver: SampleReceiver, memory: RecycledMemory, recorder: StreamRecorder | None
    ) -> Item | None:
        """The next sample; None when all scripts have ended."""
        try:
            group = receiver.receive(1, self._timeout_s)
        except PeerTimeout as error:
            raise PeerTimeout(
                f"{error} Does Blender still render (raise timeoutms), or does the script wait for something (see its log)?"
            ) from None
        if group is None:
            return None
        try:
            if recorder is not None:
                recorder.record(group)
            (item,) = group.items(memory)
        finally:
            group.release()
        return item
