"""Bisection: the first bad step in few tests, whatever cannot be tested."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.upgrade.search import HistoryError, Outcome, Search


def _search(history: list[str], first_bad: int, skipped: set[int]) -> tuple[Search, int]:
    search, tests = Search(history), 0
    while (step := search.next()) is not None:
        tests += 1
        index = history.index(step)
        if index in skipped:
            search.tell(step, Outcome.SKIP)
        else:
            search.tell(step, Outcome.BAD if index >= first_bad else Outcome.GOOD)
    return search, tests


@given(st.integers(2, 300), st.data())
def test_finds_the_first_bad_step_in_log2_tests(length: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(1, length - 1))
    history = [f"v{i}" for i in range(length)]
    search, tests = _search(history, first_bad, set())
    turn = search.turn()
    assert (turn.last_good, turn.first_bad) == (history[first_bad - 1], history[first_bad])
    assert turn.between == ()
    assert tests <= 2 + math.ceil(math.log2(length))


@given(st.integers(3, 60), st.data())
def test_a_change_among_skipped_steps_is_never_pinned_on_one_of_them(
    length: int, data: st.DataObject
) -> None:
    first_bad = data.draw(st.integers(1, length - 1))
    skipped = data.draw(st.sets(st.integers(1, length - 2)))
    history = [f"v{i}" for i in range(length)]
    search, tests = _search(history, first_bad, skipped)
    turn = search.turn()
    low, high = history.index(turn.last_good), history.index(turn.first_bad)
    assert low < first_bad <= high
    assert turn.between == tuple(history[low + 1 : high])
    assert {history.index(step) for step in turn.between} <= skipped
    assert tests <= length


def test_ends_that_are_not_what_they_were_said_to_be() -> None:
    search = Search(["a", "b", "c"])
    assert search.next() == "a"
    with pytest.raises(HistoryError, match="a was given as good and is bad"):
        search.tell("a", Outcome.BAD)


def test_steps_left_counts_down() -> None:
    search = Search([str(i) for i in range(17)])
    left = [search.steps_left()]
    while (step := search.next()) is not None:
        search.tell(step, Outcome.BAD if int(step) >= 9 else Outcome.GOOD)
        left.append(search.steps_left())
    assert left[0] == 4
    assert left[-1] == 0
    assert left == sorted(left, reverse=True)
