"""What a handshake can declare that is no space: ProtocolError, and no memory for it."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_samples import SPACES

from blendtorch.errors import ProtocolError
from blendtorch.wire.spaces import MAX_LEAVES, Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple, space_from_body

HUGE = 16**4095  # as long as the wire carries integers, and longer than Python will write
BOX = Box(0, 1, (2,)).to_body()
ARRAY = np.zeros(3)


def space_or_refused(body: Any) -> None:
    """Fails for any error but ProtocolError, and for what is neither."""
    try:
        space = space_from_body(body)
    except ProtocolError as error:
        reason = str(error)
    else:
        assert isinstance(space, Box | Dict | Discrete | MultiBinary | MultiDiscrete | Tuple)
        assert space_from_body(space.to_body()) == space
        return
    assert len(reason) < 1000


def nested(depth: int) -> dict[str, Any]:
    body = Discrete(2).to_body()
    for _ in range(depth):
        body = {"space": "Tuple", "spaces": [body]}
    return body


@pytest.mark.parametrize(
    "body",
    [
        *(None, 3, "Box", b"Box", [], ["space"], {}, ARRAY, np.float64(3), HUGE, (), True),
        *({"space": kind} for kind in ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple")),
        *({"space": kind} for kind in ("box", "", "x" * 10**6, None, 3, [], {}, ARRAY, np.array("Box"), HUGE)),
        *({**BOX, "shape": shape} for shape in ([10**9, 10**9], [0, 10**18], [HUGE], [1] * 32, [-1], 2, None, "22")),
        *({**BOX, "shape": shape} for shape in ([2.0], [None], [[2]], {"2": 2}, [2**63], ARRAY, [True] * 40)),
        *({**BOX, "dtype": dtype} for dtype in ("bool", "O", "(,)f4", "f4,f4", "", "float128", None, 4, [], ARRAY, {})),
        *({**BOX, "low": low} for low in (2, np.nan, None, "0", b"0", [], [0] * 3, {}, HUGE, [[0], [0, 1]], 1j, ["a"])),
        *({**BOX, "high": high} for high in (np.full(2, np.nan), np.zeros((0, 2)), np.zeros((1, 2)) - 1, -HUGE)),
        *({"space": "Discrete", "n": n, "start": 0} for n in (0, -1, 2**63, HUGE, 2.0, "3", None, [3], ARRAY, np.nan)),
        *({"space": "Discrete", "n": 2, "start": start} for start in (2**63 - 1, -HUGE, 0.5, None, "0", [], np.inf)),
        *({"space": "MultiDiscrete", "nvec": nvec} for nvec in (0, [], [0], [2.5], "2", HUGE, [[1], [1, 2]], None, {})),
        *({"space": "MultiBinary", "n": n} for n in (0, [0], [10**9] * 2, HUGE, 1.5, "2", None, [[2], 3], {}, ARRAY)),
        *(
            {"space": "Dict", "spaces": spaces}
            for spaces in ([], {}, {"ab": BOX}, None, 3, "ab", [BOX], [["a"]], ARRAY)
        ),
        *({"space": "Dict", "spaces": [[key, BOX]]} for key in (1, None, [], {}, ("a",), ARRAY, HUGE)),
        *({"space": "Tuple", "spaces": spaces} for spaces in ([], None, 3, "ab", [None], {"a": BOX}, ARRAY)),
        {"space": "Tuple", "spaces": [BOX] * (MAX_LEAVES + 1)},
        {"space": "Tuple", "spaces": [{**BOX, "shape": [1 << 25]}] * 2},
        nested(17),
        nested(900),
    ],
    ids=lambda body: "",
)
def test_what_is_no_space_is_refused_without_taking_memory(body: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError) as caught:
            space_from_body(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    assert len(str(caught.value)) < 1000


def test_spaces_may_be_nested() -> None:
    assert space_from_body(nested(15)) is not None


numbers = st.one_of(
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from([2**31, 2**63, 10**9]),
    st.builds(lambda: HUGE),  # which hypothesis could not show
)
simple = st.one_of(st.none(), numbers, st.text(max_size=3), st.binary(max_size=3))
arrays = st.builds(
    lambda size, dtype, fill: np.full(size, fill, dtype),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(["int8", "uint64", "float32", "float64", "bool", "complex64"]),
    st.integers(0, 5),
)
sizes = st.one_of(st.lists(st.one_of(st.integers(0, 4), numbers), max_size=4), arrays, simple)


def spaces_of(parts: st.SearchStrategy) -> st.SearchStrategy:
    """Bodies that are nearly spaces."""
    dtypes = st.one_of(st.sampled_from(["float32", "uint8", "int64", "float16", "bool"]), simple)
    anything = st.one_of(sizes, parts)
    return st.one_of(
        st.fixed_dictionaries(
            {"space": st.just("Box")},
            optional={"low": anything, "high": anything, "shape": sizes, "dtype": dtypes},
        ),
        st.fixed_dictionaries({"space": st.just("Discrete"), "n": sizes}, optional={"start": sizes}),
        st.fixed_dictionaries({"space": st.just("MultiDiscrete"), "nvec": sizes}),
        st.fixed_dictionaries({"space": st.just("MultiBinary"), "n": sizes}),
        st.fixed_dictionaries(
            {"space": st.just("Dict"), "spaces": st.lists(st.tuples(st.text(max_size=2), parts), max_size=3)}
        ),
        st.fixed_dictionaries({"space": st.just("Tuple"), "spaces": st.lists(parts, max_size=3)}),
        st.dictionaries(st.sampled_from(["space", "spaces", "low", "n", "nvec"]), anything, max_size=3),
    )


bodies = st.recursive(st.one_of(simple, arrays), spaces_of, max_leaves=8)


@given(bodies)
def test_any_body_is_a_space_or_refused(body: Any) -> None:
    space_or_refused(body)


good = st.sampled_from([space.to_body() for space in SPACES.values()])


@given(good, st.data())
def test_a_space_of_which_a_part_was_changed_is_a_space_or_refused(body: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(body)))
    space_or_refused({**body, key: data.draw(st.one_of(sizes, bodies))})
