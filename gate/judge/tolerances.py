"""One tolerance applied to the measurements of its metric: one check a subject."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from gate.core.status import Status
from gate.core.tolerance import Anchor, Mode, Op, Tolerance
from gate.core.verdict import Check, Measurement
from gate.judge.accuracy import NEW_FLIPS, certified, certified_drop, exactly
from gate.judge.comparison import REFERENCE_SUBJECT, Comparison
from gate.judge.device import TIME_METRICS
from gate.judge.measure import Measured
from gate.judge.wording import compared, names, shown
from gate.metrics.catalogue import BY_NAME, Direction
from gate.metrics.certificate import certifies, may_certify

_TIE = 1e-12
"""Relative difference below which a value lies on its bound: 0.1 + 0.2 is 0.3 here."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """The right-hand side as a number, with what it was counted from; or why there is none."""

    value: float | None
    status: Status = Status.FAIL
    """Of the check, where there is no value."""
    why: str = ""
    baseline: float | None = None
    remark: str = ""


def judge_tolerance(
    tolerance: Tolerance, measured: Measured, comparison: Comparison, *, dedicated: bool
) -> tuple[Check, ...]:
    """Check every subject that the tolerance names, in the measurements' order.

    There is always at least one check: a metric that was not measured and a glob that matches
    nothing are failures, not silence. ``dedicated`` is the target's promise that nothing else runs
    there, without which absolute times are indicative.
    """
    found = measured.of(tolerance.tier, tolerance.metric)
    chosen = [m for m in found if selects(tolerance.subjects, m.subject)]
    if chosen:
        return tuple(
            _judge(tolerance, m, measured, comparison, dedicated=dedicated) for m in chosen
        )
    if found:
        message = _no_subject(tolerance, [m.subject for m in found])
    elif any(m.tier is tolerance.tier for m in measured):
        message = "not measured: nothing in this model has this metric"
    else:
        message = f"not measured: the {tolerance.tier} tier was not observed"
    subject = tolerance.subjects or "case"
    return (_check(tolerance, subject, Status.FAIL, message),)


def selects(glob: str | None, subject: str) -> bool:
    """Whether a tolerance's ``subjects`` names a subject; None names every one."""
    return glob is None or glob == subject or fnmatchcase(subject, glob)


def holds(value: float, op: Op, bound: float) -> bool:
    """Compare at full precision, a tie within rounding counting as equal; NaN never holds."""
    if math.isnan(value) or math.isnan(bound):
        return False
    tie = math.isclose(value, bound, rel_tol=_TIE, abs_tol=0.0)
    match op:
        case Op.EQ:
            return tie
        case Op.LE:
            return tie or value < bound
        case Op.GE:
            return tie or value > bound
        case Op.LT:
            return not tie and value < bound
        case Op.GT:
            return not tie and value > bound


def _judge(
    tolerance: Tolerance,
    measurement: Measurement,
    measured: Measured,
    comparison: Comparison,
    *,
    dedicated: bool,
) -> Check:
    subject, value = measurement.subject, measurement.value
    if value is None:
        if tolerance.metric == NEW_FLIPS and comparison.baseline is None:
            why, status = comparison.why_not, comparison.why_not_status
            return _check(tolerance, subject, status, why, measurement=measurement)
        why = measurement.why_none or "no reason was given"
        return _check(
            tolerance, subject, Status.FAIL, f"not measured: {why}", measurement=measurement
        )
    bound = _bound(tolerance, measurement, measured, comparison, dedicated=dedicated)
    if bound.value is None:
        return _check(
            tolerance, subject, bound.status, bound.why, measurement=measurement, bound=bound
        )
    status = Status.PASS if holds(value, tolerance.op, bound.value) else Status.FAIL
    message = compared(value, tolerance.op, bound.value, measurement.unit)
    if bound.remark:
        message += f" ({bound.remark})"
    status, said, measurement = _in_general(tolerance, measurement, measured, status)
    message += said
    if status is Status.FAIL and measurement.detail:
        message += f": {measurement.detail}"
    absolute_time = tolerance.anchor is Anchor.ABSOLUTE and tolerance.metric in TIME_METRICS
    if absolute_time and not dedicated:
        # Other load only ever adds time: within the bound is within, beyond it proves nothing.
        message = f"indicative: {message}"
        if status is Status.FAIL:
            status = Status.SKIPPED
            message += "; an absolute time binds on a dedicated target only"
    return _check(tolerance, subject, status, message, measurement=measurement, bound=bound)


def _in_general(
    tolerance: Tolerance, measurement: Measurement, measured: Measured, status: Status
) -> tuple[Status, str, Measurement]:
    """What the interval says of a bound on a drop, beside ``status``, which is that of the value."""
    observed = measured.paired.get(tolerance.metric)
    found = measured.drops.get(tolerance.metric)
    if not may_certify(tolerance):
        return status, "", measurement
    if observed is None and found is None:
        if tolerance.mode is not Mode.CERTIFY:
            return status, "", measurement
        said = "(neither below nor above is shown): no interval can be had on these samples"
        return Status.INCONCLUSIVE, f" {said}", measurement
    samples = observed.samples if observed is not None else found.units if found is not None else 0
    if not certifies(tolerance, samples):
        return status, f" {exactly(samples)}", measurement
    said = ""
    if observed is not None:
        status, said, measurement = certified(measurement, observed, tolerance)
    elif found is not None:
        status, said, measurement = certified_drop(measurement, found, tolerance)
    return status, f" {said}", measurement


def _bound(
    tolerance: Tolerance,
    measurement: Measurement,
    measured: Measured,
    comparison: Comparison,
    *,
    dedicated: bool,
) -> _Bound:
    match tolerance.anchor:
        case Anchor.ABSOLUTE:
            return _Bound(tolerance.value)
        case Anchor.REFERENCE:
            reference = measured.reference.get((tolerance.tier, tolerance.metric))
            if reference is None:
                return _Bound(None, why="not measured: the reference has no value of its own")
            remark = f"reference {shown(reference, measurement.unit)}"
            return _Bound(tolerance.value * reference, remark=remark)
        case Anchor.BASELINE:
            return _from_baseline(tolerance, measurement, measured, comparison, dedicated=dedicated)


def _from_baseline(
    tolerance: Tolerance,
    measurement: Measurement,
    measured: Measured,
    comparison: Comparison,
    *,
    dedicated: bool,
) -> _Bound:
    if comparison.baseline is None:
        return _Bound(None, comparison.why_not_status, comparison.why_not)
    tier, metric = tolerance.tier, tolerance.metric
    accepted = comparison.value(tier, metric, measurement.subject)
    if accepted is None:
        return _Bound(None, why="the baseline holds no value to compare with; update it")
    why = comparison.why_no_time(metric)
    if why:
        return _Bound(None, Status.NOT_COMPARABLE, why, accepted)
    offset = abs(accepted) * tolerance.value / 100.0 if tolerance.relative else tolerance.value
    bound, remark = accepted + offset, f"baseline {shown(accepted, measurement.unit)}"
    if metric in TIME_METRICS and not dedicated:
        pace = _pace(tolerance, measured, comparison)
        if pace > 1.0:
            lower = BY_NAME[tier, metric].direction is Direction.LOWER
            bound = bound * pace if lower else bound / pace
            remark += f", the reference now takes {pace:.3g} times as long"
    return _Bound(bound, baseline=accepted, remark=remark)


def _pace(tolerance: Tolerance, measured: Measured, comparison: Comparison) -> float:
    """How much longer the reference, timed in the same rounds, takes than when the baseline was
    recorded; 1 where that is unknown or it is faster (a bound is never tighter than written)."""
    then = comparison.value(tolerance.tier, tolerance.metric, REFERENCE_SUBJECT)
    now = measured.reference.get((tolerance.tier, tolerance.metric))
    if not then or not now:
        return 1.0
    lower = BY_NAME[tolerance.tier, tolerance.metric].direction is Direction.LOWER
    return max(1.0, now / then if lower else then / now)


def _no_subject(tolerance: Tolerance, subjects: Sequence[str]) -> str:
    near = get_close_matches(tolerance.subjects or "", subjects, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {names(subjects)}"
    return f"not measured: '{tolerance.subjects}' names no subject; {hint}"


def _check(
    tolerance: Tolerance,
    subject: str,
    status: Status,
    message: str,
    *,
    measurement: Measurement | None = None,
    bound: _Bound | None = None,
) -> Check:
    return Check(
        tier=tolerance.tier,
        rule=tolerance.metric,
        subject=subject,
        status=status,
        measurement=measurement,
        tolerance=tolerance,
        bound=bound.value if bound else None,
        baseline=bound.baseline if bound else None,
        message=message,
    )
