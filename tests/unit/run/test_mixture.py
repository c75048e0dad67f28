from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest

from gate.run.front import Layer, Mixed, Point, front, steps
from gate.run.mixture import GAIN_DB, MixtureSearch, Result, Wanted
from gate.run.sensitivity import RefusedError

BYTES = 1000
"""Of the uniform candidate."""
NET = {
    # noise power that the layer adds to the output, extra bytes in float
    "stem": (4.0, 10),
    "wide": (8.0, 900),
    "deep": (16.0, 60),
    "thin": (2.0, 20),
    "still": (0.0, 30),
    "head": (1.0, 40),
}


NOTHING: Mapping[str, int] = {}
SAVES = {"stem": 40, "deep": 100, "thin": 10, "still": 50, "head": 30, "wide": 850}
"""Bytes that a layer in float saves beside its weights, which nothing but a file tells."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def sqnr_of(kept: Sequence[str]) -> float:
    noise = sum(power for name, (power, _) in NET.items() if name not in kept) + 1e-3
    return 10.0 * math.log10(1e4 / noise)


def size_of(kept: Iterable[str], saves: Mapping[str, int] = NOTHING) -> int:
    """Of the file: float weights, less the nodes that quantize around their layer."""
    return BYTES + sum(NET[name][1] - saves.get(name, 0) for name in kept)


def search(
    *,
    limit: int | None = None,
    sqnr: float | None = None,
    seconds: float = 1000.0,
    mixtures: int | None = None,
    strategy: str = "greedy",
    seen: dict[str, float] | None = None,
    refused: Callable[[Mixed], bool] = lambda _: False,
    saves: Mapping[str, int] = NOTHING,
) -> tuple[Result, list[Mixed], list[str]]:
    """A search of an additive net; the second value is what was measured, in order."""
    clock = Clock()
    tried: list[Mixed] = []
    said: list[str] = []

    def measure(kept: Mixed) -> Point:
        clock.now += 1.0
        tried.append(kept)
        if refused(kept):
            raise RefusedError("nothing is quantized")
        value = sqnr_of(kept)
        return Point(
            kept=kept,
            size_bytes=size_of(kept, saves),
            sqnr_db=value,
            misses="" if sqnr is None or value >= sqnr else "sqnr",
        )

    layers = {
        name: Layer(noise=seen[name] if seen else power, extra_bytes=extra)
        for name, (power, extra) in NET.items()
    }
    wanted = Wanted(
        limit_bytes=limit,
        demands_accuracy=sqnr is not None,
        strategy=strategy,
        seconds=seconds,
        mixtures=mixtures,
    )
    made = MixtureSearch(measure, layers, wanted, say=said.append, clock=clock)
    return made.run(), tried, said


SETS = [
    frozenset(name for place, name in enumerate(NET) if mask >> place & 1)
    for mask in range(2 ** len(NET))
]


def best_of_all(limit: int) -> tuple[frozenset[str], float]:
    """By exhaustion: the most accurate set within the bytes."""
    fitting = [s for s in SETS if size_of(s) <= limit]
    best = max(fitting, key=lambda s: sqnr_of(list(s)))
    return best, sqnr_of(list(best))


@pytest.mark.parametrize("limit", [1000, 1030, 1090, 1100, 1130, 1600, 2500])
@pytest.mark.parametrize("strategy", ["greedy", "pareto"])
def test_the_best_that_the_bytes_allow_is_found(limit: int, strategy: str) -> None:
    found, _, _ = search(limit=limit, strategy=strategy)
    chosen = found.points[found.chosen]
    assert chosen.size_bytes <= limit
    assert chosen.sqnr_db >= best_of_all(limit)[1] - GAIN_DB
    assert found.met
    assert not found.out_of_time


def test_bytes_that_buy_nothing_are_not_spent() -> None:
    found, _, _ = search()
    assert "still" not in found.points[found.chosen].kept
    assert len(found.points[found.chosen].kept) == len(NET) - 1


def test_with_a_bound_on_accuracy_the_smallest_that_holds_it_is_taken() -> None:
    """deep, stem and thin together, 90 bytes; no smaller set reaches 30 dB."""
    found, _, _ = search(sqnr=30.4)
    chosen = found.points[found.chosen]
    assert set(chosen.kept) == {"stem", "deep", "thin"}
    assert found.met


def test_nothing_is_tried_where_uniform_holds() -> None:
    found, tried, _ = search(sqnr=20.0)
    assert tried == [()]
    assert found.met
    assert found.points[found.chosen].kept == ()


def test_a_budget_that_cannot_hold_is_not_met() -> None:
    found, _, _ = search(sqnr=60.0, limit=1100)
    assert not found.met
    assert found.points[found.chosen].size_bytes <= 1100


def test_the_uniform_one_may_be_too_large_already() -> None:
    found, _, _ = search(limit=900)
    assert not found.met
    assert found.points[found.chosen].kept == ()


def test_wrong_isolated_errors_are_corrected_by_measuring() -> None:
    """One pass sees the noise of a layer, not what the layers behind make of it."""
    wrong = {"stem": 0.1, "wide": 1.0, "deep": 0.2, "thin": 5.0, "still": 9.0, "head": 3.0}
    found, _, _ = search(limit=1100, seen=wrong)
    assert found.points[found.chosen].sqnr_db >= best_of_all(1100)[1] - GAIN_DB


@pytest.mark.parametrize("seconds", [1.0, 2.0, 5.0, 8.0])
def test_the_time_is_kept_and_said(seconds: float) -> None:
    found, tried, _ = search(limit=1600, seconds=seconds, strategy="pareto")
    assert len(tried) <= seconds
    assert found.out_of_time
    assert found.points[found.chosen].sqnr_db >= sqnr_of(())


def test_the_number_of_mixtures_is_kept_and_said() -> None:
    found, tried, _ = search(limit=1600, mixtures=4)
    assert len(tried) == 4
    assert found.out_of_time
    assert not search(limit=1600, mixtures=1000)[0].out_of_time


def test_nothing_is_measured_twice() -> None:
    for strategy in ("greedy", "pareto"):
        _, tried, _ = search(limit=1600, strategy=strategy)
        assert len(tried) == len(set(tried))


def test_a_mixture_that_cannot_be_made_is_passed_over() -> None:
    found, tried, _ = search(refused=lambda kept: len(kept) == len(NET))
    assert tuple(NET) in tried
    assert 0 < len(found.points[found.chosen].kept) < len(NET)
    assert len(found.points) < len(tried)


def test_a_uniform_candidate_that_cannot_be_made_ends_the_search() -> None:
    with pytest.raises(RefusedError):
        search(refused=lambda _: True)


def test_pareto_traces_the_front() -> None:
    """Every beginning of the order is looked at where it is wide enough, whatever it is good for."""
    found, _, _ = search(limit=2100, strategy="pareto")
    assert {point.size_bytes for point in found.points} >= {BYTES, 1060, 1070, 1090, 1130, 2030}


@pytest.mark.parametrize("bound", [15.0, 25.4, 28.0, 30.0, 31.0, 36.0, 60.0])
@pytest.mark.parametrize("limit", [None, 1000, 1100, 950])
def test_pareto_finds_the_smallest_that_holds_where_float_may_save_bytes(
    bound: float, limit: int | None
) -> None:
    """Among all mixtures, by exhaustion; uniform int8, 1000 bytes, is one of them."""
    holding = [size_of(s, SAVES) for s in SETS if sqnr_of(list(s)) >= bound]
    found, tried, _ = search(sqnr=bound, limit=limit, strategy="pareto", saves=SAVES)
    assert found.met == (limit is None or min(holding) <= limit)
    if found.met:
        assert found.points[found.chosen].size_bytes == min(holding)
    assert not found.out_of_time
    assert len(tried) == len(set(tried))


def test_pareto_goes_below_a_uniform_candidate_that_holds() -> None:
    found, _, _ = search(sqnr=20.0, strategy="pareto", saves=SAVES)
    assert set(found.points[found.chosen].kept) == {"stem", "deep", "still"}
    assert found.points[found.chosen].size_bytes == 1000 - 30 - 40 - 20


@pytest.mark.parametrize("limit", [960, 1000, 1030, 1100])
def test_the_front_of_pareto_is_that_of_all_mixtures(limit: int) -> None:
    """With a layer of 900 bytes that takes 50, for which its weights leave no room."""
    found, tried, _ = search(limit=limit, strategy="pareto", saves=SAVES)
    everything = [
        Point(kept=tuple(s), size_bytes=size_of(s, SAVES), sqnr_db=sqnr_of(list(s)), misses="")
        for s in SETS
    ]
    expected = [p for p in front(everything) if p.size_bytes <= limit]
    found_front = [p for p in front(found.points) if p.size_bytes <= limit]
    assert [(p.size_bytes, p.sqnr_db) for p in found_front] == [
        (p.size_bytes, pytest.approx(p.sqnr_db)) for p in expected
    ]
    assert any("wide" in point.kept for point in found_front)
    assert len(tried) < len(SETS)


def test_time_ends_the_walk_with_the_smallest_that_was_seen() -> None:
    found, tried, _ = search(sqnr=25.4, strategy="pareto", saves=SAVES, mixtures=9)
    assert len(tried) == 9
    assert found.out_of_time
    holding = [p.size_bytes for p in found.points if not p.misses]
    assert found.points[found.chosen].size_bytes == min(holding)


def test_steps_go_by_measured_bytes_and_leave_out_what_they_put_over_the_limit() -> None:
    layers = {name: Layer(noise=1.0, extra_bytes=10) for name in ("a", "b", "c")}

    def point(*kept: str, size: int) -> Point:
        return Point(kept=kept, size_bytes=size, sqnr_db=0.0, misses="")

    points = [point(size=100), point("a", size=95), point("b", size=190)]
    known: dict[frozenset[str], Point | None] = {frozenset(p.kept): p for p in points}
    at = points[1]
    every = steps(at, layers, known, limit_bytes=None, exchange=True)
    assert every == [(), ("a", "c"), ("c",), ("a", "b"), ("b",)]
    assert steps(at, layers, known, limit_bytes=120, exchange=False) == [(), ("a", "c")]
    # c was never seen in float: what its weights take proves nothing.
    assert ("a", "c") in steps(at, layers, known, limit_bytes=100, exchange=False)
