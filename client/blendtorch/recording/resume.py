"""Where the streams go on that a recording was made of."""

from collections import defaultdict

from .recording import Recording

Position = tuple[int, int, int]  # seq, index, done: as the wire's samples are counted


def key_of(index: int, rank: int) -> str:
    """The key of a sample of a stream.

    Args:
        index: The index that it belongs to (`btb.sample_indices`).
        rank: How many samples of that index come before it.
    """
    return f"{index:09d}-{rank:04d}"


def positions_after(recording: Recording, num_instances: int) -> list[Position]:
    """Where each instance's stream goes on: with the first sample of its share that is not there.

    Args:
        recording: What is there, with keys as `key_of` makes them; others are passed over.
        num_instances: How many instances share the stream now; instance k has the indices k, k + num_instances, ...
    """
    ranks: dict[int, set[int]] = defaultdict(set)
    complete: set[int] = set()
    for metadata, keys in recording.parts:
        before = metadata.get("num_instances")
        # An index has all its samples when its instance has gone on to another one; the last of each may be interrupted.
        step = before if isinstance(before, int) and before > 0 else num_instances
        last: dict[int, int] = {}
        for key in keys:
            index, rank = _place(key)
            if index >= 0:
                ranks[index].add(rank)
                last[index % step] = max(index, last.get(index % step, -1))
        complete.update(index for index in map(_index, keys) if 0 <= index < last[index % step])
    return [_position(ranks, complete, btid, num_instances) for btid in range(num_instances)]


def _position(ranks: dict[int, set[int]], complete: set[int], btid: int, step: int) -> Position:
    index, seq, done = btid, 0, 0
    while index in complete:
        seq += len(ranks[index])
        index += step
    while done in ranks.get(index, ()):
        done += 1
    return seq + done, index, done


def _place(key: str) -> tuple[int, int]:
    index, _, rank = key.partition("-")
    return (int(index), int(rank)) if index.isdecimal() and rank.isdecimal() else (-1, 0)


def _index(key: str) -> int:
    return _place(key)[0]
