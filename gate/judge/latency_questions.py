"""What the rounds of a timing are asked, as limits on ln(candidate / other).

How sure each comparison can be is measured in ``docs/explanation/latency.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gate.core.tolerance import Tolerance
from gate.core.verdict import Check
from gate.judge.rounds import Against
from gate.metrics.sequential import WALL_TOLERANCE, Limits

SMALLEST_TOLERANCE = 0.025
"""Against the baseline's artifact. A launch has a bias of about 0.6 % (one standard deviation) even
between copies of one file, so that less cannot be told."""
SMALLEST_RATIO_TOLERANCE = 0.10
"""Against a stored ratio, which differs by about 2.6 % from launch to launch."""
SURE_RATIO = "15 to 20 %"
"""Slow-down that a stored ratio is sure to show, for people."""
_GAP = 0.03
"""How far below the tolerance a median fails already, so that one at the tolerance surely does."""
_SHARE = 0.4
"""The same as a share of the tolerance, where that is closer to it."""
_RATIO_SHARE = 0.75
_WALL_ROOM = 0.05
"""How far beyond a tolerance of the baseline's time the shortest wall times may be, at least."""

_SPEEDS = frozenset({"throughput", "speedup"})
"""Metrics that fall where the time grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the rounds are asked, as limits of ln(candidate / other)."""

    against: Against
    limits: Limits
    metric: str
    """Metric whose measurement stands in the check."""
    bound: float | None
    """In that metric's unit."""
    demand: str
    """For people."""
    baseline: float | None = None


def against_base(share: float) -> Question:
    """The question that a tolerated growth of the time (a pure number) puts to a timed base."""
    tolerance = max(share, SMALLEST_TOLERANCE)
    lower = max(_SHARE * tolerance, tolerance - _GAP)
    widened = f", taken as +{100 * tolerance:g} %" if tolerance > share else ""
    return Question(
        against=Against.BASE,
        limits=Limits(
            fail_above=math.log1p(lower),
            pass_below=math.log1p(tolerance),
            wall_above=max(WALL_TOLERANCE, math.log1p(tolerance) + math.log1p(_WALL_ROOM)),
        ),
        metric="slowdown",
        bound=100.0 * tolerance,
        demand=(
            f"demanded +{100 * share:g} %{widened}: sure to fail from there, able to from"
            f" +{100 * lower:.3g} %"
        ),
    )


def against_stored(stored: float, share: float, note: str) -> Question:
    """The question that a tolerated growth puts to the baseline's own ratio to the reference.

    Args:
        stored: time of the baseline's candidate / time of the reference.
        share: the tolerated growth, a pure number.
        note: why there is nothing better to compare with.
    """
    wide = max(share, SMALLEST_RATIO_TOLERANCE)
    zero = math.log(stored)
    widened = f", taken as +{100 * wide:g} %" if wide > share else ""
    return Question(
        against=Against.REFERENCE,
        limits=Limits(
            fail_above=zero + math.log1p(_RATIO_SHARE * wide),
            pass_below=zero + math.log1p(wide),
            wall_above=zero + math.log1p(wide) + WALL_TOLERANCE,
        ),
        metric="latency_ratio",
        bound=stored * (1.0 + wide),
        baseline=stored,
        demand=(
            f"demanded +{100 * share:g} % of the baseline's{widened}: by the stored ratio to the"
            f" reference ({note}), which is only sure to show {SURE_RATIO}"
        ),
    )


def against_reference(limit: float, check: Check) -> Question:
    """The question of ``check``, whose bound on ln(candidate / reference) is ``limit``: nothing lies
    between FAIL and PASS."""
    return Question(
        against=Against.REFERENCE,
        limits=Limits(fail_above=limit, pass_below=limit, wall_above=limit + WALL_TOLERANCE),
        metric=check.rule,
        bound=check.bound,
        baseline=check.baseline,
        demand=check.message,
    )


def growth(tolerance: Tolerance, accepted: float | None) -> float | None:
    """The growth of the time that a tolerance on the baseline's value allows, as a pure number; None
    where it cannot be told."""
    if tolerance.metric == "slowdown":
        return tolerance.value / 100.0
    if tolerance.relative:
        share = tolerance.value / 100.0
    elif accepted:
        share = tolerance.value / accepted
    else:
        return None
    if tolerance.metric not in _SPEEDS:
        return share
    return 1.0 / (1.0 + share) - 1.0 if share > -1.0 else None
