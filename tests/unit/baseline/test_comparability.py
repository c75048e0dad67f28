"""Baselines under a spec's own rule of what is comparable, and the first one of a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gate.baseline.record import record_first
from gate.baseline.store import BaselineStore
from gate.core.baseline import BaselineFound, BaselineMissing, BaselineNotComparable
from gate.core.environment import Comparability
from gate.core.result import CaseResult
from gate.core.status import ExitCode, Status
from gate.judge.summary import summarize
from gate.report.explain import explain
from gate.report.outcome import counts_line
from gate.report.verdicts import judged
from tests.unit.judge import builders as build

CASE, HERE = build.case().id, build.ENVIRONMENT
CORES = replace(HERE, threads=4)
OLD = replace(HERE, isa=("avx2",))
NARROW = Comparability(narrow=("threads",))
WIDE = Comparability(widen=("isa",))
ANCHORED = build.baseline_tolerance(build.SQNR.tier, "sqnr", build.SQNR.op, -1.0)


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def result(*, environment=HERE, rule=Comparability(), policy="record", **changes) -> CaseResult:  # noqa: B008 - frozen
    case = build.case(build.FINITE, ANCHORED, baseline_policy=policy, comparability=rule)
    return CaseResult(case=case, observation=build.observation(environment=environment, **changes))


def record(store: BaselineStore, one: CaseResult) -> list[str]:
    return record_first([one], [judged(one, store)], store, store.root.parent)


def test_a_narrowed_rule_keeps_one_baseline_a_class(store: BaselineStore) -> None:
    (path,) = store.write_all([build.baseline(comparability=NARROW)])
    assert path.name == "linux-x86_64-avx2-avx512_vnni+threads=1.json"
    assert store.check(path).environment_class == path.stem
    assert isinstance(store.lookup(CASE, HERE, NARROW), BaselineFound)
    other = store.lookup(CASE, CORES, NARROW)
    assert isinstance(other, BaselineNotComparable)
    assert "threads 1 there, 4 here" in other.reason
    assert not other.rule_changed


def test_a_widened_rule_shares_one(store: BaselineStore) -> None:
    store.write_all([build.baseline(comparability=WIDE)])
    assert isinstance(store.lookup(CASE, OLD, WIDE), BaselineFound)
    verdict = judged(result(environment=OLD, rule=WIDE, policy="require"), store)
    assert verdict.status is Status.PASS


def test_names_of_processors_are_safe_as_files(store: BaselineStore) -> None:
    rule = Comparability(narrow=("cpu_model", "versions"))
    named = replace(HERE, cpu_model="../Intel(R) Xeon(R) CPU @ 2.20GHz/1")
    stored = build.baseline(build.observation(environment=named), comparability=rule)
    (path,) = store.write_all([stored])
    assert path.parent == store.folder(CASE)
    assert store.lookup(CASE, named, rule) == BaselineFound(baseline=stored)


def test_editing_the_rule_does_not_switch_comparisons_off(store: BaselineStore) -> None:
    store.write_all([build.baseline()])
    found = store.lookup(CASE, HERE, NARROW)
    assert isinstance(found, BaselineNotComparable)
    assert found.rule_changed
    verdict = judged(result(rule=NARROW, policy="require"), store)
    assert verdict.status is Status.FAIL
    (check,) = [c for c in verdict.checks if c.rule == "baseline"]
    assert "without environment:" in check.message
    assert "gate baseline update" in check.message
    assert record(store, result(rule=NARROW)) == []


def test_editing_the_rule_beside_an_upgrade_does_not_either(store: BaselineStore) -> None:
    rule = Comparability(narrow=("versions",))
    newer = replace(HERE, versions={"torch": "99"})
    store.write_all([build.baseline()])
    found = store.lookup(CASE, newer, rule)
    assert isinstance(found, BaselineNotComparable)
    assert found.rule_changed
    verdict = judged(result(environment=newer, rule=rule, policy="require"), store)
    assert verdict.status is Status.FAIL
    # Once the rule was accepted, what the old one left behind is no edit.
    store.write_all([build.baseline(comparability=rule)])
    found = store.lookup(CASE, newer, rule)
    assert isinstance(found, BaselineNotComparable)
    assert not found.rule_changed


def test_not_comparable_is_a_status_with_what_differs(store: BaselineStore) -> None:
    store.write_all([build.baseline()])
    verdict = judged(result(environment=OLD, policy="require"), store)
    assert verdict.status is Status.NOT_COMPARABLE
    (line,) = [line for line in explain(verdict) if line.topic == "not comparable"]
    assert "avx512_vnni not here" in line.text
    assert "(not judged: numerical.sqnr)" in line.text
    assert counts_line([verdict]) == "1 case: 1 not comparable with the baseline"
    assert summarize([verdict]).exit_code == ExitCode.PASS
    strict = summarize([verdict], require=True)
    assert strict.exit_code == ExitCode.FAIL
    assert "not comparable" in strict.because


def test_an_expected_failure_that_could_not_be_judged_is_not_one_that_passed(
    store: BaselineStore,
) -> None:
    store.write_all([build.baseline()])
    one = result(environment=OLD, policy="require")
    anchored = replace(one.case, expected_failure="known", expected_metrics=("sqnr",))
    assert judged(replace(one, case=anchored), store).status is Status.NOT_COMPARABLE
    absolute = replace(one.case, expected_failure="known", expected_metrics=("finite",))
    assert judged(replace(one, case=absolute), store).status is Status.FAIL


def test_the_first_run_of_a_second_class_is_recorded_too(store: BaselineStore) -> None:
    assert isinstance(store.lookup(CASE, HERE), BaselineMissing)
    (told,) = record(store, result())
    assert told.startswith("baseline recorded: ")
    assert record(store, result()) == []
    (told,) = record(store, result(environment=OLD))
    assert told.endswith("linux-x86_64-avx2.json")
    assert len(store.files(CASE)) == 2
    assert judged(result(environment=OLD), store).status is Status.PASS


def test_only_passing_runs_of_specs_that_ask_for_it_are_recorded(store: BaselineStore) -> None:
    assert record(store, result(policy="require")) == []
    x, _ = build.logits()
    broken = x.copy()
    broken[0, 0] = float("nan")
    assert record(store, result(outputs={"output": build.output(x, broken)})) == []
    assert store.files() == ()
