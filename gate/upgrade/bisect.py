"""Find since when a check fails: test steps of a history, keep what was seen, skip what cannot tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import Status, worst
from gate.core.verdict import Verdict
from gate.run.job import write_text
from gate.upgrade.search import Outcome, Search, Turn

JOURNAL = "bisect.json"

Say = Callable[[str], None]
Judge = Callable[[CaseResult], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One step and what it came to."""

    outcome: Outcome
    why: str


def bisect(
    search: Search,
    test: Callable[[str], Tested],
    *,
    work: Path,
    say: Say,
    label: Callable[[str], str] = str,
) -> Turn:
    """Test until the turn is found; what an interrupted search has learnt is taken from ``work``.

    Raises:
        HistoryError: an end is not what it was said to be.
    """
    journal = work / JOURNAL
    ends = (search.history[0], search.history[-1])
    for known, outcome in _read(journal).items():
        # Without its ends there is no search: one that could not be tested is tried again.
        if known in search.history and not (outcome is Outcome.SKIP and known in ends):
            search.tell(known, outcome)
    while (step := search.next()) is not None:
        say(f"{label(step)}: testing (about {search.steps_left()} more)")
        tested = test(step)
        say(f"{label(step)}: {tested.outcome}: {tested.why}")
        search.outcomes[step] = tested.outcome
        work.mkdir(parents=True, exist_ok=True)
        write_text(journal, json.dumps(search.outcomes, indent=1))
        search.tell(step, tested.outcome)
    return search.turn()


def decide(
    run: Callable[[int], CaseResult],
    judge: Judge,
    *,
    repeats: int,
    rule: str | None,
    error_is_bad: bool = False,
) -> Tested:
    """Run a step ``repeats`` times; outcomes that differ make it flaky, which is a skip.

    Args:
        run: runs the case, the how-manieth time.
        judge: gives the verdict of a result.
        repeats: at least one.
        rule: only checks of this metric or rule count; None: the verdict of the case.
        error_is_bad: a case that cannot run is bad, not untestable.
    """
    seen: list[Tested] = []
    for number in range(repeats):
        seen.append(outcome_of(judge(run(number)), rule, error_is_bad=error_is_bad))
        if seen[-1].outcome is not seen[0].outcome:
            listed = ", then ".join(f"{one.outcome} ({one.why})" for one in seen)
            return Tested(outcome=Outcome.SKIP, why=f"flaky: {listed}")
        if seen[-1].outcome is Outcome.SKIP:
            break
    return seen[0]


def outcome_of(verdict: Verdict, rule: str | None, *, error_is_bad: bool = False) -> Tested:
    """Good, bad, or nothing to go by."""
    if verdict.failure is not None:
        failure = verdict.failure
        # An interruption, a lost machine or a gate that could not start says nothing about the step.
        bad_error = (
            error_is_bad
            and failure.kind in {"crash", "refused", "memory"}
            and failure.stage != "start"
        )
        return Tested(outcome=Outcome.BAD if bad_error else Outcome.SKIP, why=_told(failure))
    if verdict.skipped is not None:
        return Tested(outcome=Outcome.SKIP, why=verdict.skipped)
    if rule is None:
        status, why = verdict.status, ""
        bad = [check for check in verdict.checks if check.status is Status.FAIL]
    else:
        asked = [c for c in verdict.checks if rule in (c.rule, f"{c.tier}.{c.rule}")]
        if not asked:
            known = ", ".join(dict.fromkeys(c.rule for c in verdict.checks))
            return Tested(outcome=Outcome.SKIP, why=f"no check is called {rule}: it has {known}")
        bad = [check for check in asked if check.status is Status.FAIL]
        status = worst([check.status for check in asked])
    if bad:
        why = f"{bad[0].tier}.{bad[0].rule} of {bad[0].subject}: {bad[0].message}"
    if status is Status.FAIL:
        return Tested(outcome=Outcome.BAD, why=why)
    if status is Status.PASS:
        return Tested(outcome=Outcome.GOOD, why="passes")
    return Tested(outcome=Outcome.SKIP, why=f"{status}")


def _told(failure: RunFailure) -> str:
    said = failure.message.splitlines()[0] if failure.message else ""
    last = [line.strip() for line in failure.last_output.splitlines() if line.strip()]
    # What a worker raised is its message already.
    ended = f" (it said last: {last[-1]})" if last and last[-1] not in failure.message else ""
    return f"{failure.kind} in stage {failure.stage}: {said}{ended}"


def _read(journal: Path) -> dict[str, Outcome]:
    try:
        return {step: Outcome(word) for step, word in json.loads(journal.read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        return {}  # none yet, or torn: it is learnt again
