"""The random numbers of a sample: they depend on its address alone, never on who renders it or when."""

from collections.abc import Iterator

import numpy as np

from .session import current_session
from .stream_position import StreamPosition


def sample_rng(seed: int, *address: int) -> np.random.Generator:
    """The generator of one sample.

    The same address gives the same numbers whatever the number of instances, workers or restarts.

    Args:
        seed: The seed of the launch, `btargs.seed`.
        *address: The sample's index; with physics, its episode and frame.

    Returns:
        `numpy.random.default_rng([seed, *address])`.
    """
    return np.random.default_rng([seed, *address])


def sample_indices(btid: int, num_instances: int) -> Iterator[int]:
    """The indices that are this instance's share of an endless stream: btid, btid + num_instances, ...

    What is published while an index is worked at belongs to it: receivers see the index as `btindex`, and can have the
    samples of all instances in its order. An instance that was restarted goes on with the first index that was not
    delivered in full. Without this function, episodes of an `AnimationController` are the indices, or else samples.
    """
    session = current_session()
    position = StreamPosition() if session is None else session.position
    position.chosen_by_script = True
    return _indices(btid, num_instances, position)


def _indices(btid: int, num_instances: int, position: StreamPosition) -> Iterator[int]:
    index = btid
    while True:
        missing = position.owed_index - index
        if missing > 0:
            index += -(-missing // num_instances) * num_instances
        position.index = index
        yield index
        index += num_instances
