"""Where a hub's samples come from: the window that it runs in, and workers."""

import copy
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..wire.body import MAX_JSON_INT
from ..wire.curve import CurveKeys
from ..wire.field_names import check_field_names
from ..wire.sample_receiver import SampleReceiver

_QUEUE_SIZE = 4  # of a worker's samples that come by message
_NONE = (-1, 0)  # index and rank of no sample


@dataclass
class Sample:
    """One sample on its way through a hub.

    Attributes:
        index: The index that it belongs to.
        rank: How many samples of that index come before it.
        fields: The fields. Those of a worker may lie in shared memory, and are then valid until `release`.
        release: Gives that memory back.
        batch: Which batch of the window's it is of, see `HandOver.discard`; None when a worker has made it.
        is_recorded: Whether a recording has it.
    """

    index: int
    rank: int
    fields: Mapping[str, Any]
    release: Callable[[], None]
    batch: int | None = None
    is_recorded: bool = False

    @property
    def of_worker(self) -> bool:
        """Whether a worker has made it."""
        return self.batch is None

    def keep(self) -> None:
        """Moves it into memory of its own: it stays valid when its worker is left."""
        self.fields = copy.deepcopy(dict(self.fields))
        release, self.release = self.release, _nothing
        release()


class HandOver:
    """Hands the samples of the window over to the hub's thread; never blocks.

    Args:
        capacity: How many may wait.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._samples: deque[Sample] = deque()
        self._last = _NONE
        self._batch = 0

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def has_room(self) -> bool:
        """Whether one more may be put."""
        return len(self._samples) < self._capacity

    def put(self, index: int, fields: Mapping[str, Any]) -> None:
        """Hands one over; see `SampleHub.put`.

        Raises:
            ConfigError: There is no room, the index is none, or a field's name is taken.
        """
        if not self.has_room:
            raise ConfigError(
                f"{len(self)} samples wait to be handed over already. Expected put() where wants_sample() is true."
            )
        if type(index) is not int or not 0 <= index <= MAX_JSON_INT:
            raise ConfigError(f"the sample's index is {index!r}, expected an integer from 0 to 2**53.")
        check_field_names(fields)
        rank = self._last[1] + 1 if index == self._last[0] else 0
        self._last = (index, rank)
        self._samples.append(Sample(index, rank, dict(fields), _nothing, self._batch))

    def discard(self) -> None:
        """Drops what was put and is not passed on yet, the one on its way included. What is put next begins its index."""
        self._batch += 1
        self._last = _NONE
        self._samples.clear()

    def is_stale(self, sample: Sample) -> bool:
        """Whether it was put before the last `discard`."""
        return sample.batch is not None and sample.batch != self._batch

    def take(self) -> Sample | None:
        """The next one; None when none is there."""
        try:
            return self._samples.popleft()
        except IndexError:
            return None


class Worker:
    """The stream of one worker.

    Args:
        address: Where it publishes.
        curve: The keys of its launch, where it has some.

    Raises:
        AddressError: The address is malformed.

    Attributes:
        address: The same.
        failed: Whether its stream is over for another reason than its end; noted by who has seen it.
    """

    def __init__(self, address: str, curve: CurveKeys | None = None) -> None:
        self.address = address
        self.failed = False
        self._receiver = SampleReceiver([address], queue_size=_QUEUE_SIZE, curve=curve)

    @property
    def ended(self) -> bool:
        """Whether its script has ended, and all its samples were taken."""
        return self._receiver.ended

    def take(self) -> Sample | None:
        """Its next sample; None when none is there.

        Raises:
            ScriptError: It has failed, or has died and is not started again.
            AuthenticationError: It wants other keys.
            ProtocolError: It speaks another version, or a sample holds a pickle, and is gone.
        """
        group = self._receiver.take(1)
        if group is None:
            return None
        return Sample(int(group.index[0]), int(group.done[0]), group.view(0), group.release)

    def close(self) -> None:
        """Says farewell; what was not taken is lost with it."""
        self._receiver.close()


def _nothing() -> None:
    """What lies in memory of its own needs no release."""
