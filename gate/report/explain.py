"""What failed first and why, for one case: the sentences that every report shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.core.status import Status, Tier
from gate.core.verdict import Check, Verdict
from gate.report.format import apart, demand, quantity
from gate.report.text import clean, one_line
from gate.report.tiers import unexpected

_MORE_SHOWN = 5
_TIER_ORDER = {tier: place for place, tier in enumerate(Tier)}


class Topic(StrEnum):
    """What a line of an explanation is about."""

    FIRST = "first"
    ALSO = "also"
    LAYER = "first bad layer"
    BASELINE = "baseline"
    EXPECTED = "expected"
    SKIPPED = "skipped"
    NOTE = "note"
    OUTPUT = "last output"


@dataclass(frozen=True, slots=True)
class Line:
    """One statement; ``OUTPUT`` has several lines of text, every other topic one."""

    topic: Topic
    text: str


def check_line(check: Check) -> str:
    """One check in one line: rule, subject, measured against demanded, message, place in the spec."""
    subject = "" if check.subject in ("", "case") else f" of {one_line(check.subject)}"
    parts = [f"{check.tier}: {check.rule}{subject}"]
    measured = check.measurement
    if measured is not None:
        value, bound = apart(measured.value, check.bound, measured.unit)
        figure = (
            f"= {value}" if measured.value is not None else f"has no value ({measured.why_none})"
        )
        if measured.low is not None and measured.high is not None:
            low, high = (quantity(v, measured.unit) for v in (measured.low, measured.high))
            figure += f" [{low} .. {high}]"
        parts[0] += f" {figure}"
        wanted = demand(check.tolerance, bound)
        if wanted:
            parts.append(f"demanded {wanted}")
        if check.baseline is not None:
            parts.append(f"baseline {quantity(check.baseline, measured.unit)}")
    elif check.tolerance is not None:
        parts.append(f"demanded {check.tolerance.text}")
    text = ", ".join(parts)
    if check.message:
        text += f": {check.message}"
    if measured is not None and measured.detail and measured.detail not in check.message:
        text += f"; {measured.detail}"
    if check.tolerance is not None and check.tolerance.where is not None:
        text += f" ({check.tolerance.where})"
    return one_line(text)


def first_check(verdict: Verdict) -> Check | None:
    """First check, in order of tiers, that has the verdict's own status; None where it passed."""
    return next(iter(_deciding(verdict)), None)


def _deciding(verdict: Verdict) -> list[Check]:
    status = verdict.measured_status
    checks = verdict.checks
    if status in (Status.PASS, Status.SKIPPED):
        return []
    if status is Status.FAIL and verdict.status is Status.FAIL:
        checks = unexpected(verdict, checks) or checks
    # Stable: within a tier the judge's order is kept.
    return sorted(
        (check for check in checks if check.status is status), key=lambda c: _TIER_ORDER[c.tier]
    )


def explain(verdict: Verdict) -> tuple[Line, ...]:
    """Say what failed first and why; empty for a plain pass."""
    lines: list[Line] = []
    if verdict.failure is not None:
        failure = verdict.failure
        text = f"{failure.kind} in stage '{failure.stage}': {one_line(failure.message)}"
        lines.append(Line(Topic.FIRST, text))
        if failure.last_output.strip():
            lines.append(Line(Topic.OUTPUT, clean(failure.last_output).strip("\n")))
        return tuple(lines)
    if verdict.skipped is not None:
        return (Line(Topic.SKIPPED, one_line(verdict.skipped)),)
    if verdict.measured_status is Status.PASS and verdict.expected_failure is None:
        return ()
    if not verdict.checks:
        return (Line(Topic.FIRST, "nothing was checked: a verdict needs at least one check"),)
    if verdict.expected_failure is not None:
        lines.append(Line(Topic.EXPECTED, _expectation(verdict)))
    deciding = _deciding(verdict)
    if deciding:
        lines.append(Line(Topic.FIRST, check_line(deciding[0])))
    lines.extend(Line(Topic.ALSO, text) for text in _more(deciding[1:]))
    if verdict.first_bad_layer is not None:
        lines.append(Line(Topic.LAYER, one_line(verdict.first_bad_layer)))
    if verdict.baseline_note:
        lines.append(Line(Topic.BASELINE, one_line(verdict.baseline_note)))
    lines.extend(Line(Topic.NOTE, one_line(note)) for note in verdict.notes)
    return tuple(lines)


def _more(rest: list[Check]) -> list[str]:
    """One line each for the first few, and the number of the others by rule."""
    shown = [check_line(check) for check in rest[:_MORE_SHOWN]]
    hidden = rest[_MORE_SHOWN:]
    if hidden:
        rules = list(dict.fromkeys(f"{check.tier}.{check.rule}" for check in hidden))
        shown.append(f"{len(hidden)} more checks: {', '.join(rules)}")
    return shown


def _expectation(verdict: Verdict) -> str:
    because = one_line(verdict.expected_failure or "")
    metrics = f" in {', '.join(verdict.expected_metrics)}" if verdict.expected_metrics else ""
    expected = f"the spec expects this case to fail{metrics}, because {because}"
    if verdict.measured_status is Status.PASS:
        return f"{expected}; but every check passed: fix the expectation in the spec"
    if verdict.measured_status is not Status.FAIL:
        return f"{expected}; it came to {verdict.measured_status}, which is no failure of a check"
    if verdict.status is Status.FAIL:
        return f"{expected}; it failed elsewhere too"
    return f"{expected}; it did"
