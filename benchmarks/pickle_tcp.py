"""The reference of stream.py: what one writes without BlendTorch. Pickled dicts over tcp, into a DataLoader.

The other end is `publish_pickles` in stream.blend.py.
"""

from collections.abc import Iterator
from typing import Any

import zmq
from torch.utils.data import IterableDataset


class PickleDataset(IterableDataset[dict[str, Any]]):
    """The samples that come in at an address, without end; each goes to one worker."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Made here: this runs in the worker.
        socket = zmq.Context.instance().socket(zmq.PULL)
        socket.setsockopt(zmq.RCVHWM, 10)
        socket.connect(self._address)
        try:
            while True:
                yield socket.recv_pyobj()
        finally:
            socket.close(linger=0)
