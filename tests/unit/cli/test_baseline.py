"""``gate baseline`` on stored runs and real spec files, through the command's own entry point."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gate.baseline.store import BaselineStore
from gate.cli.main import main
from gate.core.layer import LayersObserved
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.run.store import RunStore, create_run
from tests.unit.judge import builders as build

CASE = "digits/static@torch-x86"
SPEC = """\
version: 1
id: digits
model:
  id: digits
  task: image-classification
  reference: {source: python, entry: "specs.models.digits:cnn"}
  inputs: {image: {shape: [N, 1, 8, 8], dtype: float32}}
data:
  calibration: {source: sklearn-digits, split: train, samples: 64, seed: 0}
  evaluation: {source: sklearn-digits, split: test}
quantizations:
  static: {method: torch-fx-static}
targets:
  torch-x86: {backend: torch, engine: x86, threads: 1}
tolerances:
  numerical: {finite: true}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["specs"]\n', "utf-8")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "digits.yaml").write_text(SPEC, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


@pytest.fixture
def store(project: Path) -> BaselineStore:
    return BaselineStore(project / "baselines")


def stored(project: Path, results: Sequence[CaseResult]) -> Path:
    run = create_run(project / ".gate" / "runs")
    writer = RunStore(run, [result.case for result in results])
    for result in results:
        writer.save(result)
    writer.close()
    return run


def result(layers: LayersObserved | None = None, **changes) -> CaseResult:
    observed = build.observation(layers=layers or build.layers(), **changes)
    return CaseResult(case=build.case(baseline_policy="require"), observation=observed)


def update(*arguments: str) -> int:
    return main(["baseline", "update", *arguments])


def test_update_from_the_latest_run_writes_shows_and_names_the_reason(
    project, store, capsys
) -> None:
    stored(project, [result(build.layers(conv1=0.9))])
    stored(project, [result()])
    assert update("--from", "--reason", "first release") == ExitCode.PASS
    out = capsys.readouterr().out
    assert f"{CASE}  [linux-x86_64-avx2-avx512_vnni]" in out
    assert "1 baseline written, 0 unchanged" in out
    (path,) = store.files()
    assert store.check(path).provenance.reason == "first release"
    assert update("--from") == ExitCode.PASS
    assert "0 baselines written, 1 unchanged" in capsys.readouterr().out


def test_update_that_makes_something_worse_needs_a_reason(project, store, capsys) -> None:
    stored(project, [result()])
    update("--from")
    before = store.files()[0].read_bytes()
    run = stored(project, [result(build.layers(conv2=0.05))])
    assert update("--from", str(run)) == ExitCode.USAGE
    out = capsys.readouterr().out
    assert "layers.sqnr" in out
    assert "worse" in out
    assert "--reason" in out
    assert store.files()[0].read_bytes() == before
    assert update("--from", str(run), "--reason", "new observer", "--dry-run") == ExitCode.PASS
    assert store.files()[0].read_bytes() == before
    told = ("--from", str(run), "--reason", "new observer")
    assert update(*told, "--accept-worse", "bias") == ExitCode.USAGE
    assert (
        "--accept-worse layers.sqnr --accept-worse layers.worst_channel_nmse"
        in capsys.readouterr().out
    )
    assert store.files()[0].read_bytes() == before
    accepted = ("--accept-worse", "layers.[bs]*", "--accept-worse", "worst_channel_nmse")
    assert update(*told, *accepted) == ExitCode.PASS
    assert store.check(store.files()[0]).provenance.reason == "new observer"


def test_one_refused_case_keeps_all_from_being_written(project, store, capsys) -> None:
    other = replace(build.case(baseline_policy="require"), id="digits/other@torch-x86")
    failing = build.observation(
        case_id=other.id, task=replace(build.observation().task, candidate_top1="0" * 40)
    )
    stored(project, [result(), CaseResult(case=other, observation=failing)])
    assert update("--from") == ExitCode.FAIL
    out = capsys.readouterr().out
    assert "digits/other@torch-x86: REFUSED: FAIL: device.top1_drop" in out
    assert store.files() == ()
    assert update("--from", "--select", "digits/static*") == ExitCode.PASS
    assert len(store.files()) == 1
    assert update("--from", "--accept-failing") == ExitCode.PASS
    assert len(store.files()) == 2


def test_errors_skips_and_interrupted_runs_record_nothing(project, store, capsys) -> None:
    case = build.case(baseline_policy="require")
    crash = RunFailure(kind="crash", stage="open", message="signal 11")
    stored(project, [CaseResult(case=case, failure=crash)])
    assert update("--from", "--accept-failing") == ExitCode.FAIL
    assert "ERROR in stage open: signal 11" in capsys.readouterr().out
    stored(project, [CaseResult(case=case, skipped="no torch here")])
    assert update("--from") == ExitCode.INFRASTRUCTURE
    assert "skipped: no torch here" in capsys.readouterr().out
    stored(project, [CaseResult(case=case, failure=replace(crash, kind="interrupted"))])
    assert update("--from") == ExitCode.INTERRUPTED
    assert store.files() == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("CI", "true"), ("CI", "1"), ("CI", "yes"), ("CI", "woodpecker"), ("JENKINS_URL", "http://x")],
)
def test_update_in_ci_must_be_meant(  # noqa: PLR0917 - fixtures
    project, store, monkeypatch, capsys, name, value
) -> None:
    stored(project, [result()])
    monkeypatch.setenv(name, value)
    assert update("--from") == ExitCode.USAGE
    assert "--in-ci" in capsys.readouterr().err
    assert store.files() == ()
    assert update("--from", "--in-ci") == ExitCode.PASS
    assert len(store.files()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], ExitCode.USAGE, "name specs to run, or --from"),
        (["specs", "--from"], ExitCode.USAGE, "not both"),
        (["--from"], ExitCode.INFRASTRUCTURE, "holds no run"),
        (["nowhere.yaml"], ExitCode.USAGE, "nowhere.yaml"),
        (["specs", "--select", "zzz"], ExitCode.USAGE, "zzz"),
    ],
)
def test_requests_that_cannot_be_met(project, capsys, arguments, code, message) -> None:
    assert update(*arguments) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_selection_of_nothing_in_a_run_is_an_error(project, capsys) -> None:
    stored(project, [result()])
    assert update("--from", "--select", "zzz*") == ExitCode.USAGE
    assert "matches no case" in capsys.readouterr().err


def test_json_holds_the_whole_change(project, store, capsys) -> None:
    stored(project, [result()])
    assert update("--from", "--json") == ExitCode.PASS
    document = json.loads(capsys.readouterr().out)
    (change,) = document["changes"]
    assert change["first"] is True
    assert document["written"] == [str(store.files()[0])]
    assert {"tier", "metric", "subject", "old", "new", "better", "unit"} == set(change["values"][0])


def test_show_prints_a_baseline_and_fails_for_none_or_a_broken_one(project, store, capsys) -> None:
    assert main(["baseline", "show", CASE]) == ExitCode.USAGE
    assert "there is no baseline" in capsys.readouterr().err
    assert main(["baseline", "log", CASE]) == ExitCode.USAGE
    assert "there is no baseline" in capsys.readouterr().err
    (path,) = store.write_all([build.baseline()])
    assert main(["baseline", "show", CASE]) == ExitCode.PASS
    out = capsys.readouterr().out
    assert "A. Tester" in out
    assert "top1_drop" in out
    assert main(["baseline", "show", CASE, "--json"]) == ExitCode.PASS
    assert json.loads(capsys.readouterr().out)[0]["case_id"] == CASE
    path.write_text("{}", "utf-8")
    assert main(["baseline", "show", CASE]) == ExitCode.INFRASTRUCTURE
    assert "digest does not fit" in capsys.readouterr().err


def test_diff_tells_what_changed_and_writes_nothing(project, store, capsys) -> None:
    (path,) = store.write_all([build.baseline()])
    before = path.read_bytes()
    stored(project, [result(build.layers(conv2=0.05))])
    assert main(["baseline", "diff"]) == ExitCode.PASS
    out = capsys.readouterr().out
    assert "worse" in out
    assert "1 case changed" in out
    assert path.read_bytes() == before


def test_diff_of_a_case_that_has_no_observation_is_no_success(project, store, capsys) -> None:
    crash = RunFailure(kind="crash", stage="quantize", message="signal 11")
    stored(project, [CaseResult(case=build.case(baseline_policy="require"), failure=crash)])
    assert main(["baseline", "diff"]) == ExitCode.INFRASTRUCTURE
    assert "REFUSED: ERROR in stage quantize" in capsys.readouterr().out


@pytest.mark.parametrize("jobs", ["0", "-1", "many"])
def test_an_impossible_number_of_jobs_is_a_usage_error(project, store, jobs: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        update("specs", "--jobs", jobs)
    assert ended.value.code == ExitCode.USAGE
    assert f"expected a whole number from 1, found '{jobs}'" in capsys.readouterr().err


def test_a_single_spec_says_nothing_about_the_baselines_of_others(project, store, capsys) -> None:
    mine, _, other = store.write_all(
        [
            build.baseline(case_id=i)
            for i in (CASE, "digits/gone@torch-x86", "lstm/static@torch-x86")
        ]
    )
    assert main(["baseline", "verify", "specs/digits.yaml"]) == ExitCode.FAIL
    assert "2 baselines checked, 1 problem" in capsys.readouterr().out
    assert main(["baseline", "prune", "specs/digits.yaml", "--yes"]) == ExitCode.PASS
    assert store.files() == (mine, other)
    assert main(["baseline", "prune", "specs", "--yes"]) == ExitCode.PASS
    assert store.files() == (mine,)


def test_verify_passes_sound_files_and_fails_orphans_broken_and_misplaced_ones(
    project, store, capsys
) -> None:
    (path,) = store.write_all([build.baseline()])
    assert main(["baseline", "verify"]) == ExitCode.PASS
    assert "1 baseline checked, 0 problems" in capsys.readouterr().out
    (orphan,) = store.write_all([build.baseline(case_id="digits/gone@torch-x86")])
    assert main(["baseline", "verify", "specs"]) == ExitCode.FAIL
    assert "no planned case is called digits/gone@torch-x86" in capsys.readouterr().out
    orphan.unlink()
    misplaced = path.with_name("linux-x86_64-other.json")
    misplaced.write_bytes(path.read_bytes())
    path.write_text("{}", "utf-8")
    assert main(["baseline", "verify", "--json"]) == ExitCode.FAIL
    problems = {p["path"]: p["message"] for p in json.loads(capsys.readouterr().out)["problems"]}
    assert "digest" in problems[str(path)]
    assert "belongs to" in problems[str(misplaced)]


def test_prune_lists_first_and_deletes_when_told(project, store, capsys) -> None:
    kept, gone = store.write_all(
        [build.baseline(), build.baseline(case_id="digits/gone@torch-x86")]
    )
    gone.write_text("cannot be read", "utf-8")
    assert main(["baseline", "prune"]) == ExitCode.PASS
    out = capsys.readouterr().out
    assert str(gone) in out
    assert "--yes deletes" in out
    assert gone.exists()
    assert main(["baseline", "prune", "--yes"]) == ExitCode.PASS
    assert store.files() == (kept,)
    assert main(["baseline", "prune", "specs/nowhere", "--yes"]) == ExitCode.USAGE
    assert store.files() == (kept,)
