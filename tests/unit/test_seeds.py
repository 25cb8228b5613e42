"""Which seed and which number the next episode of each agent has."""

from typing import Any

import numpy as np
import pytest

from blendtorch.btt.env.seeds import Seeds
from blendtorch.errors import ConfigError

ALL = range(3)


def test_a_number_is_counted_on_for_each_agent() -> None:
    seeds = Seeds(3)
    seeds.set(5, ALL)
    assert seeds.next([0, 1, 2]) == ([5, 6, 7], [0, 0, 0])
    assert seeds.next([2, 0]) == ([7, 5], [0, 0])


def test_asking_does_not_begin_an_episode() -> None:
    seeds = Seeds(2)
    seeds.set(0, range(2))
    assert seeds.next([0, 1]) == seeds.next([0, 1])
    seeds.begun([0])
    seeds.begun(np.array([0, 1]))
    assert seeds.next([0, 1]) == ([0, 1], [2, 1])
    seeds.begun(np.array([], np.int64))
    assert seeds.next([0, 1]) == ([0, 1], [2, 1])


def test_no_seed_goes_on_with_the_episodes_there_are() -> None:
    seeds = Seeds(3)
    seeds.set([1, 2, 3], ALL)
    seeds.begun([0, 1, 2])
    seeds.set(None, ALL)
    seeds.set([None, 9, None], ALL)
    assert seeds.next([0, 1, 2]) == ([1, 9, 3], [1, 0, 1])
    seeds.begun([0, 1, 2])
    seeds.set(1, ALL)
    assert seeds.next([0, 1, 2]) == ([1, 2, 3], [0, 0, 0])


def test_a_seed_is_for_the_agents_that_begin() -> None:
    seeds = Seeds(3)
    seeds.set(10, ALL)
    seeds.begun([0, 1, 2])
    seeds.set(20, [1])
    assert seeds.next([0, 1, 2]) == ([10, 21, 12], [1, 0, 1])
    seeds.set([-1, 4, -1], [1])  # of the others it is not asked
    assert seeds.next([1]) == ([4], [0])


def test_who_gives_no_seed_gets_others_each_time() -> None:
    first, second = Seeds(3).next([0, 1, 2]), Seeds(3).next([0, 1, 2])
    assert first[0] != second[0]
    assert first[1] == [0, 0, 0]
    assert all(0 <= seed < 2**31 for seed in first[0])


@pytest.mark.parametrize(
    "seed", [np.int64(4), [4, 5, 6], (4, 5, 6), np.array([4, 5, 6], np.uint8), [np.int32(4), 5, np.uint64(6)]]
)
def test_seeds_may_be_numpys_and_reach_blender_as_pythons(seed: Any) -> None:
    seeds = Seeds(3)
    seeds.set(seed, ALL)
    found, numbers = seeds.next([0, 1, 2])
    assert found == [4, 5, 6]
    assert {type(number) for number in found + numbers} == {int}


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, "seed is -1, expected 0 or more"),
        ([7, 7, -2], "seed is -2, expected 0 or more"),
        ([1, 2], "seed has 2 numbers, expected one for each of the 3"),
        ([], "seed has 0 numbers"),
        (1.5, "expected a whole number"),
        ([1, 2, 1.0], "expected a whole number"),
        ("123", "expected a whole number"),
        ([1, "2", 3], "expected a whole number"),
        ({}, "seed has 0 numbers"),
        (np.array([1.0, 2, 3]), "expected a whole number"),
        (object(), "expected a whole number"),
    ],
)
def test_what_is_no_seed_is_refused_and_changes_nothing(seed: Any, message: str) -> None:
    seeds = Seeds(3)
    seeds.set(5, ALL)
    seeds.begun([0, 1, 2])
    with pytest.raises(ConfigError, match=message):
        seeds.set(seed, ALL)
    assert seeds.next([0, 1, 2]) == ([5, 6, 7], [1, 1, 1])
