"""Memory that is used again: never while anything refers to it, and no more of it than was asked for."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blendtorch.btt.buffer_pool import BufferPool
from blendtorch.wire.recycled_memory import RecycledMemory


def test_the_pool_keeps_no_more_than_it_is_told() -> None:
    pool = BufferPool(pin_memory=False, most=2)
    shape, dtype = (300, 500), np.dtype(np.float32)
    used = [pool.take("image", shape, dtype) for _ in range(5)]
    places = {array.__array_interface__["data"][0] for array in used}
    assert len(places) == 5
    used.clear()
    gc.collect()
    again = [pool.take("image", shape, dtype) for _ in range(2)]
    assert {array.__array_interface__["data"][0] for array in again} <= places
    assert all(array.shape == shape and array.dtype == dtype for array in again)


def test_the_pool_forgets_what_does_not_fit_any_more() -> None:
    """Samples whose shapes always change do not fill the memory."""
    pool = BufferPool(pin_memory=False, most=2)
    tracemalloc.start()
    try:
        for height in range(1, 100):
            pool.take("image", (100_000, height), np.dtype(np.uint8))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 100_000 * 99 + 100_000  # the last one, and no image more
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "use",
    [
        lambda block: block[5:].view(np.uint8).reshape(-1, 5),
        lambda block: memoryview(block)[10:],
        lambda block: np.asarray(memoryview(block))[3:],
        lambda block: torch.from_numpy(block.view(np.float32))[7:],
    ],
    ids=["array", "buffer", "array of a buffer", "tensor"],
)
def test_what_is_made_of_memory_keeps_it_in_use(use: Callable[[np.ndarray], Any]) -> None:
    """Numpy's slices of slices refer to the first array alone: that one has to be the one that is watched."""
    memory = RecycledMemory(most=2)

    def place(array: np.ndarray) -> int:
        return array.__array_interface__["data"][0]

    block = memory.take("image", 100_000)
    first = place(block)
    used = use(block)
    del block
    assert place(memory.take("image", 100_000)) != first
    del used
    assert place(memory.take("image", 100_000)) == first


def test_small_things_are_not_kept() -> None:
    memory = RecycledMemory(most=2)
    assert memory.take("text", 100).nbytes == 100
    assert memory.take("text", 0).nbytes == 0
