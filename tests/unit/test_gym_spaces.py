"""Gymnasium's own spaces of what an environment declares, and whether actions are in them."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces as gym
from gymnasium.error import InvalidAction
from gymnasium.vector.utils import batch_space
from space_samples import BOX_DTYPES, SPACES, extremes

from blendtorch.btt.env.gym_spaces import check_action, to_gymnasium
from blendtorch.wire.body import DTYPES
from blendtorch.wire.spaces import flatten, leaves

GYMNASIUM: dict[str, gymnasium.Space] = {
    "box": gym.Box(-1, 1, (3,)),
    "box of pictures": gym.Box(0, 255, (4, 5, 3), np.uint8),
    "box with bounds of its own": gym.Box(np.array([-1.5, -np.inf]), np.array([1, 0.25]), dtype=np.float64),
    "box that is broadcast": gym.Box(np.array([[0] * 3, [1] * 3]), np.array([[2, 3, 4]] * 2), dtype=np.int16),
    "box without bounds": gym.Box(-np.inf, np.inf, (2, 2)),
    "box of no dimensions": gym.Box(-2, 2, ()),
    "box of no elements": gym.Box(0, 1, (0, 3)),
    "box of one point": gym.Box(0.5, 0.5, (1,), np.float16),
    "discrete": gym.Discrete(5),
    "discrete from elsewhere": gym.Discrete(3, start=-1),
    "discrete of all": gym.Discrete(2**63 - 1, start=-(2**62)),
    "multi-discrete": gym.MultiDiscrete([3, 1, 2]),
    "multi-discrete of two axes": gym.MultiDiscrete([[3, 1], [2, 4]]),
    "multi-binary": gym.MultiBinary(4),
    "multi-binary of two axes": gym.MultiBinary([2, 3]),
    "dict": gym.Dict(
        {"b": gym.Box(-1, 1, (2,)), "a": gym.Discrete(3), "10": gym.MultiBinary(2), "é": gym.Box(0, 9, (), np.int32)}
    ),
    "tuple": gym.Tuple([gym.Discrete(2), gym.Box(0, 1, (2,), np.float64)]),
    "nested": gym.Dict(
        {
            "z": gym.Tuple(
                [
                    gym.Dict({"y": gym.MultiBinary(2), "x": gym.Box(0, 1, ())}),
                    gym.Tuple([gym.Discrete(4)]),
                ]
            ),
            "m": gym.MultiDiscrete([2, 2]),
            "$": gym.Dict({"": gym.Discrete(2)}),
        }
    ),
    **{f"box of {name}": gym.Box(0, 1, (2,), np.dtype(name).type) for name in BOX_DTYPES},
    **{f"box of all {name}": gym.Box(*extremes(name), (2,), np.dtype(name).type) for name in BOX_DTYPES},
}


def test_all_samples_are_looked_at() -> None:
    assert GYMNASIUM.keys() == SPACES.keys()


@pytest.mark.parametrize("name", SPACES)
def test_a_space_becomes_gymnasiums_own(name: str, recwarn: pytest.WarningsRecorder) -> None:
    found = to_gymnasium(SPACES[name])
    assert found == GYMNASIUM[name]
    assert repr(found) == repr(GYMNASIUM[name])
    assert not recwarn.list


# Of ranges that are wider than their dtype Gymnasium cannot sample.
SAMPLED = [name for name in SPACES if "of all" not in name or "int" in name]


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("name", SAMPLED)
def test_what_a_space_samples_is_an_action(name: str, count: int) -> None:
    space = to_gymnasium(SPACES[name])
    space = batch_space(space, count) if count else space
    space.seed(4)
    for _ in range(5):
        sample = space.sample()
        found = check_action(space, sample)
        for (path, leaf), array, given in zip(
            leaves(SPACES[name]), flatten(SPACES[name], found), flatten(SPACES[name], sample), strict=True
        ):
            assert (array.dtype, array.shape) == (leaf.dtype, (*[count] * bool(count), *leaf.shape)), path
            assert np.array_equal(array, given)


BOX, SMALL, PLAIN = gym.Box(-1, 1, (2,)), gym.Box(0, 255, (2,), np.uint8), gym.Box(-np.inf, np.inf, ())
ALONE, SHIFTED, BITS = gym.Discrete(3), gym.Discrete(3, start=-1), gym.MultiBinary(3)
SEVERAL = gym.MultiDiscrete([2, 3])
PARTS = gym.Dict({"a": ALONE, "b": gym.Tuple([BOX, BITS])})


@pytest.mark.parametrize(
    ("space", "action", "expected"),
    [
        (BOX, [0, 1], [0, 1]),
        (BOX, (0.5, -1), [0.5, -1]),
        (BOX, np.array([1, 0], np.int8), [1, 0]),
        (BOX, np.array([True, False]), [1, 0]),
        (BOX, np.array([0.5, 1], np.float16), [0.5, 1]),
        (BOX, np.array([0.5, 1], ">f4"), [0.5, 1]),
        (BOX, [np.float64(0.5), 1], [0.5, 1]),
        (PLAIN, 3, 3),
        (PLAIN, -np.inf, -np.inf),
        (PLAIN, np.float32(2.5), 2.5),
        (SMALL, [0, 255], [0, 255]),
        (SMALL, [True, 7], [1, 7]),
        (ALONE, 2, 2),
        (ALONE, np.int8(2), 2),
        (ALONE, np.array(1, np.uint32), 1),
        (ALONE, True, 1),
        (SHIFTED, -1, -1),
        (SEVERAL, [1, 2], [1, 2]),
        (BITS, [1, 0, 1], [1, 0, 1]),
        (BITS, [True, False, True], [1, 0, 1]),
        (BITS, np.array([True, False, True]), [1, 0, 1]),
        (batch_space(ALONE, 3), [0, 1, 2], [0, 1, 2]),
        (batch_space(SHIFTED, 2), (-1, 1), [-1, 1]),
        (batch_space(BITS, 2), [[1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1]]),
        (batch_space(BOX, 2), [np.zeros(2), [1, 0.5]], [[0, 0], [1, 0.5]]),
    ],
)
def test_pythons_numbers_and_narrower_arrays_are_converted(space: gymnasium.Space, action: Any, expected: Any) -> None:
    found = check_action(space, action)
    assert found.dtype == space.dtype
    assert np.array_equal(found, np.array(expected))


def test_an_array_of_the_right_dtype_is_not_copied() -> None:
    action = np.zeros(2, np.float32)
    assert check_action(BOX, action) is action


BAD: list[tuple[gymnasium.Space, Callable[[], Any], str]] = [
    (BOX, lambda: np.zeros(3, np.float32), r"shape \(3,\), expected \(2,\)"),
    (BOX, lambda: 0.5, r"shape \(\), expected \(2,\)"),
    (BOX, lambda: np.zeros(2), r"dtype float64, expected float32\. Convert it: action\.astype\(np\.float32\)"),
    (BOX, lambda: np.zeros(2, np.int64), "dtype int64, expected float32"),
    (BOX, lambda: [np.nan, 0], "has NaN"),
    (BOX, lambda: np.array([0, np.nan], np.float32), "has NaN"),
    (BOX, lambda: [0, 1.5], "out of bounds"),
    (BOX, lambda: np.array([0, np.nextafter(np.float32(1), np.float32(2))], np.float32), "out of bounds"),
    (BOX, lambda: [np.inf, 0], "out of bounds"),
    (BOX, lambda: [[0], [0, 1]], "which is no array"),
    (BOX, lambda: ["0", "1"], r"of dtype <U1, expected float32\. The"),
    (BOX, lambda: "no", "expected"),
    (BOX, lambda: None, "expected"),
    (BOX, lambda: [None, None], "of dtype object"),
    (BOX, lambda: [1j, 0], "of dtype complex128"),
    (BOX, lambda: {"a": 1}, "expected"),
    (PLAIN, lambda: 1e300, "out of bounds"),
    (PLAIN, lambda: np.nan, "has NaN"),
    (SMALL, lambda: [256, 0], "out of bounds"),
    (SMALL, lambda: [-1, 0], "out of bounds"),
    (SMALL, lambda: [2**63, 2**63], "out of bounds"),
    (SMALL, lambda: [2**70, 0], "of dtype object"),
    (SMALL, lambda: [10**5000, 0], "expected"),
    (SMALL, lambda: [0.5, 0], r"of dtype float64, expected uint8\. The"),
    (SMALL, lambda: np.zeros(2, np.int64), "of dtype int64, expected uint8"),
    (ALONE, lambda: 3, "out of bounds"),
    (ALONE, lambda: -1, "out of bounds"),
    (ALONE, lambda: 2**63, "out of bounds"),
    (ALONE, lambda: 2**70, "of dtype object"),
    (ALONE, lambda: 1.0, "of dtype float64, expected int64"),
    (ALONE, lambda: np.float32(1), r"of dtype float32, expected int64\. Convert it"),
    (ALONE, lambda: np.uint64(1), "of dtype uint64"),
    (ALONE, lambda: [1], r"shape \(1,\), expected \(\)"),
    (ALONE, lambda: "1", "of dtype <U1"),
    (ALONE, lambda: None, "of dtype object"),
    (SHIFTED, lambda: -2, "out of bounds"),
    (SHIFTED, lambda: 2**63 + 2**63 - 1, "out of bounds"),
    (SEVERAL, lambda: [1, 3], "out of bounds"),
    (SEVERAL, lambda: [-1, 0], "out of bounds"),
    (BITS, lambda: [0, 1, 2], "out of bounds"),
    (BITS, lambda: [256, 0, 0], "out of bounds"),
    (BITS, lambda: np.array([0, 1, 1], np.float32), r"of dtype float32, expected int8\. Convert it"),
    (PARTS, lambda: {"a": 1}, r"\['a'\], expected the keys \['a', 'b'\]"),
    (PARTS, lambda: {"a": 1, "b": ([0, 0], [0, 0, 0]), 3: 0}, r"expected the keys \['a', 'b'\]"),
    (PARTS, lambda: [1, 2], "a list, expected the keys"),
    (PARTS, lambda: {"a": 1, "b": ([0, 0],)}, r"action\['b'\] is a tuple of 1, expected a tuple of 2"),
    (PARTS, lambda: {"a": 1, "b": np.zeros(2)}, r"action\['b'\] is a ndarray, expected a tuple of 2"),
    (PARTS, lambda: {"a": 1, "b": ([0, 7], [0, 0, 0])}, r"action\['b'\]\[0\] is \[0\. 7\.\], which is out of bounds"),
    (PARTS, lambda: {"a": None, "b": ([0, 0], [0, 0, 0])}, r"action\['a'\] is of dtype object"),
    (batch_space(ALONE, 3), lambda: [0, 1], r"shape \(2,\), expected \(3,\)"),
    (batch_space(ALONE, 3), lambda: [0, 1, 3], "out of bounds"),
    (batch_space(PARTS, 2), lambda: [{"a": 1}, {"a": 1}], "a list, expected the keys"),
    (batch_space(BOX, 2), lambda: np.zeros((2, 2)), "dtype float64"),
]


@pytest.mark.parametrize(("space", "make", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_what_is_no_action_is_refused(space: gymnasium.Space, make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidAction, match=message) as caught:
        check_action(space, make())
    assert "The action space is " in str(caught.value)
    assert len(str(caught.value)) < 2000


class NoArray:
    """As a tensor on a GPU, or one that wants a gradient."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        raise self.error

    def __repr__(self) -> str:
        return "tensor on a GPU"


@pytest.mark.parametrize("error", [TypeError("cuda"), RuntimeError("gradient"), ValueError("no")])
def test_what_cannot_become_an_array_is_refused(error: Exception) -> None:
    with pytest.raises(InvalidAction, match="tensor on a GPU, which is no array"):
        check_action(BOX, NoArray(error))


def test_the_message_names_the_space_and_what_it_was_called() -> None:
    with pytest.raises(InvalidAction, match=r"^actions is .* The action space is MultiDiscrete\(\[3 3\]"):
        check_action(batch_space(ALONE, 2), [3, 3], "actions")
    with pytest.raises(InvalidAction, match=r"\.\.\.\. The action space is Box\(-1\.0, 1\.0, \(2,\), float32\)"):
        check_action(BOX, [["x" * 10**4], 3])


@pytest.mark.parametrize("name", BOX_DTYPES)
def test_pythons_integers_are_never_wrapped(name: str) -> None:
    low, high = extremes(name)
    space = gym.Box(low, high, (1,), np.dtype(name).type)
    if DTYPES[name].kind == "f":
        assert check_action(space, [100])[0] == 100
        return
    assert check_action(space, [int(high)])[0] == high
    assert check_action(space, [int(low)])[0] == low
    for beyond in (int(high) + 1, int(low) - 1):
        with pytest.raises(InvalidAction):
            check_action(space, [beyond])
