from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gate.baseline.diff import diff
from gate.baseline.make import UNKNOWN, make_baseline, provenance_of
from gate.baseline.present import present_baseline, present_diff
from gate.baseline.store import BaselineStore
from gate.baseline.update import Update, prepare
from gate.core.baseline import BaselineFound
from gate.core.observation import RunFailure
from gate.core.result import CaseResult, Planted
from gate.core.status import Status, Tier
from gate.core.tolerance import Mode, Op
from gate.judge.judge import judge
from gate.judge.measure import measure
from tests.unit.judge import builders as build


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def prepared(store, observation=None, *, accept_failing=False, **changes) -> Update:
    case = build.case(**{"baseline_policy": "require", **changes})
    result = CaseResult(case=case, observation=observation or build.observation())
    return prepare([result], store, build.PROVENANCE, accept_failing=accept_failing)


def test_every_measured_value_is_kept_with_the_references_own() -> None:
    baseline = build.baseline()
    measured = measure(build.observation())
    kept = {(v.tier, v.metric, v.subject): v.value for v in baseline.values}
    for m in measured:
        if m.unit != "bool" and m.value is not None:
            assert kept[m.tier, m.metric, m.subject] == m.value
    assert kept[Tier.DEVICE, "latency_p50", "reference"] == 4.0
    assert all(v.unit != "bool" for v in baseline.values)
    assert [layer.name for layer in baseline.layers] == list(build.LAYER_NAMES)


def test_a_run_passes_against_the_baseline_that_it_made() -> None:
    tolerances = (
        *build.DEFAULT,
        build.baseline_tolerance(Tier.LAYERS, "sqnr", Op.GE, 0.0),
        build.baseline_tolerance(Tier.DEVICE, "size", Op.LE, 0.0, relative=True),
    )
    case = build.case(*tolerances, baseline_policy="require")
    found = BaselineFound(baseline=make_baseline(case, build.observation(), build.PROVENANCE))
    assert judge(case, build.observation(), found).status is Status.PASS


def test_the_first_baseline_needs_no_reason(store: BaselineStore) -> None:
    update = prepared(store)
    assert [r.diff.first for r in update.recordings] == [True]
    assert update.needs_reason == ()
    assert "first baseline" in present_diff(update.recordings[0].diff)


def test_what_a_drill_broke_is_never_accepted(store: BaselineStore) -> None:
    case = build.case(baseline_policy="require")
    planted = Planted(fault="bias-dropped", layer="conv1", detail="")
    result = CaseResult(case=case, observation=build.observation(), planted=planted)
    update = prepare([result], store, build.PROVENANCE, accept_failing=True)
    assert update.recordings == ()
    ((_, why),) = update.refused
    assert "planted the fault 'bias-dropped'" in why


def test_the_same_again_is_unchanged_whoever_accepts_it(store: BaselineStore) -> None:
    store.write_all([build.baseline(provenance=replace(build.PROVENANCE, author="B"))])
    update = prepared(store)
    assert update.unchanged == ("digits/static@torch-x86",)
    assert update.recordings == ()


def test_worse_values_need_a_reason_and_better_or_noisy_ones_do_not(store: BaselineStore) -> None:
    store.write_all([build.baseline()])
    worse = build.observation(layers=build.layers(conv2=0.05))
    (recording,) = prepared(store, worse).recordings
    assert {(c.metric, c.subject) for c in recording.diff.loosens} >= {("sqnr", "conv2")}
    assert prepared(store, worse).needs_reason
    better = build.observation(layers=build.layers(conv1=0.0, conv2=0.0, fc=0.0))
    assert prepared(store, better).needs_reason == ()
    slower = build.observation(timing=build.timing(4.0, 2.5))
    case = build.case(baseline_policy="record")
    result = CaseResult(case=case, observation=slower)
    update = prepare([result], store, build.PROVENANCE, keep_noise=True)
    assert update.recordings
    assert update.needs_reason == ()


def test_a_file_is_not_rewritten_for_what_changes_in_every_run(store: BaselineStore) -> None:
    (path,) = store.write_all([build.baseline()])
    before = path.read_bytes()
    update = prepared(store, build.observation(timing=build.timing(4.0, 2.5)))
    assert update.recordings == ()
    assert update.unchanged == (build.case().id,)
    store.write_all([r.baseline for r in update.recordings])
    assert path.read_bytes() == before
    other = build.observation(
        timing=build.timing(4.0, 2.5), artifacts={"reference": "a" * 64, "candidate": "c" * 64}
    )
    assert prepared(store, other).recordings


def test_another_way_of_building_a_layer_needs_a_reason(store: BaselineStore) -> None:
    store.write_all([build.baseline()])
    rows = (*build.layers().candidate[:2], build.row("fc", shape=(4, 9)))
    observed = build.observation(layers=replace(build.layers(), candidate=rows))
    update = prepared(store, observed, tolerances=(build.TOP1_DROP,))
    assert update.needs_reason
    assert "layer fc: outputs uint8[4, 8] -> uint8[4, 9]" in present_diff(update.recordings[0].diff)


def test_a_broken_file_is_replaced_with_a_reason_only(store: BaselineStore) -> None:
    (path,) = store.write_all([build.baseline()])
    path.write_text("{}", "utf-8")
    update = prepared(store)
    assert "digest does not fit" in update.recordings[0].replaces
    assert update.needs_reason


def test_failing_cases_are_refused_unless_accepted(store: BaselineStore) -> None:
    observed = build.observation(task=replace(build.observation().task, candidate_top1="0" * 40))
    update = prepared(store, observed)
    assert update.recordings == ()
    assert "device.top1_drop of case: 97.5 pp" in update.refused[0][1]
    assert prepared(store, observed, accept_failing=True).recordings


def test_inconclusive_cases_are_refused_unless_accepted(store: BaselineStore) -> None:
    bound = build.tolerance(Tier.DEVICE, "top1_drop", Op.LT, 1.0, mode=Mode.CERTIFY)
    update = prepared(store, tolerances=(bound,))  # 40 samples cannot show it
    assert update.recordings == ()
    ((_, why),) = update.refused
    assert "INCONCLUSIVE" in why
    assert prepared(store, tolerances=(bound,), accept_failing=True).recordings


def test_being_worse_than_the_old_baseline_is_no_refusal_it_is_what_the_diff_shows(
    store: BaselineStore,
) -> None:
    store.write_all([build.baseline()])
    strict = build.baseline_tolerance(Tier.LAYERS, "sqnr", Op.GE, -1.0)
    worse = build.observation(layers=build.layers(conv2=0.05))
    update = prepared(store, worse, tolerances=(*build.DEFAULT, strict))
    assert update.refused == ()
    assert update.needs_reason


def test_errors_are_refused_even_where_failing_is_accepted(store: BaselineStore) -> None:
    crash = RunFailure(kind="crash", stage="open", message="signal 11")
    results = [
        CaseResult(case=build.case(baseline_policy="require"), failure=crash),
        CaseResult(
            case=build.case(baseline_policy="require"),
            observation=build.observation(case_id="x/y@z"),
        ),
    ]
    update = prepare(results, store, build.PROVENANCE, accept_failing=True)
    assert len(update.refused) == 2
    assert "ERROR in stage open: signal 11" in update.refused[0][1]


def test_skipped_and_ignored_cases_are_said(store: BaselineStore) -> None:
    result = CaseResult(case=build.case(baseline_policy="require"), skipped="no torch")
    update = prepare([result], store, build.PROVENANCE)
    assert update.skipped == (("digits/static@torch-x86", "no torch"),)
    assert "baseline: ignore" in prepared(store, baseline_policy="ignore").skipped[0][1]


def test_an_expected_failure_can_be_recorded(store: BaselineStore) -> None:
    tolerances = (build.tolerance(Tier.DEVICE, "top1_drop", Op.LE, 1.0),)
    assert prepared(store, tolerances=tolerances).refused
    assert prepared(store, tolerances=tolerances, expected_failure="known").recordings


def test_the_diff_names_direction_new_and_gone_values_and_facts() -> None:
    old, observed = build.baseline(), build.observation()
    values = tuple(
        replace(v, value=5.0) if v.metric == "top1_drop" else v
        for v in old.values
        if v.metric != "size"
    )
    versions = {"torch": "2.8"}
    old = replace(
        old,
        values=(*values, replace(values[0], metric="gone", value=1.0)),
        environment=replace(old.environment, versions=versions),
        artifacts={"reference": "a" * 64, "candidate": "0" * 64},
    )
    found = diff(old, make_baseline(build.case(), observed, build.PROVENANCE))
    changes = {c.metric: c for c in found.values if c.subject != "reference"}
    assert (changes["top1_drop"].better, changes["top1_drop"].old) == (True, 5.0)
    assert (changes["size"].old, changes["size"].better) == (None, None)
    assert changes["gone"].new is None
    text = present_diff(found)
    for words in ("better", "version of torch: 2.8 -> 2.13.0",
                  "candidate SHA-256: 000000000000 -> bbbbbbbbbbbb"):  # fmt: skip
        assert words in text
    assert not diff(old, old).values
    assert diff(old, old).empty


def test_long_diffs_are_cut_unless_asked_for() -> None:
    old = build.baseline()
    values = tuple(replace(old.values[0], subject=f"out{i}", value=float(i)) for i in range(60))
    new = replace(old, values=values)
    found = diff(replace(old, values=tuple(replace(v, value=v.value + 1) for v in values)), new)
    assert "and 35 more values (--full)" in present_diff(found)
    assert "out59" in present_diff(found, full=True)


def test_a_baseline_can_be_shown() -> None:
    changed = build.baseline(provenance=replace(build.PROVENANCE, commit="c" * 40 + "+dirty"))
    text = present_baseline(changed, "here.json")
    for words in (
        "here.json",
        f"commit {'c' * 12}+dirty",
        "A. Tester",
        "first",
        "device.top1_drop",
        "2.5 pp",
        "conv2",
        "int8",
    ):
        assert words in text


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_provenance_tells_commit_author_and_local_changes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("GIT_AUTHOR_NAME", raising=False)
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "C. Ommitter")
    git(tmp_path, "config", "user.email", "c@example.invalid")
    (tmp_path / "a").write_text("1", "utf-8")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "one")
    clean = provenance_of("why", tmp_path)
    assert (clean.commit, clean.author) == (git(tmp_path, "rev-parse", "HEAD"), "C. Ommitter")
    assert clean.date.endswith("+00:00")
    (tmp_path / "a").write_text("2", "utf-8")
    assert provenance_of("why", tmp_path).commit == f"{clean.commit}+dirty"


def test_provenance_outside_git_is_unknown(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance_of("why", tmp_path).commit == UNKNOWN
    monkeypatch.setenv("PATH", "")
    assert provenance_of("why", tmp_path).commit == UNKNOWN
