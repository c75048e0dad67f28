"""What a step of a bisection comes to, and that a search which was broken off goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import Status, Tier
from gate.core.verdict import Verdict
from gate.upgrade.bisect import JOURNAL, bisect, decide, outcome_of
from gate.upgrade.bisect import Tested as Seen  # a name that pytest does not collect
from gate.upgrade.search import HistoryError, Outcome, Search
from tests.unit.judge.builders import case
from tests.unit.report.records import PASSED, check

STEPS = [f"v{n}" for n in range(33)]
TURN = 20
SQNR = check("sqnr", Status.FAIL, tier=Tier.NUMERICAL, unit="dB", value=9.0, bound=15.0)
DROP = check("top1_drop", Status.FAIL, tier=Tier.DEVICE, unit="pp", value=3.0, bound=1.0)
OPEN = replace(SQNR, status=Status.INCONCLUSIVE)


def verdict(*checks: object, **changes: object) -> Verdict:
    return replace(PASSED, checks=checks or PASSED.checks, **changes)


def failed(kind: str, *, stage: str = "quantize", last_output: str = "") -> Verdict:
    message = "no such call\nmore"
    failure = RunFailure(kind=kind, stage=stage, message=message, last_output=last_output)
    return replace(PASSED, checks=(), failure=failure)


@pytest.mark.parametrize(
    ("given", "rule", "outcome", "why"),
    [
        (verdict(), None, Outcome.GOOD, "passes"),
        (verdict(SQNR), None, Outcome.BAD, "numerical.sqnr"),
        (verdict(SQNR, DROP), "top1_drop", Outcome.BAD, "device.top1_drop"),
        (verdict(SQNR, replace(DROP, status=Status.PASS)), "top1_drop", Outcome.GOOD, "passes"),
        (verdict(DROP), "numerical.sqnr", Outcome.SKIP, "no check is called"),
        (verdict(PASSED.checks[0], OPEN), "sqnr", Outcome.SKIP, "INCONCLUSIVE"),
        (verdict(OPEN), None, Outcome.SKIP, "INCONCLUSIVE"),
        (replace(PASSED, checks=(), skipped="no torch"), None, Outcome.SKIP, "no torch"),
        (failed("crash"), None, Outcome.SKIP, "crash in stage quantize: no such call"),
    ],
)
def test_a_step_is_good_bad_or_nothing_to_go_by(
    given: Verdict, rule: str | None, outcome: Outcome, why: str
) -> None:
    found = outcome_of(given, rule)
    assert found.outcome is outcome
    assert why in found.why


@pytest.mark.parametrize(
    ("kind", "stage", "outcome"),
    [("crash", "quantize", Outcome.BAD), ("refused", "quantize", Outcome.BAD),
     ("memory", "quantize", Outcome.BAD), ("interrupted", "quantize", Outcome.SKIP),
     ("timeout", "quantize", Outcome.SKIP), ("crash", "start", Outcome.SKIP)],
)  # fmt: skip
def test_what_cannot_run_is_bad_only_where_that_is_meant(
    kind: str, stage: str, outcome: Outcome
) -> None:
    given = failed(kind, stage=stage)
    assert outcome_of(given, None).outcome is Outcome.SKIP
    assert outcome_of(given, None, error_is_bad=True).outcome is outcome


def test_what_a_run_said_last_is_told_once() -> None:
    out = "starting\nOSError: no space left on device\n\n"
    why = outcome_of(failed("crash", stage="start", last_output=out), None).why
    assert why == (
        "crash in stage start: no such call (it said last: OSError: no space left on device)"
    )
    assert outcome_of(failed("crash", last_output="more"), None).why.endswith("no such call")


def judged(*verdicts: Verdict) -> tuple[Callable[[int], CaseResult], Callable[..., Verdict], list]:
    """A run of each verdict in turn, and how often it was asked."""
    asked: list[int] = []

    def run(number: int) -> CaseResult:
        asked.append(number)
        return CaseResult(case=case())

    return run, lambda _: verdicts[len(asked) - 1], asked


def test_a_step_whose_runs_disagree_is_flaky_and_skipped() -> None:
    run, judge, asked = judged(verdict(), verdict(SQNR), verdict())
    found = decide(run, judge, repeats=3, rule=None)
    assert found.outcome is Outcome.SKIP
    assert found.why.startswith("flaky: good (passes), then bad (numerical.sqnr")
    assert asked == [0, 1]


def test_a_step_that_cannot_run_is_not_run_again() -> None:
    run, judge, asked = judged(failed("crash"))
    assert decide(run, judge, repeats=3, rule=None).outcome is Outcome.SKIP
    assert asked == [0]


def stepping(tested: list[str], *, dies_after: int = 1000) -> Callable[[str], Seen]:
    def step_(step: str) -> Seen:
        if len(tested) == dies_after:
            raise KeyboardInterrupt
        tested.append(step)
        bad = STEPS.index(step) >= TURN
        return Seen(outcome=Outcome.BAD if bad else Outcome.GOOD, why="")

    return step_


@pytest.mark.parametrize("dies_after", range(1, 7))
def test_a_search_that_was_broken_off_tests_nothing_twice(tmp_path: Path, dies_after: int) -> None:
    tested: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        bisect(
            Search(STEPS),
            stepping(tested, dies_after=dies_after),
            work=tmp_path,
            say=lambda _: None,
        )
    again = stepping(tested)
    turn = bisect(Search(STEPS), again, work=tmp_path, say=lambda _: None)
    assert (turn.last_good, turn.first_bad) == (STEPS[TURN - 1], STEPS[TURN])
    assert len(tested) == len(set(tested)) <= 2 + 5


def test_a_torn_journal_is_learnt_again(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"v0": "go')
    turn = bisect(Search(STEPS), stepping([]), work=tmp_path, say=lambda _: None)
    assert turn.first_bad == STEPS[TURN]
    assert json.loads((tmp_path / JOURNAL).read_text())[STEPS[TURN]] == "bad"


def test_an_end_that_could_not_be_tested_is_tried_again(tmp_path: Path) -> None:
    """A package index that is down for a minute does not end a search for ever."""
    down = lambda _: Seen(outcome=Outcome.SKIP, why="cannot be installed")  # noqa: E731
    with pytest.raises(HistoryError, match="v0 was given as good and is skip"):
        bisect(Search(STEPS), down, work=tmp_path, say=lambda _: None)
    turn = bisect(Search(STEPS), stepping([]), work=tmp_path, say=lambda _: None)
    assert turn.first_bad == STEPS[TURN]
