"""What is worth a line at a place in a spec: the failing checks of all cases, worst first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gate.core.result import CaseResult
from gate.core.status import Status
from gate.core.verdict import Check, Verdict
from gate.report.explain import check_line, explain
from gate.report.outcome import SEVERITY, Outcome, outcome
from gate.report.text import one_line
from gate.report.tiers import unexpected


class Level(StrEnum):
    """How much a finding matters; the words are those of SARIF."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say about one case, with its place."""

    level: Level
    case_id: str
    rule: str
    """``tier.rule`` of a check, or ``gate.error``, ``gate.skipped``, ``gate.expected-failure``."""
    subject: str
    message: str
    file: str
    """With forward slashes, relative to the repository where it lies in it."""
    line: int
    column: int


_LEVELS = {
    Outcome.ERROR: Level.ERROR,
    Outcome.FAIL: Level.ERROR,
    Outcome.INCONCLUSIVE: Level.WARNING,
    Outcome.NOT_COMPARABLE: Level.NOTE,
    Outcome.SKIPPED: Level.NOTE,
}


def findings(verdicts: Sequence[Verdict], results: Sequence[CaseResult]) -> list[Finding]:
    """Everything that is no pass: first one finding for each case, worst case first, then one for each
    of its other rules, then the rest.

    So the few that a reader may be shown are of as many cases and rules as possible.
    """
    by_id = {result.case.id: result for result in results}
    first: list[Finding] = []
    second: list[Finding] = []
    rest: list[Finding] = []
    for verdict in sorted(verdicts, key=lambda v: SEVERITY.index(outcome(v))):
        level = _LEVELS.get(outcome(verdict))
        if level is None:
            continue
        result = by_id.get(verdict.case_id)
        found = list(_of_case(verdict, result.case.spec_path if result else "", level))
        seen: set[str] = set()
        for place, finding in enumerate(found):
            group = rest if finding.rule in seen else second if place else first
            group.append(finding)
            seen.add(finding.rule)
    return first + second + rest


def in_repository(file: str) -> str:
    """``file`` as a path from the root of the repository that a build has checked out."""
    root = os.environ.get("GITHUB_WORKSPACE")
    path = Path(file)
    if root:
        try:
            return path.resolve().relative_to(Path(root).resolve()).as_posix()
        except (ValueError, OSError):
            return path.as_posix()
    return path.as_posix()


def _of_case(verdict: Verdict, spec: str, level: Level) -> Iterable[Finding]:
    status = verdict.measured_status
    whole = {Status.SKIPPED: "skipped", Status.PASS: "expected-failure"}.get(status, "error")
    checks = _worst_first(verdict)
    if not checks:
        lines = explain(verdict)
        text = lines[0].text if lines else verdict.status.value
        yield _finding(verdict, f"gate.{whole}", "case", text, level, spec=spec)
    for check in checks:
        rule = f"{check.tier}.{check.rule}"
        # A check is as bad as itself: in a failing case one may be merely inconclusive.
        own = Level.WARNING if check.status is Status.INCONCLUSIVE else level
        yield _finding(verdict, rule, check.subject, check_line(check), own, spec=spec, check=check)


def _worst_first(verdict: Verdict) -> list[Check]:
    if verdict.failure is not None or verdict.skipped is not None:
        return []
    covered = verdict.expected_failure is not None
    wanted = set(map(id, unexpected(verdict, verdict.checks))) if covered else None
    order = (Status.ERROR, Status.FAIL, Status.INCONCLUSIVE)
    return [
        check
        for status in order
        for check in verdict.checks
        if check.status is status
        and (wanted is None or status is not Status.FAIL or id(check) in wanted)
    ]


def _finding(
    verdict: Verdict,
    rule: str,
    subject: str,
    message: str,
    level: Level,
    *,
    spec: str,
    check: Check | None = None,
) -> Finding:
    where = check.tolerance.where if check is not None and check.tolerance is not None else None
    return Finding(
        level=level,
        case_id=verdict.case_id,
        rule=rule,
        subject=one_line(subject),
        message=one_line(message),
        file=in_repository(where.file if where is not None else spec),
        line=where.line if where is not None else 1,
        column=where.column if where is not None else 1,
    )
