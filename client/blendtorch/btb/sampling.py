"""The random numbers of a sample: they depend on its address alone, never on who renders it or when."""

from collections.abc import Iterator

import numpy as np

from ..errors import ConfigError
from .session import current_session
from .stream_position import StreamPosition


def sample_rng(seed: int, *address: int) -> np.random.Generator:
    """The generator of one sample.

    The same address gives the same numbers whatever the number of instances, workers or restarts.

    Args:
        seed: The seed of the launch, `btargs.seed`.
        *address: The sample's index; with physics, its episode and frame. 0 or more; frames had better count from 1, for
            numpy makes the same generator of an episode and of its frame 0.

    Returns:
        `numpy.random.default_rng([seed, *address])`.

    Raises:
        ConfigError: A number is negative.
    """
    if seed < 0 or min(address, default=0) < 0:
        raise ConfigError(f"seed {seed} and address {address} of a sample: expected whole numbers of 0 or more.")
    return np.random.default_rng([seed, *address])


def sample_indices(btid: int, num_instances: int, stop: int | None = None) -> Iterator[int]:
    """The indices that are this instance's share of the stream: btid, btid + num_instances, ...

    What is published while an index is worked at belongs to it: receivers see the index as `btindex`, and can have the
    samples of all instances in its order. An instance that was restarted goes on with the first index that was not
    delivered in full; with several channels, that any of them has not delivered in full. So the channels must be there
    before the first index is asked for, and what an index publishes must depend on the index alone.

    Without this function, episodes of an `AnimationController` are the indices, or else samples. In the last case nothing
    tells what is owed: after a restart such a script begins anew, and its samples are numbered on.

    Args:
        btid: Id of this instance.
        num_instances: How many instances share the stream.
        stop: The first index that is no longer part of the stream: all instances together make `stop` indices, also when
            they are restarted. (A count of the script's own would begin anew.) None for an endless stream.
    """
    session = current_session()
    position = StreamPosition() if session is None else session.position
    position.chosen_by_script = True
    return _indices(btid, num_instances, stop, position)


def _indices(btid: int, num_instances: int, stop: int | None, position: StreamPosition) -> Iterator[int]:
    index = btid
    while True:
        missing = position.owed_index - index
        if missing > 0:
            index += -(-missing // num_instances) * num_instances
        if stop is not None and index >= stop:
            return
        position.index = index
        yield index
        index += num_instances
