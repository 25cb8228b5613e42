"""Samples that were received together, their fields side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import Field


@dataclass
class Group:
    """One or more samples of one instance, in the order in which they were made.

    Attributes:
        source: Which of the receiver's sources they come from, counted from 0.
        btid: The instance.
        seq, epoch, index, time_us: Of each sample, see `Message`; int64 arrays.
        done: Of each sample, how many of its index come before it; int64.
        fields: The fields that all of them have, of one shape: name to an array, first axis the samples. They may lie in
            shared memory, and are then valid until `release`.
        kinds: For each of `fields` what a single value of it is.
        rests: For each sample its other fields.
        release: Gives the memory back; to be called once.
        in_shared_memory: Whether `fields` lie in shared memory.
    """

    source: int
    btid: int | None
    seq: np.ndarray
    epoch: np.ndarray
    index: np.ndarray
    done: np.ndarray
    time_us: np.ndarray
    fields: Mapping[str, np.ndarray]
    kinds: Mapping[str, Field]
    rests: list[dict[str, Any]]
    release: Callable[[], None]
    in_shared_memory: bool

    def __len__(self) -> int:
        return len(self.rests)

    def items(self) -> list[dict[str, Any]]:
        """The samples one by one, in memory of their own, with who made them added."""
        return [
            {
                **{name: self.kinds[name].read(array[i, ...]) for name, array in self.fields.items()},
                **rest,
                "btid": self.btid,
                "btepoch": int(self.epoch[i]),
                "btseq": int(self.seq[i]),
                "btindex": int(self.index[i]),
            }
            for i, rest in enumerate(self.rests)
        ]
