"""The sequential decision against independent implementations, and its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gate.metrics.sequential import (
    ALPHA_FAIL,
    ALPHA_PASS,
    Decision,
    Launch,
    Limits,
    binomial_cdf,
    decide,
    log_ratios,
    looks,
    median_interval,
    percentile_decision,
    rank,
    runs_needed,
    wall_excess,
)

LIMITS = Limits(fail_above=math.log(1.02), pass_below=math.log(1.05), wall_above=math.log(1.1025))
ALPHAS = st.sampled_from([0.05, 0.01, 0.001, 0.001 / 4])


def launch(
    ratio: float, *, rounds: int = 60, noise: float = 0.05, seed: int = 0, wall: float | None = None
) -> Launch:
    """Rounds of A around 2 ms and B ``ratio`` times as long; wall times twice the CPU time."""
    rng = np.random.default_rng(seed)
    a, b = 2e6 * np.exp(noise * rng.normal(size=(2, rounds, 2)))
    wall_ratio = ratio if wall is None else wall
    return Launch(a_cpu=a, b_cpu=ratio * b, a_wall=2 * a, b_wall=2 * wall_ratio * np.exp(0 * b) * a)


def launches(ratio: float, count: int, *, seed: int = 0, **options: float) -> list[Launch]:
    return [launch(ratio, seed=100 * seed + i, **options) for i in range(count)]  # type: ignore[arg-type]


@given(st.integers(1, 2000), ALPHAS)
@settings(max_examples=200, deadline=None)
def test_the_rank_is_the_largest_with_a_tail_within_alpha(n: int, alpha: float) -> None:
    k = rank(n, alpha)
    assert k == 0 or stats.binom.cdf(k - 1, n, 0.5) <= alpha * (1 + 1e-9)
    assert stats.binom.cdf(k, n, 0.5) > alpha * (1 - 1e-9)


def test_the_interval_is_that_of_scipys_quantile_test() -> None:
    values = np.random.default_rng(0).normal(size=120)
    ours = median_interval(values, alpha=0.005)
    theirs = stats.quantile_test(values).confidence_interval(confidence_level=0.99)
    assert ours == (theirs.low, theirs.high)


def test_the_interval_covers_the_median_as_promised_whatever_the_distribution() -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(2000):
        low, high = median_interval(rng.exponential(size=40), alpha=0.025)
        missed += not low <= math.log(2) <= high
    assert missed / 2000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_too_few_values_have_no_interval() -> None:
    assert median_interval(np.zeros(5), alpha=0.01) == (-math.inf, math.inf)


@given(
    st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(-1, n), st.just(n))),
    st.floats(0.005, 0.6),
)
@settings(max_examples=200, deadline=None)
def test_the_binomial_tail_is_scipys(counts: tuple[int, int], q: float) -> None:
    k, n = counts
    assert binomial_cdf(k, n, q) == pytest.approx(stats.binom.cdf(k, n, q), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(("p", "runs"), [(0.9, 44), (0.95, 90), (0.99, 459)])
def test_percentiles_need_as_many_runs_as_mlperf_says(p: float, runs: int) -> None:
    assert runs_needed(0, p) == runs
    assert percentile_decision(0, runs, p) is Decision.PASS
    assert percentile_decision(0, runs - 1, p) is Decision.CONTINUE


@given(st.integers(0, 60), st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=60, deadline=None)
def test_the_runs_said_to_be_needed_are_enough_and_no_more(over: int, p: float) -> None:
    needed = runs_needed(over, p)
    assert percentile_decision(over, needed, p) is Decision.PASS
    assert percentile_decision(over, needed - 1, p) is not Decision.PASS


@given(st.integers(1, 600), st.data())
@settings(max_examples=100, deadline=None)
def test_more_runs_beyond_the_ceiling_never_help(n: int, data: st.DataObject) -> None:
    over = data.draw(st.integers(0, n - 1))
    order = [Decision.PASS, Decision.CONTINUE, Decision.FAIL]
    one, more = (percentile_decision(k, n, 0.9) for k in (over, over + 1))
    assert order.index(one) <= order.index(more)


def test_a_percentile_of_nonsense_is_refused() -> None:
    for over, n, p in ((-1, 5, 0.9), (6, 5, 0.9), (1, 5, 1.0)):
        with pytest.raises(ValueError, match="over the ceiling"):
            percentile_decision(over, n, p)


@pytest.mark.parametrize(
    ("processes", "expected"), [(1, (1,)), (2, (2,)), (3, (2, 3)), (8, (2, 4, 6, 8))]
)
def test_looks(processes: int, expected: tuple[int, ...]) -> None:
    assert looks(processes) == expected


@pytest.mark.parametrize(
    ("ratio", "decision"), [(1.0, Decision.PASS), (0.9, Decision.PASS), (1.1, Decision.FAIL)]
)
def test_what_is_clear_is_decided_at_the_first_look(ratio: float, decision: Decision) -> None:
    outcome = decide(launches(ratio, 8), LIMITS, processes=8)
    assert (outcome.decision, outcome.launches, outcome.rounds) == (decision, 2, 120)
    assert outcome.low < outcome.median < outcome.high
    assert outcome.median == pytest.approx(math.log(ratio), abs=0.02)


def test_a_real_five_per_cent_is_found_and_identical_models_pass() -> None:
    """Idealised rounds without a bias of the launch; the recordings are a benchmark's business."""
    outcomes = [
        [
            decide(launches(r, 8, seed=s, noise=0.07), LIMITS, processes=8).decision
            for s in range(60)
        ]
        for r in (1.0, 1.05)
    ]
    assert set(outcomes[0]) == {Decision.PASS}
    assert set(outcomes[1]) == {Decision.FAIL}


def test_too_few_rounds_decide_nothing() -> None:
    outcome = decide(launches(1.0, 2, rounds=3), LIMITS, processes=8)
    assert outcome.decision is Decision.CONTINUE
    assert (outcome.low, outcome.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_a_record_that_was_cut_short_decides_nothing(ratio: float) -> None:
    one = launches(ratio, 1)
    assert decide(one, LIMITS, processes=8).decision is Decision.CONTINUE
    assert decide(one, LIMITS, processes=1).decision is not Decision.CONTINUE


def test_looks_share_the_error() -> None:
    few, many = (decide(launches(1.0, 2), LIMITS, processes=p) for p in (2, 16))
    assert few.launches == many.launches == 2
    assert many.low < few.low
    assert few.high < many.high
    d = np.concatenate([log_ratios(one) for one in launches(1.0, 2)])
    assert few.low == median_interval(d, alpha=ALPHA_FAIL)[0]
    assert many.high == median_interval(d, alpha=ALPHA_PASS / 8)[1]


@given(st.floats(0.9, 1.15), st.integers(1, 8), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_a_decision_stands_whatever_is_launched_after_it(
    ratio: float, count: int, seed: int
) -> None:
    """The run stops where it is decided; the judge, who may see more, says the same."""
    taken = launches(ratio, 8, seed=seed, noise=0.2)
    early = decide(taken[:count], LIMITS, processes=8)
    late = decide(taken, LIMITS, processes=8)
    if early.decision is not Decision.CONTINUE and count in looks(8):
        assert late == early


@given(st.floats(0.5, 2.0), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_swapping_the_models_turns_the_sign(ratio: float, seed: int) -> None:
    one = launch(ratio, seed=seed)
    swapped = Launch(a_cpu=one.b_cpu, b_cpu=one.a_cpu, a_wall=one.b_wall, b_wall=one.a_wall)
    assert log_ratios(swapped) == pytest.approx(-log_ratios(one))
    assert wall_excess([swapped]) == pytest.approx(-wall_excess([one]), abs=1e-9)


def test_sleep_is_seen_by_wall_time_alone_after_four_launches() -> None:
    asleep = launches(1.0, 8, wall=1.3)
    assert decide(asleep[:2], LIMITS, processes=8).decision is Decision.CONTINUE
    outcome = decide(asleep, LIMITS, processes=8)
    assert (outcome.decision, outcome.launches, outcome.by_wall) == (Decision.FAIL, 4, True)
    assert outcome.wall == pytest.approx(math.log(1.3))


def test_one_disturbed_launch_is_no_sleep() -> None:
    disturbed = [launch(1.0, seed=9, wall=3.0), *launches(1.0, 7)]
    assert decide(disturbed, LIMITS, processes=8).decision is Decision.PASS


def test_no_launch_is_an_error() -> None:
    with pytest.raises(ValueError, match="no launch"):
        decide([], LIMITS, processes=8)
