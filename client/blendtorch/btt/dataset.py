"""A live stream of samples as an `IterableDataset`."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from ..errors import ConfigError, PeerTimeout, PickleNotAllowedError, ProtocolError, ProtocolVersionError
from ..wire import Kind, Message
from ..wire.message import script_error
from ..wire.sockets import DEFAULT_QUEUE_SIZE, MessageSocket

log = logging.getLogger(__name__)

Item = dict[str, Any]


class RemoteIterableDataset(IterableDataset[Any]):
    """Samples as Blender instances publish them, for a `torch.utils.data.DataLoader` with any number of workers.

    Each sample goes to exactly one worker. With `num_workers` 0 or 1, and one instance, samples arrive in the order in
    which they were made; samples of several instances are interleaved fairly.

    Args:
        addresses: What to connect to, usually `launcher.launch_info.addresses["DATA"]`.
        max_items: How many samples an iteration yields, all workers together; None for an endless stream. Workers get
            equal shares. What is on its way to a worker when it has had its share, or the iteration ends, is lost: let
            Blender publish without end.
        item_transform: Called on each sample, in the worker; what it returns is yielded.
        queue_size: How many samples per instance and worker may wait here before Blender is held. At Blender's side wait
            `send_hwm` more, and the system's socket buffers hold some megabytes.
        timeoutms: How many milliseconds to wait for each sample.
        allow_pickle: Whether pickled fields are loaded. **A pickle can execute code**: only from Blenders you trust.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        max_items: int | None = None,
        item_transform: Callable[[Item], Any] | None = None,
        *,
        queue_size: int = DEFAULT_QUEUE_SIZE,
        timeoutms: float = 30_000,
        allow_pickle: bool = False,
    ) -> None:
        self._addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        if not self._addresses:
            raise ConfigError("addresses is empty, expected at least one such as 'tcp://127.0.0.1:11000'.")
        if max_items is not None and max_items < 0:
            raise ConfigError(f"max_items is {max_items}, expected 0 or more, or None for an endless stream.")
        if queue_size < 1 or timeoutms <= 0:
            raise ConfigError(f"queue_size is {queue_size} and timeoutms {timeoutms}, expected positive numbers.")
        self._max_items = max_items
        self._item_transform = item_transform
        self._queue_size = queue_size
        self._timeout_s = timeoutms / 1000
        self._allow_pickle = allow_pickle

    def __iter__(self) -> Iterator[Any]:
        """Yields the samples: a dict of the published fields and `btid`, the id of the instance that made it.

        Arrays are C-contiguous and writable.

        Raises:
            PeerTimeout: No sample came in time.
            ScriptError: The script in an instance has failed, or the instance has died.
            ProtocolVersionError: An instance speaks another version of the protocol.
            PickleNotAllowedError: A sample holds a pickle, and `allow_pickle` is false.
        """
        # Made here, not in __init__: this runs in the worker, and sockets do not survive a fork.
        socket = MessageSocket(
            "pull", self._addresses, bind=False, queue_size=self._queue_size, allow_pickle=self._allow_pickle
        )
        try:
            left = self._share()
            while left is None or left > 0:
                item = self._receive(socket)
                yield item if self._item_transform is None else self._item_transform(item)
                if left is not None:
                    left -= 1
        finally:
            socket.close()

    def _share(self) -> int | None:
        """How many of `max_items` are this worker's."""
        worker = get_worker_info()
        if self._max_items is None or worker is None:
            return self._max_items
        share, rest = divmod(self._max_items, worker.num_workers)
        return share + (worker.id < rest)

    def _receive(self, socket: MessageSocket) -> Item:
        """Takes the next sample; what is no sample is refused, and does not prolong the wait."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._item(socket.recv(max(0.0, deadline - time.monotonic())))
            except (ProtocolVersionError, PickleNotAllowedError):
                raise
            except ProtocolError as error:
                log.warning("refused a message: %s", error)
            except PeerTimeout:
                raise PeerTimeout(
                    f"no sample came from {', '.join(self._addresses)} for {self._timeout_s:g} s. Has the script in "
                    "Blender published all it had to, is it still rendering (raise timeoutms), or has it ended (see its "
                    "log)?"
                ) from None

    def _item(self, message: Message) -> Item:
        if message.kind == Kind.ERROR:
            raise script_error(message)
        if message.kind != Kind.SAMPLE or not isinstance(message.body, dict):
            raise ProtocolError(f"it is of kind {message.kind[:32]!r}, expected 'sample' with a dict of fields.")
        return {**message.body, "btid": message.btid}
