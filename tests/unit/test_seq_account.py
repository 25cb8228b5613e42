"""The account of sequence numbers, against a set of all numbers that came."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.wire import seq_account
from blendtorch.wire.seq_account import SeqAccount

steps = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=60)


@given(st.none() | st.integers(0, 20), steps)
def test_it_counts_as_a_set_of_all_numbers_does(first: int | None, steps: list[tuple[int, int]]) -> None:
    account = SeqAccount()
    came: set[int] = set()
    duplicated = 0
    if first is not None:
        account.begin(first)
    for seq, count in steps:
        run = set(range(seq, seq + count))
        if count == 1:
            assert account.take(seq) == (seq not in came)
            duplicated += seq in came
        else:
            assert account.take_run(seq, count) == (not run & came)
        if count == 1 or not run & came:
            came |= run
        begun = first if first is not None else steps[0][0]
        assert account.received == len(came)
        assert account.duplicated == duplicated
        assert account.end == max(came) + 1
        assert account.lost == len(set(range(begun, account.end)) - came)


def test_numbers_in_a_row_are_none_lost() -> None:
    account = SeqAccount()
    assert all(account.take(seq) for seq in range(10))
    assert account.take_run(10, 5)
    assert not account.take_run(14, 2)
    assert not account.take(3)
    assert (account.received, account.duplicated, account.lost, account.end) == (15, 1, 0, 15)


def test_what_others_have_taken_is_not_lost() -> None:
    account = SeqAccount()
    account.begin(0)
    account.take(4)
    assert account.lost == 4
    account.elsewhere = 3
    assert account.lost == 1


@pytest.mark.parametrize("step", [2, -2, 12345])
def test_memory_is_bounded_however_many_are_missing(step: int) -> None:
    """As with several receivers, or a peer that means no good."""
    account = SeqAccount()
    start = 10**9 if step < 0 else 0
    number = 5 * seq_account._MAX_RUNS
    tracemalloc.start()
    try:
        accepted = sum(account.take(start + step * i) for i in range(number))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * seq_account._MAX_RUNS
    assert len(account._starts) == len(account._ends) <= seq_account._MAX_RUNS
    if step > 0:
        assert accepted == account.received == number
        assert not any(account.take(start + step * i) for i in range(number))
        assert account.lost == (step - 1) * (number - 1)
    else:
        assert accepted + account.duplicated == number
