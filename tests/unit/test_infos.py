"""Infos of vector environments are what Gymnasium's own make of the same dicts."""

from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from gymnasium.vector import VectorEnv

from blendtorch.btt.env.infos import VectorInfos, own_info, row_of

Info = dict[str, Any]


def gymnasiums(infos: list[Info | None]) -> Info:
    """What `gymnasium.vector.VectorEnv` makes of the infos of its environments; None for one that says nothing."""
    env = VectorEnv()
    env.num_envs = len(infos)
    found: Info = {}
    for agent, info in enumerate(infos):
        if info is not None:
            found = env._add_info(found, info, agent)
    return found


def ours(infos: list[Info | None]) -> Info:
    found = VectorInfos(len(infos))
    for agent, info in enumerate(infos):
        if info is not None:
            found.add(info, agent)
    return found.infos


def assert_same(found: Info, expected: Info) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_same(found[name], value)
        elif value.dtype == object:
            assert found[name].dtype == object
            assert_exact(list(found[name]), list(value), name)
        else:
            assert_exact(found[name], value, name)


ALIKE: dict[str, list[Info | None]] = {
    "nothing": [{}, {}],
    "nobody": [None, None],
    "ints": [{"n": 1}, {"n": 2**62}, {"n": -3}],
    "floats": [{"x": 0.5}, {"x": np.nan}],
    "bools": [{"lost": True}, {"lost": False}],
    "numpy's numbers": [{"x": np.float32(0.5), "n": np.uint8(3), "z": np.complex64(1j)}] * 2,
    "arrays": [{"a": np.arange(6, dtype=np.int16).reshape(2, 3)}, {"a": np.ones((2, 3), np.int16)}],
    "arrays of no dimensions": [{"a": np.array(2.5)}, {"a": np.array(3.5)}],
    "arrays of no elements": [{"a": np.zeros((0, 2))}, {"a": np.zeros((0, 2))}],
    "texts": [{"s": "one"}, {"s": "a longer one"}, {"s": ""}],
    "other things": [{"l": [1, 2], "t": (1, "a"), "n": None, "b": b"x"}, {"l": [], "t": (), "n": None, "b": b""}],
    "some have none": [{"n": 1}, None, {"x": 0.5}, {}, {"n": 2, "x": 1.5}],
    "dicts": [{"d": {"n": 1, "s": "a"}}, {"d": {"n": 2, "s": "b"}}],
    "dicts within dicts": [{"d": {"e": {"f": {"n": 1}}, "x": 0.5}}, {"d": {"e": {"f": {"n": 2}}}}, {"d": {"e": {}}}],
    "dicts that some have": [None, {"d": {"n": 1}}, {"d": {"a": np.ones(3)}}],
    "empty dicts": [{"d": {}}, {"d": {}}],
    "final": [
        {"final_obs": np.ones(2), "final_info": {"n": 1}},
        {"n": 3},
        {"final_obs": np.zeros(2), "final_info": {}},
    ],
    "final observations of dicts": [{"final_obs": {"a": 1}}, {"final_obs": {"a": np.ones(2)}}],
    "final observations of tuples": [{"final_obs": (1, 2)}, {"final_obs": (np.ones(2), 2)}],
    "final observations that are numbers": [{"final_obs": np.int64(3)}, {"final_obs": np.int64(4)}],
}


@pytest.mark.parametrize("name", ALIKE)
def test_infos_are_as_gymnasium_has_them(name: str) -> None:
    assert_same(ours(ALIKE[name]), gymnasiums(ALIKE[name]))


@pytest.mark.parametrize("name", ALIKE)
def test_each_agent_gets_its_own_back(name: str) -> None:
    infos = ALIKE[name]
    found = ours(infos)
    for agent, info in enumerate(infos):
        own = own_info(found, agent)
        assert own.keys() == (info or {}).keys()
        for key, value in (info or {}).items():
            np.testing.assert_equal(own[key], value)


@pytest.mark.parametrize("name", ALIKE)
def test_agents_may_be_added_together(name: str) -> None:
    infos = ALIKE[name]
    if any(info is None for info in infos):
        return
    found = VectorInfos(len(infos) + 2)
    agents = np.arange(len(infos))
    found.add_rows(infos, agents + 2, agents)
    expected = [None, None, *infos]
    assert_same(found.infos, gymnasiums(expected))


def test_numpys_bool_makes_an_array_of_bool() -> None:
    # Gymnasium itself makes objects of these, and bool of Python's own.
    found = ours([{"lost": np.True_}, {"lost": np.False_}])
    assert found["lost"].dtype == bool


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.5],
        [np.ones(2), np.ones(3)],
        [1, "a"],
        ["a", 1],
        [1, None],
        [1, 2**70],
        [np.uint8(1), -1],
        [{"n": 1}, 3],
        [3, {"n": 1}],
        [{"n": {"m": 1}}, "a"],
        ["a", {"n": 1}],
        [np.ones(2), {"n": 1}, [1, 2]],
        [1, 2.5, {"n": 1}, "a"],
    ],
)
def test_what_agents_say_differently_comes_as_objects(values: list[Any]) -> None:
    found = ours([{"x": value} for value in values])
    assert found["x"].dtype == object
    assert found["_x"].all()
    for value, expected in zip(found["x"], values, strict=True):
        np.testing.assert_equal(value, expected)


def test_what_fits_in_without_loss_of_kind_is_converted() -> None:
    found = ours([{"x": 0.5}, {"x": 3}, {"x": np.float32(1.5)}, {"x": True}])
    assert_exact(found["x"], np.array([0.5, 3, 1.5, 1]))


ROWS = {"x": np.array([0.5, 1.5, 2.5]), "a": np.arange(6).reshape(3, 2), "lost": np.array([True, False, True])}


def test_arrays_of_several_agents_are_taken_by_rows() -> None:
    found = VectorInfos(6)
    found.add_rows(ROWS, np.array([5, 3]), np.array([2, 0]))
    assert_exact(found.infos["x"], np.array([0, 0, 0, 0.5, 0, 2.5]))
    assert_exact(found.infos["_x"], np.array([False, False, False, True, False, True]))
    assert_exact(found.infos["a"][[3, 5]], ROWS["a"][[0, 2]])
    assert_exact(found.infos["lost"], np.array([False, False, False, True, False, True]))
    found.add({"x": 9.0}, 0)
    assert_exact(found.infos["x"], np.array([9, 0, 0, 0.5, 0, 2.5]))


def test_arrays_and_dicts_of_agents_make_the_same() -> None:
    rows = {
        **ROWS,
        "d": {"n": np.array([1, 2, 3]), "e": {"s": ["a", "b", "c"]}},
        "t": ["u", "vv", ""],
        "l": ([1], 2, 3),
    }
    single = [row_of(rows, row) for row in range(3)]
    assert single[1]["d"] == {"n": 2, "e": {"s": "b"}}
    agents = np.arange(3)
    of_rows, of_dicts = VectorInfos(3), VectorInfos(3)
    of_rows.add_rows(rows, agents, agents)
    of_dicts.add_rows(single, agents, agents)
    assert of_rows.infos.pop("lost").dtype == of_dicts.infos.pop("lost").dtype == bool
    assert_same(of_rows.infos, of_dicts.infos)


def test_several_blenders_may_say_the_same_differently() -> None:
    found = VectorInfos(4)
    found.add_rows({"x": np.array([1, 2])}, np.array([0, 1]), np.arange(2))
    found.add_rows({"x": np.array([[1.5, 2], [3, 4]])}, np.array([2, 3]), np.arange(2))
    assert found.infos["x"].dtype == object
    assert [found.infos["x"][agent] for agent in (0, 1)] == [1, 2]
    assert found.infos["x"][3].tolist() == [3, 4]
    found.add_rows({"x": {"n": np.arange(4)}}, np.array([0]), np.array([3]))
    assert found.infos["x"][0] == {"n": 3}


def test_nobody_said_nothing() -> None:
    found = VectorInfos(2)
    found.add_rows(None, np.arange(2), np.arange(2))
    found.add_rows([], np.arange(2), np.arange(2))
    found.add_rows({"x": np.arange(2)}, np.arange(0), np.arange(0))
    found.add({}, 0)
    assert found.infos == {}
    assert row_of(None, 0) == row_of([], 0) == row_of({}, 0) == {}


def test_last_observations_and_infos_are_added_as_gymnasium_does() -> None:
    found = VectorInfos(3)
    found.add({"n": 1}, 0)
    found.add_final(np.ones(2), {"n": 7, "d": {"x": 0.5}}, 2)
    found.add_final(np.zeros(2), {}, 1)
    expected = [
        {"n": 1},
        {"final_obs": np.zeros(2), "final_info": {}},
        {"final_obs": np.ones(2), "final_info": {"n": 7, "d": {"x": 0.5}}},
    ]
    assert_same(found.infos, gymnasiums(expected))
    assert found.infos["_final_info"].tolist() == found.infos["_final_obs"].tolist() == [False, True, True]


def test_the_info_of_an_agent_is_its_own() -> None:
    infos = [{"n": 1}]
    row_of(infos, 0)["n"] = 2
    assert infos == [{"n": 1}]
