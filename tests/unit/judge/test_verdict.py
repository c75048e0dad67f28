from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gate.core.baseline import BaselineMissing
from gate.core.canonical import canonical_json
from gate.core.convert import from_plain, to_plain
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import ExitCode, Status, Tier
from gate.core.tolerance import Op
from gate.core.verdict import Check, Verdict
from gate.judge.judge import judge
from gate.judge.results import verdict_of
from gate.judge.summary import summarize
from tests.unit.judge import builders as build

MISSING = BaselineMissing(path="x.json")
CRASH = RunFailure(kind="crash", stage="quantize", message="signal 11", last_output="...")


def of(status: Status, case_id: str = "a/b@c") -> Verdict:
    check = Check(tier=Tier.NUMERICAL, rule="sqnr", subject="output", status=status)
    return Verdict(case_id=case_id, checks=(check,))


def test_results_become_verdicts_of_the_three_kinds() -> None:
    case = build.case()
    observed = build.observation()
    judged = verdict_of(CaseResult(case=case, observation=observed), MISSING)
    assert judged == judge(case, observed, MISSING)
    failed = verdict_of(CaseResult(case=case, failure=CRASH), MISSING)
    assert (failed.status, failed.failure) == (Status.ERROR, CRASH)
    skipped = verdict_of(CaseResult(case=case, skipped="no torch here"), MISSING)
    assert (skipped.status, skipped.skipped) == (Status.SKIPPED, "no torch here")


def test_a_result_with_nothing_or_two_things_is_an_error() -> None:
    case = build.case()
    for result in (
        CaseResult(case=case),
        CaseResult(case=case, observation=build.observation(), skipped="x"),
        CaseResult(case=case, failure=CRASH, skipped="x"),
    ):
        verdict = verdict_of(result, MISSING)
        assert verdict.status is Status.ERROR
        assert verdict.failure.kind == "no-result"


def test_judging_from_files_gives_the_same_verdict() -> None:
    case, observed = build.case(), build.observation(layers=build.layers(conv2=0.9))
    result = CaseResult(case=case, observation=observed)
    again = from_plain(CaseResult, json.loads(canonical_json(to_plain(result))))
    assert verdict_of(again, MISSING) == verdict_of(result, MISSING)


def expecting(*metrics: str, **changes) -> Verdict:
    observed = changes.pop("observed", build.observation())
    tolerances = changes.pop("tolerances", (build.tolerance(Tier.DEVICE, "top1_drop", Op.LE, 1.0),))
    case = build.case(*tolerances, expected_failure="known", expected_metrics=metrics, **changes)
    return judge(case, observed, MISSING)


def test_an_expected_failure_passes_where_it_fails_as_expected() -> None:
    for metrics in ((), ("top1_drop",), ("device.top1_drop",)):
        verdict = expecting(*metrics)
        assert verdict.measured_status is Status.FAIL
        assert verdict.status is Status.PASS


def test_an_expected_failure_that_passes_or_fails_elsewhere_fails() -> None:
    passes = expecting(tolerances=(build.TOP1_DROP,))
    assert (passes.measured_status, passes.status) == (Status.PASS, Status.FAIL)
    assert expecting("sqnr").status is Status.FAIL


def test_neither_a_missing_measurement_nor_a_fixed_rule_is_an_expected_failure() -> None:
    assert expecting(observed=build.observation(task=None)).status is Status.FAIL
    assert expecting(observed=build.observation(samples_evaluated=39)).status is Status.FAIL
    assert expecting(baseline_policy="require").status is Status.FAIL
    crashed = replace(expecting(), failure=CRASH)
    assert crashed.status is Status.ERROR


def test_a_fixed_rule_that_is_named_may_be_the_expected_failure() -> None:
    x, _ = build.logits()
    same = build.observation(outputs={"output": build.output(x, x.copy())})
    assert expecting("identical", "top1_drop", observed=same).status is Status.PASS
    assert expecting("top1_drop", observed=same).status is Status.FAIL


def test_a_verdict_without_a_check_is_an_error() -> None:
    assert Verdict(case_id="a", checks=()).status is Status.ERROR


P, F, E, S, INC = (
    Status.PASS, Status.FAIL, Status.ERROR, Status.SKIPPED, Status.INCONCLUSIVE,
)  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([P], ExitCode.PASS),
        ([P, S], ExitCode.PASS),
        ([P, INC], ExitCode.INCONCLUSIVE),
        ([P, F, INC], ExitCode.FAIL),
        ([P, F, E], ExitCode.INFRASTRUCTURE),
        ([S, S], ExitCode.INFRASTRUCTURE),
        ([], ExitCode.INFRASTRUCTURE),
    ],
)
def test_exit_codes(statuses, code) -> None:
    summary = summarize([of(s) for s in statuses])
    assert summary.exit_code == code
    assert sum(summary.counts.values()) == len(statuses)
    assert set(summary.counts) == set(Status)


def test_policies_change_the_exit_code_and_not_the_counts() -> None:
    verdicts = [of(P), of(S), of(INC)]
    assert summarize(verdicts, require=True).exit_code == ExitCode.FAIL
    assert summarize(verdicts, allow_inconclusive=True).exit_code == ExitCode.PASS
    broken_off = replace(of(P), failure=replace(CRASH, kind="interrupted"))
    assert summarize([of(F), broken_off]).exit_code == ExitCode.INTERRUPTED
    assert summarize(verdicts, require=True).counts[S] == 1


def test_an_exit_code_that_no_verdict_shows_is_explained() -> None:
    assert "--require" in summarize([of(P), of(S)], require=True).because
    assert "nothing was judged" in summarize([of(S), of(S)]).because
    assert summarize([]).because == "nothing ran"
    for statuses in ([P], [P, S], [F, S], [E], [P, INC]):
        assert summarize([of(s) for s in statuses]).because == ""
