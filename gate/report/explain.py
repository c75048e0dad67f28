"""What failed first and why, for one case: the sentences that every report shares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gate.core.observation import RunFailure
from gate.core.status import Status, Tier
from gate.core.verdict import Check, Verdict
from gate.judge.wording import compared, count
from gate.report.format import apart, demand, span
from gate.report.text import clean, one_line
from gate.report.tiers import unexpected

_MORE_SHOWN = 5
_BRACKETS = re.compile(r"^\s*\(([^()]*)\)")
_LOOSE = re.compile(r"\s*:\s*[;:]")  # what is left around figures that were taken out
_TIER_ORDER = {tier: place for place, tier in enumerate(Tier)}


class Topic(StrEnum):
    """What a line of an explanation is about."""

    FIRST = "first"
    ALSO = "also"
    LAYER = "first bad layer"
    BASELINE = "baseline"
    EXPECTED = "expected"
    SKIPPED = "skipped"
    NOT_COMPARABLE = "not comparable"
    NOTE = "note"
    OUTPUT = "last output"


@dataclass(frozen=True, slots=True)
class Line:
    """One statement; ``OUTPUT`` has several lines of text, every other topic one."""

    topic: Topic
    text: str


def check_line(check: Check) -> str:
    """One check in one line: rule, subject, measured against demanded, remark, place in the spec."""
    subject = "" if check.subject in ("", "case") else f" of {one_line(check.subject)}"
    text = f"{check.tier}: {check.rule}{subject}"
    measured, tolerance = check.measurement, check.tolerance
    if measured is not None:
        value, bound = apart(measured.value, check.bound, measured.unit)
        text += f" = {value}" if measured.value is not None else " not measured"
        if measured.low is not None and measured.high is not None:
            text += f" {span(measured.low, measured.high, measured.unit)}"
        if tolerance is not None:
            text += f", demanded {demand(tolerance, bound)}"
    elif tolerance is not None:
        text += f", demanded {tolerance.text}"
    said = remark(check)
    if said:
        text += f": {said}"
    if tolerance is not None and tolerance.where is not None:
        text += f" ({tolerance.where})"
    return one_line(text)


def remark(check: Check) -> str:
    """What the judge's message says beyond the figures, which reports write themselves."""
    text, measured, tolerance = check.message, check.measurement, check.tolerance
    if measured is None:
        return one_line(text)
    if measured.value is None:
        text = text.removeprefix("not measured: ") or measured.why_none
    elif tolerance is not None and check.bound is not None:
        figures = compared(measured.value, tolerance.op, check.bound, measured.unit)
        text = _BRACKETS.sub(r"\1", text.replace(figures, "", 1))
    if check.status is not Status.PASS and measured.detail and measured.detail not in text:
        text = f"{text}; {measured.detail}"
    return one_line(_LOOSE.sub(":", text)).strip(":; ")


def first_check(verdict: Verdict) -> Check | None:
    """First check, in order of tiers, that has the verdict's own status; None where it passed."""
    return next(iter(_deciding(verdict)), None)


def _deciding(verdict: Verdict) -> list[Check]:
    status = verdict.measured_status
    checks = verdict.checks
    if status in (Status.PASS, Status.SKIPPED, Status.NOT_COMPARABLE):
        return []
    if verdict.expected_failure is not None and status is verdict.status is Status.FAIL:
        checks = unexpected(verdict, checks) or checks
    # Stable: within a tier the judge's order is kept.
    return sorted(
        (check for check in checks if check.status is status), key=lambda c: _TIER_ORDER[c.tier]
    )


def explain(verdict: Verdict) -> tuple[Line, ...]:
    """Say what failed first and why; empty for a plain pass."""
    if verdict.failure is not None:
        return tuple(_failed(verdict.failure))
    if verdict.skipped is not None:
        return (Line(Topic.SKIPPED, one_line(verdict.skipped)),)
    if verdict.measured_status is Status.PASS and verdict.expected_failure is None:
        return ()
    if not verdict.checks:
        return (Line(Topic.FIRST, "nothing was checked: a verdict needs at least one check"),)
    lines: list[Line] = []
    if verdict.expected_failure is not None:
        lines.append(Line(Topic.EXPECTED, _expectation(verdict)))
    if verdict.measured_status is Status.NOT_COMPARABLE:
        lines.extend(Line(Topic.NOT_COMPARABLE, text) for text in _not_comparable(verdict))
    deciding = _deciding(verdict)
    if deciding:
        lines.append(Line(Topic.FIRST, check_line(deciding[0])))
    lines.extend(Line(Topic.ALSO, text) for text in _more(deciding[1:]))
    if verdict.first_bad_layer is not None:
        why = f" ({verdict.first_bad_layer_why})" if verdict.first_bad_layer_why else ""
        lines.append(Line(Topic.LAYER, one_line(f"{verdict.first_bad_layer}{why}")))
    if verdict.baseline_note and verdict.measured_status is not Status.NOT_COMPARABLE:
        lines.append(Line(Topic.BASELINE, one_line(verdict.baseline_note)))
    lines.extend(Line(Topic.NOTE, one_line(note)) for note in verdict.notes)
    return tuple(lines)


def _failed(failure: RunFailure) -> Iterator[Line]:
    text = f"{failure.kind} in stage '{failure.stage}': {one_line(failure.message)}"
    yield Line(Topic.FIRST, text)
    if failure.last_output.strip():
        yield Line(Topic.OUTPUT, clean(failure.last_output).strip("\n"))


def _not_comparable(verdict: Verdict) -> list[str]:
    """One line a reason, with the rules that had nothing to be compared with."""
    rules: dict[str, dict[str, None]] = {}
    for check in verdict.checks:
        if check.status is Status.NOT_COMPARABLE:
            reason = one_line(check.message).removeprefix("not comparable: ")
            found = rules.setdefault(reason, {})
            if check.tolerance is not None:
                found[f"{check.tier}.{check.rule}"] = None
    return [
        f"{reason} (not judged: {', '.join(names)})" if names else reason
        for reason, names in rules.items()
    ]


def _more(rest: list[Check]) -> list[str]:
    """One line each for the first few, and the number of the others by rule."""
    shown = [check_line(check) for check in rest[:_MORE_SHOWN]]
    hidden = rest[_MORE_SHOWN:]
    if hidden:
        rules = list(dict.fromkeys(f"{check.tier}.{check.rule}" for check in hidden))
        shown.append(f"{count(len(hidden), 'more check')}: {', '.join(rules)}")
    return shown


def _expectation(verdict: Verdict) -> str:
    because = one_line(verdict.expected_failure or "")
    metrics = f" in {', '.join(verdict.expected_metrics)}" if verdict.expected_metrics else ""
    expected = f"the spec expects this case to fail{metrics}, because {because}"
    if verdict.measured_status is not Status.FAIL and verdict.status is Status.FAIL:
        return f"{expected}; but every check passed: fix the expectation in the spec"
    if verdict.measured_status is not Status.FAIL:
        return f"{expected}; it came to {verdict.measured_status}, which is no failure of a check"
    if verdict.status is Status.FAIL:
        return f"{expected}; it failed elsewhere too"
    return f"{expected}; it did"
