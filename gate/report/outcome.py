"""The word for each case in a report, and how many there are of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from gate.core.status import Status
from gate.core.verdict import Verdict
from gate.judge.wording import count


class Outcome(StrEnum):
    """Word for a case in a report: a status, with an expected failure told from a plain pass."""

    PASS = "PASS"
    XFAIL = "XFAIL"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"
    NOT_COMPARABLE = "NOT_COMPARABLE"


# Worst first: the order of reports that a person reads from the top.
SEVERITY: tuple[Outcome, ...] = (
    Outcome.ERROR,
    Outcome.FAIL,
    Outcome.INCONCLUSIVE,
    Outcome.SKIPPED,
    Outcome.NOT_COMPARABLE,
    Outcome.XFAIL,
    Outcome.PASS,
)

_COUNTED = {
    Outcome.PASS: "passed",
    Outcome.XFAIL: "failed as expected",
    Outcome.FAIL: "failed",
    Outcome.INCONCLUSIVE: "inconclusive",
    Outcome.ERROR: "in error",
    Outcome.SKIPPED: "skipped",
    Outcome.NOT_COMPARABLE: "not comparable with the baseline",
}


def outcome(verdict: Verdict) -> Outcome:
    """Return the word for one verdict."""
    if verdict.status is Status.PASS and verdict.measured_status is Status.FAIL:
        return Outcome.XFAIL
    return Outcome(verdict.status.value)


def spaced(word: StrEnum) -> str:
    """A status or outcome as words for people: ``NOT COMPARABLE``."""
    return word.value.replace("_", " ")


def counts_line(verdicts: Sequence[Verdict], not_applicable: int = 0) -> str:
    """``12 cases: 1 failed, 1 skipped, 10 passed; 3 pairs not applicable``."""
    counted = Counter(outcome(verdict) for verdict in verdicts)
    parts = [f"{counted[word]} {_COUNTED[word]}" for word in SEVERITY if counted[word]]
    line = f"{count(len(verdicts), 'case')}: {', '.join(parts) or 'nothing ran'}"
    return f"{line}; {count(not_applicable, 'pair')} not applicable" if not_applicable else line
