"""Is B slower than A? Interleaved rounds of several launches, decided one look after the other.

A *round* runs both models forwards and backwards (A B B A or B A A B) and counts as one number,
d = ln(CPU time of B / CPU time of A). A *launch* is one fresh process with its rounds: it has a bias
of its own (where the models came to lie in memory), so rounds of one launch are not independent,
and launches are what there has to be more of. The median of d is bounded by order statistics, which
ask nothing of its distribution (Hettmansperger and McKean, Robust Nonparametric Statistical
Methods, 2011, 1.3); the looks share the error by Bonferroni's inequality. CPU time sees neither sleep
nor lost parallelism, so the shortest wall times have a word too.

Everything here is a function of the recorded rounds alone: the run that decides whether to go on and
the judge that reads the file later come to the same answer. ``docs/explanation/latency.md`` has
the measured error rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

import numpy as np
import numpy.typing as npt

ALPHA_FAIL = 0.001
"""Of all looks together: a median within the lower limit is called slower."""
ALPHA_PASS = 0.001
"""Of all looks together: a median beyond the tolerance is let through."""
ALPHA_PERCENTILE = 0.01
"""One-sided, of a percentile against a ceiling; the value of MLPerf LoadGen's early stopping."""
WALL_TOLERANCE = math.log(1.10)
"""How far the shortest wall times may be beyond the bound on CPU time."""
WALL_LAUNCHES = 4
"""Launches without which wall times refuse a PASS but give no FAIL."""
_LAUNCHES_A_LOOK = 2

Floats = npt.NDArray[np.float64]


class Decision(StrEnum):
    """What a look came to."""

    FAIL = "FAIL"
    PASS = "PASS"
    CONTINUE = "CONTINUE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Natural logarithms of a ratio B / A."""

    fail_above: float
    """A median that is surely above this is slower."""
    pass_below: float
    """A median that is surely below this is not slower. Not less than ``fail_above``: a median
    between the two may come out either way, so that one at ``pass_below`` is found surely."""
    wall_above: float
    """Shortest wall times beyond this are slower whatever the CPU time says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Rounds of one fresh process: times of the first and second run of each model, nanoseconds."""

    a_cpu: Floats
    """Shape (rounds, runs a round)."""
    b_cpu: Floats
    a_wall: Floats
    b_wall: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The first look that decided, or the last one there was."""

    decision: Decision
    launches: int
    """Launches that the look saw."""
    rounds: int
    median: float
    """Of d = ln(B / A), CPU time."""
    low: float
    """With ``high``, the interval of the look: the median is above it, and below ``high``, each
    with an error of ``ALPHA / looks``. Infinite where there are too few rounds."""
    high: float
    wall: float
    """ln(B / A) of the shortest wall times: the pooled one or the median over launches, whichever is
    nearer to equality of the two."""
    by_wall: bool = False
    """Whether it was wall time that decided."""


def looks(processes: int) -> tuple[int, ...]:
    """After how many launches the rounds are looked at: 2, 4, ... and the last one.

    >>> looks(8), looks(5), looks(1)
    ((2, 4, 6, 8), (2, 4, 5), (1,))
    """
    regular = tuple(range(_LAUNCHES_A_LOOK, processes + 1, _LAUNCHES_A_LOOK))
    return regular if regular and regular[-1] == processes else (*regular, processes)


@cache
def rank(n: int, alpha: float) -> int:
    """The largest k with P(Bin(n, 1/2) <= k - 1) <= alpha; 0 where there is none.

    The k-th smallest of n values is above their median with a probability of at most ``alpha``.

    >>> rank(10, 0.05), rank(4, 0.05)
    (2, 0)
    """
    # In integers, so that the tail is exact however large n is.
    numerator, denominator = alpha.as_integer_ratio()
    limit = (numerator << n) // denominator
    total, ways, k = 0, 1, 0
    while k < n:
        total += ways
        if total > limit:
            break
        k += 1
        ways = ways * (n - k + 1) // k
    return k


def median_interval(values: Floats, *, alpha: float) -> tuple[float, float]:
    """Bounds of the median by order statistics, each one-sided with error ``alpha``; infinite where
    there are too few values."""
    ordered = np.sort(values)
    k = rank(len(ordered), alpha)
    if k == 0:
        return -math.inf, math.inf
    return float(ordered[k - 1]), float(ordered[len(ordered) - k])


def log_ratios(launch: Launch) -> Floats:
    """d of each round, on CPU time. Shape (rounds,)."""
    result: Floats = np.log(launch.b_cpu.sum(axis=1) / launch.a_cpu.sum(axis=1))
    return result


def wall_excess(launches: Sequence[Launch]) -> float:
    """ln(min B / min A) of wall times: of all launches pooled and the median over launches, the one
    that accuses less. Load only adds time, and seldom to every run of a launch."""
    shortest = np.array([(launch.a_wall.min(), launch.b_wall.min()) for launch in launches])
    pooled = math.log(shortest[:, 1].min() / shortest[:, 0].min())
    typical = float(np.median(np.log(shortest[:, 1] / shortest[:, 0])))
    return min(pooled, typical)


def decide(launches: Sequence[Launch], limits: Limits, *, processes: int) -> Outcome:
    """Look after 2, 4 ... launches and give the first decision, or the last look where none decides.

    Args:
        launches: in the order in which they were taken; at least one.
        limits: what is too slow.
        processes: launches that were planned at most: the looks share the error.

    Raises:
        ValueError: no launch.
    """
    if not launches:
        raise ValueError("no launch was taken")
    planned = looks(max(processes, len(launches)))
    taken = [count for count in planned if count <= len(launches)]
    if not taken:  # a record that was cut short decides nothing
        outcome = _look(launches, limits, number=len(planned), last=False)
        return replace(outcome, decision=Decision.CONTINUE)
    for count in taken:
        outcome = _look(launches[:count], limits, number=len(planned), last=count == planned[-1])
        if outcome.decision is not Decision.CONTINUE:
            break
    return outcome


def _look(launches: Sequence[Launch], limits: Limits, *, number: int, last: bool) -> Outcome:
    d = np.concatenate([log_ratios(launch) for launch in launches])
    low, _ = median_interval(d, alpha=ALPHA_FAIL / number)
    _, high = median_interval(d, alpha=ALPHA_PASS / number)
    wall = wall_excess(launches)
    slow_wall = wall > limits.wall_above
    decision = Decision.CONTINUE
    if low > limits.fail_above:
        decision = Decision.FAIL
    elif slow_wall:
        enough = len(launches) >= WALL_LAUNCHES or last
        decision = Decision.FAIL if enough else Decision.CONTINUE
    elif high < limits.pass_below:
        decision = Decision.PASS
    return Outcome(
        decision=decision,
        launches=len(launches),
        rounds=len(d),
        median=float(np.median(d)),
        low=low,
        high=high,
        wall=wall,
        by_wall=slow_wall and not low > limits.fail_above,
    )


def percentile_decision(
    over: int, n: int, p: float, *, alpha: float = ALPHA_PERCENTILE
) -> Decision:
    """Whether the ``p``-quantile of the latency is within a ceiling that ``over`` of ``n`` runs exceed.

    PASS if P(Bin(n, 1 - p) <= over) <= alpha, the rule of MLPerf LoadGen's early stopping; FAIL if
    P(Bin(n, 1 - p) >= over) <= alpha; else more runs are needed.

    Raises:
        ValueError: counts or ``p`` out of range.

    >>> [percentile_decision(0, n, p).value for n, p in ((44, 0.9), (43, 0.9), (459, 0.99))]
    ['PASS', 'CONTINUE', 'PASS']
    """
    if not 0 <= over <= n or not 0.0 < p < 1.0:
        raise ValueError(f"{over} of {n} runs over the ceiling, quantile {p}")
    if binomial_cdf(over, n, 1.0 - p) <= alpha:
        return Decision.PASS
    if 1.0 - binomial_cdf(over - 1, n, 1.0 - p) <= alpha:
        return Decision.FAIL
    return Decision.CONTINUE


def runs_needed(over: int, p: float, *, alpha: float = ALPHA_PERCENTILE) -> int:
    """The smallest number of runs with which ``over`` of them over the ceiling are accepted.

    >>> [runs_needed(0, p) for p in (0.9, 0.95, 0.99)]
    [44, 90, 459]
    """
    high = over + 1
    while binomial_cdf(over, high, 1.0 - p) > alpha:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_cdf(over, middle, 1.0 - p) <= alpha:
            high = middle
        else:
            low = middle
    return high


def binomial_cdf(k: int, n: int, q: float) -> float:
    """P(Bin(n, q) <= k); 0 for a negative ``k``."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    log_q, log_r = math.log(q), math.log1p(-q)
    choose = math.lgamma(n + 1)
    terms = (
        choose - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_q + (n - i) * log_r
        for i in range(k + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))
