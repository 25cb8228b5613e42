"""What a recording holds of the streams that it was made of, and where they go on after an interruption."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .recording import Recording

Position = tuple[int, int, int]  # seq, index, done: as the wire's samples are counted

_KEY = re.compile(r"(\d{1,15})-\d+")  # as `key_of` makes them; the wire's indices are below 2^53
_WINDOW = 1 << 16


def key_of(index: int, rank: int) -> str:
    """The key of a sample of a stream.

    Args:
        index: The index that it belongs to (`btb.sample_indices`).
        rank: How many samples of that index come before it.
    """
    return f"{index:09d}-{rank:04d}"


@dataclass(frozen=True)
class RecordedShare:
    """Of the indices btid, btid + num_instances, ... what is recorded.

    Attributes:
        btid, num_instances: The same.
        indices: (N,) int64, for each sample of the share the index it belongs to, ascending.
        reached: For each share the highest index that its writer has come to, also for those of runs with more or fewer
            instances: (num_instances, btid) to index. A writer makes its share in order, so all lower indices of it are
            complete, those without samples, too.
    """

    btid: int
    num_instances: int
    indices: np.ndarray
    reached: Mapping[tuple[int, int], int]

    @classmethod
    def of(cls, recording: Recording | None, btid: int, num_instances: int) -> "RecordedShare":
        """The share in a recording; None for one that has not begun."""
        if recording is None:
            return cls(btid, num_instances, np.empty(0, np.int64), {})
        reached: dict[tuple[int, int], int] = {}
        for metadata, keys in recording.parts:
            count = metadata.get("num_instances")
            if type(count) is not int or count < 1:
                continue  # nothing tells whose share it was
            for index in indices_of(keys):
                share = (count, index % count)
                reached[share] = max(index, reached.get(share, -1))
        mine = (index for index in indices_of(recording.keys) if index % num_instances == btid % num_instances)
        return cls(btid, num_instances, np.sort(np.fromiter(mine, np.int64)), reached)

    @property
    def owed(self) -> int:
        """The first index of the share that is not known to be complete.

        Nothing tells how many samples an index has, so the last one that a writer has come to is not.
        """
        mine = (self.num_instances, self.btid % self.num_instances)
        index = max(self.btid, self.reached.get(mine, -1))
        while True:
            candidates = index + self.num_instances * np.arange(_WINDOW)
            done = np.zeros(_WINDOW, bool)
            for (count, share), last in self.reached.items():
                done |= (candidates % count == share) & (candidates < last)
            if not done.all():
                return int(candidates[np.argmin(done)])
            index = int(candidates[-1]) + self.num_instances

    def has(self, index: int) -> bool:
        """Whether there is a sample of the index."""
        return self.samples_before(index) < self.samples_before(index + 1)

    def samples_before(self, index: int) -> int:
        """How many samples of the share belong to lower indices."""
        return int(np.searchsorted(self.indices, index))


def indices_of(keys: Iterable[str]) -> Iterator[int]:
    """The index of each sample; keys of another form than those of `key_of` are passed over."""
    return (int(match[1]) for match in map(_KEY.fullmatch, keys) if match)


def positions_after(recording: Recording, num_instances: int) -> list[Position]:
    """Where each instance's stream goes on: with the first index of its share that is not known to be complete.

    Args:
        recording: What is there; keys of another form than those of `key_of` are passed over.
        num_instances: How many instances share the stream now; instance k has the indices k, k + num_instances, ...
    """
    shares = [RecordedShare.of(recording, btid, num_instances) for btid in range(num_instances)]
    return [(share.samples_before(share.owed), share.owed, 0) for share in shares]
