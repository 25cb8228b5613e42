"""Launch arguments: what the launcher writes is what the instance reads; a script's own arguments pass untouched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.errors import ConfigError, UnknownSocketError
from blendtorch.wire import LaunchArguments

text = st.text(st.characters(exclude_characters="="), min_size=1)
arguments = st.builds(
    lambda btid, others, *rest: LaunchArguments(btid, btid + others, *rest),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.integers(0, 2**128),
    st.dictionaries(text, st.text(min_size=1)),
    st.none() | st.text(min_size=1),
    st.integers(0, 10**6),
    st.none() | st.integers(1, 10**6),
    st.none() | st.text(min_size=1),
    st.integers(0, 2**40),
)
# A script's own words: anything that is neither one of ours nor "--".
OURS = (
    *("-btid", "-btcount", "-btseed", "-btepoch", "-btcontrol", "-btparent"),
    *("-btfolder", "-btshm", "-btsocket", "-btsockets"),
)
own_words = st.lists(
    st.one_of(st.text(), st.sampled_from(["-b", "-bt", "-btsock", "--btid", "-n", "-5", "lr=0.1", "--x=a b"])).filter(
        lambda word: word != "--" and word.partition("=")[0] not in OURS
    )
)


@given(arguments, own_words)
def test_arguments_come_back(args: LaunchArguments, own: list[str]) -> None:
    assert LaunchArguments.parse([*args.to_argv(), *own]) == (args, own)


@given(own_words, own_words)
def test_own_arguments_are_untouched_and_in_order(before: list[str], after: list[str]) -> None:
    argv = [*before, "-btid", "1", *after, "-btseed=7"]
    assert LaunchArguments.parse(argv) == (LaunchArguments(1, 2, 7), [*before, *after])


def test_nothing_after_two_dashes_is_read() -> None:
    rest = ["a", "--", "-btid", "3", "--"]
    assert LaunchArguments.parse(["-btseed", "1", *rest]) == (LaunchArguments(seed=1), rest)


def test_defaults_are_those_of_a_script_started_by_hand() -> None:
    assert LaunchArguments.parse([]) == (LaunchArguments(0, 1, 0, {}, None, 0, None, None, 256 << 20), [])
    assert LaunchArguments.parse(["-btid", "2"])[0].num_instances == 3


def test_the_seed_of_an_instance_is_its_own() -> None:
    assert [LaunchArguments(btid, 3, seed=10).btseed for btid in range(3)] == [10, 11, 12]


def test_the_spelling_of_the_predecessor_is_read() -> None:
    argv = ["-btid", "0", "-btseed", "4", "-btsockets", "A=tcp://127.0.0.1:1", "B=tcp://127.0.0.1:2", "--render", "8"]
    args, remainder = LaunchArguments.parse(argv)
    assert args.btsockets == {"A": "tcp://127.0.0.1:1", "B": "tcp://127.0.0.1:2"}
    assert remainder == ["--render", "8"]


def test_sockets_of_the_predecessors_spelling_end_where_addresses_end() -> None:
    args, remainder = LaunchArguments.parse(["-btsockets", "A=ipc:///x", "lr=0.1", "B=1", "-btid", "0"])
    assert args.btsockets == {"A": "ipc:///x"}
    assert remainder == ["lr=0.1", "B=1"]


@pytest.mark.parametrize(
    ("argv", "seen"),
    [
        (["-btid", "x"], "-btid is 'x'"),
        (["-btid", "1.0"], "-btid is '1.0'"),
        (["-btid", "-1"], "-btid is '-1'"),
        (["-btid", "2", "-btcount", "2"], "-btid is 2, expected 0 .. 1"),
        (["-btcount", "0"], "-btcount is 0"),
        (["-btseed", "-5"], "-btseed is '-5'"),
        (["-btseed", "9" * 5000], "-btseed is"),
        (["-btepoch", "-1"], "-btepoch is '-1'"),
        (["-btshm", "1e9"], "-btshm is '1e9'"),
        (["-btfolder"], "-btfolder lacks its value"),
        (["-btid"], "-btid lacks its value"),
        (["-btsocket"], "-btsocket lacks its value"),
        (["-btsocket", "tcp://127.0.0.1:1"], "expected NAME=ADDRESS"),
        (["-btsocket", "DATA="], "expected NAME=ADDRESS"),
        (["-btsocket", "=tcp://127.0.0.1:1"], "expected NAME=ADDRESS"),
        (["-btsockets"], "not followed by NAME=ADDRESS"),
        (["-btsockets", "DATA", "x"], "not followed by NAME=ADDRESS"),
        (["-btsockets", "=tcp://127.0.0.1:1"], "expected NAME=ADDRESS"),
    ],
)
def test_bad_arguments_are_refused_in_words(argv: list[str], seen: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LaunchArguments.parse(argv)
    assert seen in str(caught.value)


def test_an_unknown_socket_tells_the_known_ones() -> None:
    args, _ = LaunchArguments.parse(["-btsocket", "DATA=tcp://127.0.0.1:1"])
    assert args.btsockets["DATA"] == "tcp://127.0.0.1:1"
    with pytest.raises(UnknownSocketError, match=r"no socket named 'CTRL', only \['DATA'\]\. Name it in named_sockets"):
        args.btsockets["CTRL"]
