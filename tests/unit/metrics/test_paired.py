"""Paired drops: published worked examples, a direct inversion of the likelihood, and what must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import multinomial

from gate.core.status import Status
from gate.metrics.paired import (
    PairedCounts,
    counts,
    interval,
    newcombe_limit,
    tango_limit,
    verdict,
)
from gate.metrics.paired_exact import tail_probability
from gate.metrics.sample_size import NUISANCE_ERROR, quantile
from gate.metrics.tango import tango_statistic
from tests.bench.accuracy_enumeration import enumerate_errors


def cells(a: int, b: int, c: int, d: int) -> PairedCounts:
    return PairedCounts(both_right=a, lost=b, gained=c, both_wrong=d)


# (both right, lost, gained, both wrong), level, limits as printed by Tango 1998 (contact lenses) and by
# Fagerland, Lydersen and Laake, Statistical analysis of contingency tables, 2017 (airways).
TANGO = [
    ((43, 0, 1, 0), 0.90, (-0.096, 0.037)),
    ((4, 9, 3, 16), 0.95, (-0.027, 0.390)),
    ((1, 1, 7, 12), 0.95, (-0.517, -0.026)),
]
NEWCOMBE = [
    ((1, 1, 7, 12), 0.95, (-0.507, -0.026)),
    ((59, 6, 16, 80), 0.95, (-0.1186, -0.0046)),
    ((36, 12, 2, 0), 0.95, (0.0569, 0.3404)),
]


@pytest.mark.parametrize(("table", "level", "printed"), TANGO)
def test_tango_published(table, level, printed) -> None:
    n, alpha = sum(table), (1.0 - level) / 2.0
    found = (
        -tango_limit(table[2], table[1], n, alpha),
        tango_limit(table[1], table[2], n, alpha),
    )
    assert found == pytest.approx(printed, abs=6e-4)


@pytest.mark.parametrize(("table", "level", "printed"), NEWCOMBE)
def test_newcombe_published(table, level, printed) -> None:
    (a, b, c, _), n, alpha = table, sum(table), (1.0 - level) / 2.0
    found = (
        -float(newcombe_limit(a, c, b, n, alpha)),
        float(newcombe_limit(a, b, c, n, alpha)),
    )
    assert found == pytest.approx(printed, abs=6e-4)


def score_by_likelihood(b: int, c: int, n: int, margin: float) -> float:
    """The same statistic with the nuisance found by maximising the likelihood."""

    def negative(q: float) -> float:
        terms = ((b, q + margin), (c, q), (n - b - c, 1.0 - 2.0 * q - margin))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in terms if count)

    low, high = max(0.0, -margin), (1.0 - margin) / 2.0
    found = minimize_scalar(
        negative, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
    )
    q = min((low, high, float(found.x)), key=negative)
    return (b - c - n * margin) / math.sqrt(n * (2.0 * q + margin * (1.0 - margin)))


TABLES = st.tuples(*[st.integers(0, 60)] * 2, st.integers(130, 3000))


@given(TABLES, st.floats(-0.15, 0.15))
@settings(deadline=None)
def test_the_score_is_that_of_the_constrained_likelihood(table, margin) -> None:
    b, c, n = table
    assume(0 < b + c < n)
    assume(abs(margin) > 1e-4)
    expected = score_by_likelihood(b, c, n, margin)
    assert float(tango_statistic(b, c, n, margin)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(TABLES, st.sampled_from([0.005, 0.01, 0.05]))
@settings(deadline=None)
def test_the_limit_is_where_the_test_just_rejects(table, alpha) -> None:
    b, c, n = table
    drop = (b - c) / n

    def excess(margin: float) -> float:
        return float(tango_statistic(b, c, n, margin)) + quantile(1.0 - alpha)

    expected = brentq(excess, drop + 1e-12, 1.0 - 1e-9, xtol=1e-13)
    assert tango_limit(b, c, n, alpha) == pytest.approx(expected, abs=1e-9)


MARGINS = st.floats(-0.1, 0.1).map(lambda margin: round(margin, 6))


@given(TABLES, MARGINS, MARGINS)
@settings(deadline=None)
def test_the_statistic_falls_with_the_margin_and_rises_with_the_losses(table, one, two) -> None:
    b, c, n = table
    low, high = sorted((one, two))
    assert tango_statistic(b, c, n, low) >= tango_statistic(b, c, n, high) - 1e-9
    for margin in (one, two):
        assert tango_statistic(b + 1, c, n, margin) >= tango_statistic(b, c, n, margin) - 1e-9
        mirrored = -tango_statistic(c, b, n, -margin)
        assert tango_statistic(b, c, n, margin) == pytest.approx(float(mirrored))


@given(TABLES, st.floats(0.0, 1.0))
@settings(deadline=None)
def test_the_interval_holds_the_drop_and_decides(table, share) -> None:
    b, c, n = table
    right = round(share * (n - b - c)) if n > b + c else 0
    assume(b + c + right <= n)
    observed = cells(right, b, c, n - right - b - c)
    low, high = interval(observed)
    assert -1.0 <= low <= observed.drop <= high <= 1.0
    for margin in (0.005, 0.02):
        found = verdict(observed, margin)
        assert (found.status is Status.PASS) == (found.high < margin)
        assert (found.status is Status.FAIL) == (found.low > margin)
        assert found.low <= low
        assert found.high >= high


@given(TABLES, st.floats(0.003, 0.05))
@settings(deadline=None)
def test_a_sample_more_that_is_lost_is_never_better(table, margin) -> None:
    b, c, n = table
    rank = {Status.PASS: 0, Status.INCONCLUSIVE: 1, Status.FAIL: 2}
    right = (n - b - c) * 3 // 4
    assume(right > 1)
    one = verdict(cells(right, b, c, n - right - b - c), margin)
    two = verdict(cells(right - 1, b + 1, c, n - right - b - c), margin)
    assert rank[one.status] <= rank[two.status]


def test_counts() -> None:
    assert counts("110010", "101010") == cells(2, 1, 1, 2)
    assert counts("110010", "101010").drop == 0.0
    for bad in (("", ""), ("11", "1")):
        with pytest.raises(ValueError, match="results"):
            counts(*bad)


def test_a_margin_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        verdict(cells(90, 5, 5, 0), 1.0)


def test_an_inconclusive_verdict_says_how_many_samples_it_takes() -> None:
    found = verdict(cells(780, 20, 16, 184), 0.01)
    assert found.status is Status.INCONCLUSIVE
    assert found.needed is not None
    assert found.needed > 1000
    # With as many, and the same shares, it is decided.
    scale = found.needed / 1000
    shares = [round(x * scale) for x in (780, 20, 16, 184)]
    assert verdict(cells(*shares), 0.01).status is Status.PASS
    at_bound = verdict(cells(780, 20, 10, 190), 0.01)
    assert (at_bound.status, at_bound.needed) == (Status.INCONCLUSIVE, None)


def brute_force(b: int, c: int, n: int, margin: float, shares: np.ndarray) -> float:
    """Largest probability over all shares of flips, by the whole multinomial distribution."""
    grid_b, grid_c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    inside = grid_b + grid_c <= n
    grid_b, grid_c = grid_b[inside], grid_c[inside]
    extreme = tango_statistic(grid_b, grid_c, n, margin) <= tango_statistic(b, c, n, margin) + 1e-9
    table = np.stack([grid_b, grid_c, n - grid_b - grid_c], axis=1)[extreme]
    return max(
        float(multinomial.pmf(table, n, [(p + margin) / 2, (p - margin) / 2, 1 - p]).sum())
        for p in shares
    )


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 2), (1, 3), (2, 5), (6, 3)])
def test_the_exact_tail_against_the_whole_distribution(b: int, c: int) -> None:
    n, margin = 60, 0.05
    wide = brute_force(b, c, n, margin, np.linspace(margin + 1e-12, 0.6, 200))
    found = tail_probability(b, c, n, margin)
    assert found <= wide + NUISANCE_ERROR + 1e-6
    near = (b + c) / n
    inside = np.linspace(max(margin + 1e-12, near / 2), max(2 * margin, 2 * near), 40)
    assert found >= brute_force(b, c, n, margin, inside) - 1e-4


def test_the_exact_tail_is_the_binomial_where_nothing_flipped() -> None:
    assert tail_probability(0, 0, 299, 0.01) == pytest.approx(0.99**299, abs=2e-4)


@pytest.mark.parametrize(("n", "margin"), [(200, 0.01), (300, 0.02), (150, 0.05), (299, 0.01)])
def test_the_error_at_the_bound_is_at_most_alpha(n: int, margin: float) -> None:
    """The whole enumeration is the benchmark ``accuracy``."""
    for share in (1.0001, 1.2, 2.0, 3.0, 5.0, 8.0):
        found = enumerate_errors(n, share * margin, margin, 0.75)["gate"]
        assert found.false_pass <= 0.051
        assert found.false_fail <= 0.011


def test_score_and_interval_alone_let_too_many_pass() -> None:
    """Why there is an exact part."""
    found = enumerate_errors(300, 0.020002, 0.02, 0.75)
    assert found["both"].false_pass > 0.058
    assert found["gate"].false_pass <= 0.05


def test_the_enumeration_is_that_of_the_verdict() -> None:
    """Every table of 40 samples, judged one by one."""
    n, psi, margin, accuracy = 40, 0.15, 0.08, 0.75
    lose, gain = (psi + margin) / 2, (psi - margin) / 2
    share = (accuracy - lose) / (1.0 - psi)
    rest = 1.0 - psi
    false = {Status.PASS: 0.0, Status.FAIL: 0.0, Status.INCONCLUSIVE: 0.0}
    for b in range(15):
        for c in range(9):
            left = n - b - c
            for right in range(left + 1):
                p = multinomial.pmf(
                    [b, c, right, left - right], n, [lose, gain, rest * share, rest * (1 - share)]
                )
                if p > 1e-6:
                    false[verdict(cells(right, b, c, left - right), margin).status] += p
    found = enumerate_errors(n, psi, margin, accuracy)["gate"]
    assert found.false_pass == pytest.approx(false[Status.PASS], abs=2e-3)
    assert found.false_pass >= false[Status.PASS] - 1e-3
    assert found.false_fail == pytest.approx(false[Status.FAIL], abs=2e-3)
