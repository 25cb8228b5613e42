"""Spaces in Blender's Python: what can be declared, and that the handshake carries it."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from space_samples import BOX_DTYPES, SPACES, extremes

from blendtorch.errors import ConfigError
from blendtorch.wire import Kind, Message, decode, encode
from blendtorch.wire.body import DTYPES
from blendtorch.wire.spaces import (
    MAX_ELEMENTS,
    MAX_LEAVES,
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Space,
    Tuple,
    check_space,
    flatten,
    leaves,
    space_from_body,
    unflatten,
)

MANY = [10**9, 10**9]


def sent(space: Space) -> Space:
    frames = [bytes(frame) for frame in encode(Message(Kind.REPLY, space.to_body()))]
    return space_from_body(decode(frames).body)


def value_of(space: Space) -> Any:
    """A value whose leaves are their paths."""
    return unflatten(space, [path for path, _ in leaves(space)])


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_the_same_at_the_other_end(name: str) -> None:
    space, found = SPACES[name], sent(SPACES[name])
    assert found == space
    assert type(found) is type(space)
    assert repr(found) == repr(space)
    mine, yours = leaves(space), leaves(found)
    assert [(path, leaf.shape, leaf.dtype) for path, leaf in yours] == [(p, leaf.shape, leaf.dtype) for p, leaf in mine]
    for (_, leaf), (_, other) in zip(mine, yours, strict=True):
        for bound in ("low", "high", "nvec"):
            assert np.array_equal(getattr(leaf, bound, 0), getattr(other, bound, 0))


@pytest.mark.parametrize("name", SPACES)
def test_a_space_equals_no_other_one(name: str) -> None:
    assert [other for other, space in SPACES.items() if space == SPACES[name]] == [name]
    assert SPACES[name] != SPACES[name].to_body()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Box(0, 1, (2,)), Box([0, 0], [1, 1])),
        (Box(0, 1, (2, 2)), Box([[0], [0]], [1, 1])),
        (Box(0, 1, (0,)), Box([], [], dtype=np.float32)),
        (Box(3, 4, (0,)), Box(0, 1, (0,))),
        (Box(-0.0, 1, ()), Box(0.0, 1, ())),
        (Box(0, 1, (2,), ">f4"), Box(0, 1, (2,), "<f4")),
        (MultiBinary(2), MultiBinary((2,))),
        (MultiBinary(np.int64(2)), MultiBinary(np.array([2]))),
        (MultiDiscrete([2, 3]), MultiDiscrete(np.array([2, 3], np.uint8))),
        (Dict({"a": Discrete(2), "b": Discrete(3)}), Dict({"b": Discrete(3), "a": Discrete(2)})),
        (Tuple([Discrete(2)]), Tuple((Discrete(2),))),
    ],
)
def test_the_same_space_can_be_said_in_several_ways(one: Space, other: Space) -> None:
    assert one == other
    assert sent(one) == sent(other)


def test_spaces_differ_in_their_dtype_shape_and_parts() -> None:
    assert Box(0, 1, (2,)) != Box(0, 1, (2,), np.float64)
    assert Box(0, 1, (2,)) != Box(0, 1, (2, 1))
    assert Box(0, 1, ()) != Box(0, 1, (1,))
    assert Tuple([Discrete(2)]) != Tuple([Discrete(2), Discrete(2)])
    assert Dict({"a": Discrete(2)}) != Dict({"b": Discrete(2)})
    assert MultiDiscrete([2]) != Discrete(2)


@pytest.mark.parametrize("name", BOX_DTYPES)
def test_a_box_holds_the_whole_range_of_its_dtype_and_nothing_beyond(name: str) -> None:
    low, high = extremes(name)
    box = Box(low, high, (2,), name)
    assert (box.dtype, box.low.dtype, box.high.dtype) == (np.dtype(name),) * 3
    assert (box.low == low).all()
    assert (box.high == high).all()
    beyond = [2 * float(high)] if DTYPES[name].kind == "f" else [int(high) + 1, float(high) * 2, np.inf, 0.5]
    for bound in beyond:
        if bound == np.inf and DTYPES[name].kind == "f":
            continue  # for float64 there is nothing beyond but that
        with pytest.raises(ConfigError, match=r"cannot hold|expected numbers"):
            Box(low, bound, (2,), name)
    if DTYPES[name].kind == "u":
        with pytest.raises(ConfigError, match="cannot hold"):
            Box(-1, high, (2,), name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1, 0, (2,)), "expected none below the other"),
        (lambda: Box([0, 2], [1, 1]), "expected none below the other"),
        (lambda: Box(np.nan, 1, (2,)), "no NaN"),
        (lambda: Box(0, [1, np.nan]), "no NaN"),
        (lambda: Box(0, np.nan, (2,), np.uint8), "cannot hold"),
        (lambda: Box(0, 256, (2,), np.uint8), "which uint8 cannot hold"),
        (lambda: Box(-129, 0, (2,), np.int8), "which int8 cannot hold"),
        (lambda: Box(0, 1.5, (2,), np.int64), "which int64 cannot hold"),
        (lambda: Box(0, 2**70, (2,), np.int64), "expected numbers"),
        (lambda: Box(-1e39, 1, (2,)), "which float32 cannot hold"),
        (lambda: Box(0, 70000, (2,), np.float16), "which float16 cannot hold"),
        (lambda: Box("0", "1", (2,)), "expected numbers"),
        (lambda: Box(None, 1, (2,)), "expected numbers"),
        (lambda: Box(1j, 1, (2,)), "expected numbers"),
        (lambda: Box([[0], [0, 1]], 1), "do not fit its shape"),
        (lambda: Box([0, 0], 1, (3,)), "do not fit its shape"),
        (lambda: Box([0, 0], [1, 1, 1]), "do not fit its shape"),
        (lambda: Box(0, 1, 3), "expected whole numbers"),
        (lambda: Box(0, 1, (2.0,)), "expected whole numbers"),
        (lambda: Box(0, 1, "2"), "expected whole numbers"),
        (lambda: Box(0, 1, (-1,)), "none of them negative"),
        (lambda: Box(0, 1, (1,) * 32), "expected less than 32 numbers"),
        (lambda: Box(0, 1, MANY), f"at most {MAX_ELEMENTS} elements"),
        (lambda: Box(0, 1, [0, *MANY]), f"at most {MAX_ELEMENTS} elements"),
        (lambda: Box(np.zeros((10**4, 1)), np.ones((1, 10**4))), f"at most {MAX_ELEMENTS} elements"),
        (lambda: Box(0, 1, (2,), np.bool_), "dtype of a Box"),
        (lambda: Box(0, 1, (2,), np.complex64), "dtype of a Box"),
        (lambda: Box(0, 1, (2,), "no dtype"), "dtype of a Box"),
        (lambda: Box(0, 1, (2,), "(,)f4"), "dtype of a Box"),
        (lambda: Box(0, 1, (2,), object), "dtype of a Box"),
        (lambda: Discrete(0), "expected at least 1"),
        (lambda: Discrete(-(10**5000)), "too long to show"),
        (lambda: Discrete(2.5), "expected whole numbers"),
        (lambda: Discrete("3"), "expected whole numbers"),
        (lambda: Discrete(np.array([3, 4])), "expected whole numbers"),
        (lambda: Discrete(2, None), "expected whole numbers"),
        (lambda: Discrete(2**63), "in 64 bits"),
        (lambda: Discrete(2, 2**63 - 1), "does not fit into 64 bits"),
        (lambda: Discrete(1, -(2**63) - 1), "does not fit into 64 bits"),
        (lambda: MultiDiscrete([]), "expected whole numbers of at least 1"),
        (lambda: MultiDiscrete([2, 0]), "expected whole numbers of at least 1"),
        (lambda: MultiDiscrete([2.5]), "expected whole numbers of at least 1"),
        (lambda: MultiDiscrete([[2], [2, 3]]), "expected whole numbers of at least 1"),
        (lambda: MultiDiscrete([2**63]), "expected whole numbers of at least 1"),
        (lambda: MultiDiscrete([2**70]), "expected whole numbers of at least 1"),
        (lambda: MultiDiscrete("23"), "expected whole numbers of at least 1"),
        (lambda: MultiDiscrete(np.ones((1,) * 32, np.int64)), "expected less than 32 numbers"),
        (lambda: MultiBinary(0), "expected numbers of at least 1"),
        (lambda: MultiBinary([2, 0]), "expected numbers of at least 1"),
        (lambda: MultiBinary(-1), "none of them negative"),
        (lambda: MultiBinary("2"), "expected whole numbers"),
        (lambda: MultiBinary([1.5]), "expected whole numbers"),
        (lambda: MultiBinary([[2], [3, 4]]), "expected whole numbers"),
        (lambda: MultiBinary(None), "expected whole numbers"),
        (lambda: MultiBinary(MANY), f"at most {MAX_ELEMENTS} elements"),
        (lambda: Dict({}), "expected at least one"),
        (lambda: Dict({1: Discrete(2)}), "all of them texts"),
        (lambda: Dict({"a": Discrete(2), None: Discrete(2)}), "all of them texts"),
        (lambda: Dict({"a": 3}), "3 is no space"),
        (lambda: Dict({"a": gymnasium.spaces.Discrete(2)}), "is no space"),
        (lambda: Tuple([]), "expected at least one space"),
        (lambda: Tuple(["a"]), "'a' is no space"),
        (lambda: check_space(None, "X.action_space"), r"X\.action_space is not set"),
        (lambda: check_space(3, "X.action_space"), "3 is no space"),
        (lambda: check_space(Tuple([Discrete(2)] * (MAX_LEAVES + 1)), "x"), "x has 31 parts, expected at most 30"),
        (lambda: check_space(Tuple([Box(0, 1, (1 << 24,))] * 3), "x"), f"x has {3 << 24} elements"),
    ],
)
def test_what_is_no_space_is_refused(make: Callable[[], Space], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert len(str(caught.value)) < 1000


def test_a_space_may_have_as_many_leaves_and_elements_as_are_allowed() -> None:
    many = Tuple([Discrete(2)] * MAX_LEAVES)
    assert check_space(many, "x") is many
    tracemalloc.start()
    large = sent(Box(0, 1, (MAX_ELEMENTS,)))
    assert large == Box(0, 1, (1 << 20, 1 << 5)) or large.shape == (MAX_ELEMENTS,)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20  # a bound that is a number takes the memory of one


def test_bounds_cannot_be_written_to() -> None:
    given = np.zeros(2)
    box = Box(given, 1)
    given[0] = -5
    assert (box.low == 0).all()
    with pytest.raises(ValueError, match="read-only"):
        box.low[0] = 3


def test_the_leaves_of_a_space_have_names_and_an_order() -> None:
    assert [path for path, _ in leaves(SPACES["nested"])] == ["['$']['']", "['m']", *(f"['z']{rest}" for rest in REST)]
    assert [path for path, _ in leaves(SPACES["box"])] == [""]
    assert [path for path, _ in leaves(SPACES["dict"])] == ["['10']", "['a']", "['b']", "['é']"]


REST = ["[0]['x']", "[0]['y']", "[1][0]"]


@pytest.mark.parametrize("name", SPACES)
def test_a_value_is_taken_apart_and_put_together_again(name: str) -> None:
    space = SPACES[name]
    value = value_of(space)
    paths = [path for path, _ in leaves(space)]
    assert flatten(space, value) == paths
    assert unflatten(space, flatten(space, value)) == value


@pytest.mark.parametrize("keys", [["b", "a"], ["B", "a", "_", "10", "2"], ["é", "e", "z", "Z", "ab", "a", ""]])
def test_the_keys_of_a_dict_come_in_the_order_that_gymnasium_gives_them(keys: list[str]) -> None:
    mine = Dict({key: Discrete(2) for key in keys})
    other = gymnasium.spaces.Dict({key: gymnasium.spaces.Discrete(2) for key in keys})
    assert list(mine.spaces) == list(other.spaces)


@pytest.mark.parametrize(
    ("space", "value", "error", "message"),
    [
        ("dict", {"a": 0, "b": 0, "10": 0}, KeyError, "é"),
        ("dict", {}, KeyError, "10"),
        ("dict", {"a": 0, "b": 0, "10": 0, "é": 0, "c": 0}, KeyError, r"it has \['c'\]"),
        ("dict", {"a": 0, "b": 0, "10": 0, "é": 0, 1: 0, "x": 0}, KeyError, "which the space has not"),
        ("dict", [0, 1, 2, 3], TypeError, "a list stands in place of a dict"),
        ("dict", np.zeros(0), TypeError, "a ndarray stands in place of a dict"),
        ("dict", 3, TypeError, "a int stands in place of a dict"),
        ("tuple", (1,), ValueError, "shorter"),
        ("tuple", (1, 2, 3), ValueError, "longer"),
        ("tuple", 3, TypeError, "iterable|iterator"),
        ("tuple", None, TypeError, "iterable|iterator"),
    ],
)
def test_a_value_that_is_composed_otherwise_is_refused(
    space: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        flatten(SPACES[space], value)
