"""A recording for a `DataLoader`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..recording import Recording
from ..recording.recording import Source


class FileDataset(Dataset[Any]):
    """The samples of a recording, for a `torch.utils.data.DataLoader` with any sampler and any number of workers.

    Samples are as a `RemoteIterableDataset` has yielded them: arrays are writable copies.

    Args:
        recording: A `btt.Recording`, its folder, a shard, or several of them.
        item_transform: Called on each sample, in the worker; what it returns is yielded.

    Raises:
        MissingFileError: There is no such recording.
        RecordingError: It is not one.

    Attributes:
        recording: The recording.
    """

    def __init__(
        self, recording: Recording | Source, item_transform: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        self.recording = recording if isinstance(recording, Recording) else Recording(recording)
        self._item_transform = item_transform

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.recording)

    def __getitem__(self, index: int) -> Any:
        """A sample.

        Raises:
            IndexError: There is no such sample.
            RecordingError: It is damaged.
        """
        sample = self.recording[index]
        sample = {
            name: value.copy() if isinstance(value, np.ndarray) and not value.flags.writeable else value
            for name, value in sample.items()
        }
        return sample if self._item_transform is None else self._item_transform(sample)
