"""A case's checks gathered by rule: one row for `sqnr >= 20 dB`, whether it has one subject or a hundred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from gate.core.baseline import Baseline
from gate.core.status import Status, Tier
from gate.core.tolerance import Op
from gate.core.verdict import Check, Verdict
from gate.judge.wording import count
from gate.metrics.catalogue import BY_NAME
from gate.report.explain import remark
from gate.report.format import apart, demand, quantity
from gate.report.html_report.gauge import Reading, gauge
from gate.report.outcome import SEVERITY, Outcome
from gate.report.text import one_line
from gate.report.tiers import unexpected

SUBJECTS_SHOWN = 60
"""Failing subjects of one rule that are listed."""
_RANK = (
    Status.ERROR,
    Status.FAIL,
    Status.INCONCLUSIVE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRow:
    """One check among those of a rule."""

    subject: str
    status: str
    measured: str
    demanded: str
    baseline: str
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """One rule of one case: its figures are those of the subject that decides."""

    tier: str
    rule: str
    formula: str
    status: str
    """Status word; ``XFAIL`` where all that failed was expected to."""
    subject: str
    measured: str
    interval: str
    demanded: str
    filled: str
    """The bound as a number, where it is counted from something; empty where it is one as written."""
    where: str
    """Place in the spec."""
    baseline: str
    remark: str
    picture: Markup
    failing: tuple[SubjectRow, ...]
    """Where several subjects are behind the row: those that did not pass, first ones only."""
    failing_left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRules:
    """The rules of one tier."""

    tier: str
    rows: tuple[RuleRow, ...]
    also: tuple[tuple[str, str], ...]
    """(rule, remark) of those that passed and have nothing to draw."""


def tier_rules(verdict: Verdict, baseline: Baseline | None) -> tuple[TierRules, ...]:
    """All checks of a verdict, tier by tier; within a tier what did not pass comes first.

    ``baseline`` fills in accepted values beside bounds that are not counted from them.
    """
    expected = frozenset(id(c) for c in _expected(verdict))
    values = baseline.values if baseline is not None else ()
    accepted = {(v.tier, v.metric, v.subject): v.value for v in values}
    checks = [_with_baseline(check, accepted) for check in verdict.checks]
    expected_now = frozenset(
        id(now) for then, now in zip(verdict.checks, checks, strict=True) if id(then) in expected
    )
    tiers = []
    for tier in Tier:
        rows = [_row(group, expected_now) for group in _groups(checks, tier)]
        plain = [row for row in rows if row.status == Status.PASS and not row.picture]
        told = [row for row in rows if row not in plain]
        told.sort(key=lambda row: SEVERITY.index(Outcome(row.status)))  # stable
        if rows:
            also = tuple((row.rule, row.remark or _bare(row)) for row in plain)
            tiers.append(TierRules(tier=tier.value, rows=tuple(told), also=also))
    return tuple(tiers)


def _bare(row: RuleRow) -> str:
    return ", ".join(part for part in (row.subject, row.demanded) if part)


def _with_baseline(check: Check, accepted: Mapping[tuple[Tier, str, str], float]) -> Check:
    if check.baseline is not None or check.measurement is None:
        return check
    value = accepted.get((check.tier, check.rule, check.subject))
    return check if value is None else replace(check, baseline=value)


def _expected(verdict: Verdict) -> Iterable[Check]:
    if verdict.expected_failure is None:
        return ()
    surprises = {id(check) for check in unexpected(verdict, verdict.checks)}
    return [c for c in verdict.checks if c.status is Status.FAIL and id(c) not in surprises]


def _groups(checks: Sequence[Check], tier: Tier) -> list[list[Check]]:
    groups: dict[tuple[str, str, str], list[Check]] = {}
    for check in checks:
        if check.tier is tier:
            tolerance = check.tolerance
            text, subjects = (
                (tolerance.text, tolerance.subjects or "") if tolerance is not None else ("", "")
            )
            groups.setdefault((check.rule, text, subjects), []).append(check)
    return list(groups.values())


def _row(group: list[Check], expected: frozenset[int]) -> RuleRow:
    decider = min(group, key=_urgency)
    bad = [check for check in group if check.status not in (Status.PASS, Status.SKIPPED)]
    measured, tolerance = decider.measurement, decider.tolerance
    one = _subject_row(decider)
    word = decider.status.value
    if bad and all(id(check) in expected for check in bad):
        word = "XFAIL"
    info = BY_NAME.get((decider.tier, decider.rule))
    listed = bad if len(group) > 1 else []
    interval = ""
    if measured is not None and measured.low is not None and measured.high is not None:
        interval = (
            f"{quantity(measured.low, measured.unit)} to {quantity(measured.high, measured.unit)}"
        )
    return RuleRow(
        tier=decider.tier.value,
        rule=decider.rule,
        formula=info.formula if info is not None else "",
        status=word,
        subject=_subjects(group, decider, len(bad)),
        measured=one.measured,
        interval=interval,
        demanded=one.demanded.partition(" (")[0] if tolerance is not None else one.demanded,
        filled=one.demanded.partition(" (")[2].removesuffix(")") if tolerance is not None else "",
        where=str(tolerance.where) if tolerance is not None and tolerance.where else "",
        baseline=one.baseline,
        remark=one.remark if len(group) == 1 or not bad else "",
        picture=_picture(group, decider),
        failing=tuple(_subject_row(check) for check in listed[:SUBJECTS_SHOWN]),
        failing_left_out=max(0, len(listed) - SUBJECTS_SHOWN),
    )


def _subjects(group: Sequence[Check], decider: Check, bad: int) -> str:
    name = "" if decider.subject == "case" else one_line(decider.subject)
    if len(group) == 1:
        return name
    noun = "layer" if decider.tier is Tier.LAYERS else "output"
    total = count(len(group), noun)
    if bad:
        return f"{bad} of {total}, worst: {name}"
    return f"{total}, closest: {name}" if _margin(decider) is not None else total


def _subject_row(check: Check) -> SubjectRow:
    measured = check.measurement
    unit = measured.unit if measured is not None else ""
    value, bound = apart(measured.value if measured is not None else None, check.bound, unit)
    if measured is not None and measured.value is None:
        value = "none"
    said = remark(check)
    if check.status is Status.PASS and check.tolerance is not None and measured is not None:
        said = measured.detail
    return SubjectRow(
        subject=one_line(check.subject),
        status=check.status.value,
        measured=value if measured is not None else "",
        demanded=demand(check.tolerance, bound),
        baseline=quantity(check.baseline, unit) if check.baseline is not None else "",
        remark=one_line(said),
    )


def _urgency(check: Check) -> tuple[int, float]:
    """Worst status first; among equals the one that is nearest to its bound, or farthest beyond."""
    rank = _RANK.index(check.status) if check.status in _RANK else len(_RANK)
    margin = _margin(check)
    return rank, margin if margin is not None else float("inf")


def _margin(check: Check) -> float | None:
    """How far a measurement is inside its bound, in the metric's unit; negative outside."""
    measured, tolerance, bound = check.measurement, check.tolerance, check.bound
    if measured is None or measured.value is None or tolerance is None or bound is None:
        return None
    if measured.unit == "bool":
        return None
    if tolerance.op is Op.EQ:
        return -abs(measured.value - bound)
    below = tolerance.op in (Op.LT, Op.LE)
    return bound - measured.value if below else measured.value - bound


def _picture(group: Sequence[Check], decider: Check) -> Markup:
    """The gauge of a rule; empty where there is no number and bound to draw."""
    if _margin(decider) is None or decider.tolerance is None:
        return Markup("")
    readings = [
        Reading(
            value=check.measurement.value,
            bound=check.bound,
            low=check.measurement.low,
            high=check.measurement.high,
            baseline=check.baseline,
        )
        for check in (decider, *(c for c in group if c is not decider))
        if check.measurement is not None
        and check.measurement.value is not None
        and check.bound is not None
    ]
    unit = decider.measurement.unit if decider.measurement is not None else ""
    return gauge(readings, op=decider.tolerance.op, unit=unit, status=decider.status)
