from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest

from gate.run.sensitivity import Kept, Quality, RefusedError, Search

NOISE = {"a": 1.0, "b": 8.0, "c": 0.5, "d": 4.0, "e": 0.0}
"""Noise power that each layer adds; the signal has 1000."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def additive(
    demanded_db: float, clock: Clock, *, refused: Callable[[Kept], bool] = lambda _: False
) -> tuple[Callable[[Kept], Quality], list[Kept]]:
    tried: list[Kept] = []

    def measure(kept: Kept) -> Quality:
        clock.now += 1.0
        tried.append(kept)
        if refused(kept):
            raise RefusedError("nothing was quantized")
        noise = sum(power for name, power in NOISE.items() if name not in kept) + 1e-3
        sqnr = 10.0 * math.log10(1000.0 / noise)
        return Quality(sqnr_db=sqnr, passes=sqnr >= demanded_db)

    return measure, tried


def search(
    demanded_db: float,
    *,
    budget: float = 1000.0,
    alone: Mapping[str, float | None] | None = None,
    refused: Callable[[Kept], bool] = lambda _: False,
) -> tuple[Search, list[Kept]]:
    clock = Clock()
    measure, tried = additive(demanded_db, clock, refused=refused)
    known = alone if alone is not None else dict.fromkeys(NOISE)
    made = Search(measure, known, budget_seconds=budget, say=lambda _: None, clock=clock)
    return made, tried


def test_layers_rank_by_what_the_output_gains() -> None:
    found = search(100.0)[0].run()
    assert [gain.layer for gain in found.ranking] == ["b", "d", "a", "c", "e"]
    (gain,) = (g.gain_db for g in found.ranking if g.layer == "b")
    assert gain == pytest.approx(10.0 * math.log10(13.501 / 5.501))


@pytest.mark.parametrize(
    ("demanded", "kept"),
    [
        (18.0, ()),
        (22.0, ("b",)),
        (28.0, ("b", "d")),
        (32.0, ("b", "d", "a")),
        (59.0, ("b", "d", "a", "c")),
    ],
)
def test_the_smallest_set_that_passes_is_found(demanded: float, kept: Kept) -> None:
    found = search(demanded)[0].run()
    assert found.kept == kept
    assert found.best.passes
    assert not found.out_of_time


def test_what_is_not_needed_is_left_out_again() -> None:
    """A layer that seems sensitive alone may add nothing beside another."""

    def measure(kept: Kept) -> Quality:
        sqnr = 20.0 + 5.0 * ("y" in kept) + 3.0 * ("x" in kept and "y" not in kept) + ("z" in kept)
        return Quality(sqnr_db=sqnr, passes=sqnr >= 26.0)

    found = Search(
        measure, dict.fromkeys("xyz"), budget_seconds=60.0, say=lambda _: None, clock=Clock()
    ).run()
    assert found.kept is not None
    assert set(found.kept) == {"y", "z"}


def test_two_layers_that_gain_only_together_are_found() -> None:
    """A tensor between two layers is in integers until both are in float."""

    def measure(kept: Kept) -> Quality:
        sqnr = 10.0 + 20.0 * ("c" in kept and "d" in kept) - 0.5 * (("c" in kept) != ("d" in kept))
        return Quality(sqnr_db=sqnr + 0.1 * ("a" in kept), passes=sqnr >= 26.0)

    found = Search(
        measure, dict.fromkeys("abcdef"), budget_seconds=60.0, say=lambda _: None, clock=Clock()
    ).run()
    assert found.kept == ("c", "d")
    assert found.joint == (("c", "d", 20.0),)


def test_no_set_is_said_to_be_none() -> None:
    found = search(90.0)[0].run()
    assert found.kept is None
    assert not found.best.passes
    assert found.best.sqnr_db == pytest.approx(60.0)


def test_all_in_float_is_no_candidate_but_a_bound() -> None:
    found = search(32.0, refused=lambda kept: len(kept) >= 4)[0].run()
    assert found.kept == ("b", "d", "a")
    found = search(59.0, refused=lambda kept: len(kept) >= 4)[0].run()
    assert found.kept is None


def test_a_layer_that_no_candidate_can_do_without_is_told() -> None:
    found = search(22.0, refused=lambda kept: kept == ("c",))[0].run()
    assert found.refused == {"c": "nothing was quantized"}
    assert "c" not in {gain.layer for gain in found.ranking}
    assert found.kept == ("b",)


def test_the_budget_is_kept_and_spent_on_the_worst_first() -> None:
    alone = {"a": 30.0, "b": 50.0, "c": None, "d": 10.0, "e": 20.0}
    made, tried = search(28.0, budget=10.0, alone=alone)
    found = made.run()
    assert tried[:4] == [(), ("d",), ("e",), ("a",)]
    assert len(tried) <= 10
    assert {g.layer for g in found.ranking if g.gain_db is None} == {"b", "c"}
    assert found.out_of_time


def test_nothing_is_measured_twice() -> None:
    made, tried = search(32.0)
    made.run()
    assert len({frozenset(kept) for kept in tried}) == len(tried)


def test_a_candidate_that_cannot_be_measured_ends_the_search() -> None:
    with pytest.raises(RefusedError):
        search(20.0, refused=lambda kept: kept == ())[0].run()
