"""Samples that were received together, their fields side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import Field
from .recycled_memory import RecycledMemory
from .ring_memory import SLOT_WORDS

SEQ, INDEX, DONE, EPOCH, TIME_US, PRESENT, REST_BYTES, _ = range(len(SLOT_WORDS))


@dataclass
class Group:
    """One or more samples of one instance, in the order in which they were made.

    Attributes:
        source: Which of the receiver's sources they come from, counted from 0.
        btid: The instance.
        words: One row a sample, as `ring_memory.SLOT_WORDS` names the columns; int64.
        fields: The fields that all of them have, of one shape: name to an array, first axis the samples. They may lie in
            shared memory, and are then valid until `release`.
        kinds: For each of `fields` what a single value of it is.
        rests: For each sample its other fields; None when no sample has any.
        release: Gives the memory of the first `count` samples back that have it yet; without a count that of all.
        in_shared_memory: Whether `fields` lie in shared memory.
        keep: Notes that they are delivered where they lie, and `release` comes when anybody likes; None where there is no
            room for that.
    """

    source: int
    btid: int | None
    words: np.ndarray
    fields: Mapping[str, np.ndarray]
    kinds: Mapping[str, Field]
    rests: list[dict[str, Any]] | None
    release: Callable[..., None]
    in_shared_memory: bool
    keep: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def seq(self) -> np.ndarray:
        """Number of each sample in its instance's stream."""
        return self.words[:, SEQ]

    @property
    def epoch(self) -> np.ndarray:
        """How often the instance was restarted when each sample was made."""
        return self.words[:, EPOCH]

    @property
    def index(self) -> np.ndarray:
        """The index that each sample belongs to."""
        return self.words[:, INDEX]

    @property
    def done(self) -> np.ndarray:
        """How many samples of its index come before each."""
        return self.words[:, DONE]

    @property
    def time_us(self) -> np.ndarray:
        """When each sample was published: microseconds since 1970, by the instance's clock."""
        return self.words[:, TIME_US]

    def view(self, i: int) -> dict[str, Any]:
        """The fields of one sample, its arrays where they lie: valid until `release`."""
        sample = {
            name: _boolean(values[i, ...])
            if self.kinds[name].kind == "array"
            else self.kinds[name].read(values[i, ...])
            for name, values in self.fields.items()
        }
        return sample | (self.rests[i] if self.rests else {})

    def items(self, memory: RecycledMemory | None = None) -> list[dict[str, Any]]:
        """The samples one by one, in memory of their own or some of `memory`, with who made them added."""
        return [
            {
                **{name: self.kinds[name].read(array[i, ...], memory) for name, array in self.fields.items()},
                **(self.rests[i] if self.rests else {}),
                "btid": self.btid,
                "btepoch": int(self.epoch[i]),
                "btseq": int(self.seq[i]),
                "btindex": int(self.index[i]),
            }
            for i in range(len(self))
        ]


def _boolean(values: np.ndarray) -> np.ndarray:
    """Booleans as 0 and 1, whatever the sender calls true."""
    return values.view(np.uint8) != 0 if values.dtype == np.bool_ else values
