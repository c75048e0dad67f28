"""What all verdicts of a run come to: counts and one exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.core.status import ExitCode, Status, worst
from gate.core.verdict import Verdict
from gate.judge.wording import count

_EXIT = {
    Status.PASS: ExitCode.PASS,
    Status.FAIL: ExitCode.FAIL,
    Status.ERROR: ExitCode.INFRASTRUCTURE,
    Status.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    # All that could be judged here passed; every report says what could not.
    Status.NOT_COMPARABLE: ExitCode.PASS,
    # Nothing was judged at all: that proves nothing, so it is no pass.
    Status.SKIPPED: ExitCode.INFRASTRUCTURE,
}

_OPEN = {Status.SKIPPED: "skipped", Status.NOT_COMPARABLE: "not comparable with its baseline"}
"""Statuses that leave something unjudged, and their words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Outcome of a run."""

    status: Status
    """The worst verdict; ERROR without any."""
    exit_code: int
    counts: Mapping[Status, int]
    """Every status, those that did not occur included."""
    because: str = ""
    """Why the exit code is not what the verdicts alone look like; empty where it is."""


def summarize(
    verdicts: Sequence[Verdict],
    *,
    require: bool = False,
    allow_inconclusive: bool = False,
) -> Summary:
    """Count the verdicts and decide the exit code; that of a run that was broken off wins.

    Args:
        verdicts: one a planned case.
        require: a case that is skipped or not comparable counts as a failed one.
        allow_inconclusive: an inconclusive case does not change the exit code.
    """
    statuses = [verdict.status for verdict in verdicts]
    counts = {status: statuses.count(status) for status in Status}
    interrupted = any(v.failure is not None and v.failure.kind == "interrupted" for v in verdicts)
    because = _because(counts, len(statuses), require=require)
    allowed = counts[Status.INCONCLUSIVE] if allow_inconclusive else 0
    if allowed:
        said = f"{count(allowed, 'case')} inconclusive, which counts as passed"
        because = "; ".join(filter(None, (f"{said} (--allow-inconclusive)", because)))
    if require:
        statuses = [Status.FAIL if s in _OPEN else s for s in statuses]
    if allow_inconclusive:
        statuses = [Status.PASS if s is Status.INCONCLUSIVE else s for s in statuses]
    overall = worst(statuses)
    return Summary(
        status=overall,
        exit_code=ExitCode.INTERRUPTED if interrupted else _EXIT[overall],
        counts=counts,
        because="" if interrupted else because,
    )


def _because(counts: Mapping[Status, int], total: int, *, require: bool) -> str:
    skipped = counts[Status.SKIPPED]
    if not total:
        return "nothing ran"
    open_ = [
        f"{count(counts[status], 'case')} {word}"
        for status, word in _OPEN.items()
        if counts[status]
    ]
    if open_ and require:
        return f"{' and '.join(open_)}, which counts as failed (--require)"
    return "every case was skipped: nothing was judged" if skipped == total else ""
