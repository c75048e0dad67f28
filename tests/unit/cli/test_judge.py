"""``gate judge`` on runs as the engine stores them."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from gate.cli.main import main
from gate.core.case import NotApplicable
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.run.store import RunStore, result_path
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.unit.report.records import observation

SPEC = """
version: 1
id: tiny
model:
  id: tiny
  task: image-classification
  reference: {source: onnx, path: model.onnx}
  inputs: {x: {shape: [N, 4], dtype: float32}}
data:
  evaluation: {source: npz, path: data.npz, inputs: x, labels: y}
quantizations:
  given: {method: candidate, path: model_int8.onnx}
targets:
  ort-cpu: {backend: onnxruntime, threads: 1}
  ort-cpu-2: {backend: onnxruntime, threads: 2}
baseline: ignore
tolerances:
  numerical: {sqnr: ">= SQNR dB"}
  device: {top1_drop: "< 30 pp"}
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.gate]\ntrusted = []\n")
    return write(tmp_path, 10)


def write(folder, sqnr, **replacements):
    text = SPEC.replace("SQNR", str(sqnr))
    for old, new in replacements.items():
        text = text.replace(old, new)
    (folder / "tiny.yaml").write_text(text)
    return "tiny.yaml"


@pytest.fixture
def stored(spec, tmp_path):
    """Folder of a run of both cases, both observed (20 dB, 25 pp lost)."""
    cases = plan(load_specs([spec])).cases
    store = RunStore(tmp_path / "run", cases)
    for case in cases:
        seen = replace(observation(case.id), layers=None)
        store.save(CaseResult(case=case, observation=seen))
    store.close()
    return tmp_path / "run"


def judge(capsys, *words):
    code = main(["judge", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def edited(stored, change):
    """Replace the first case's result file by what ``change`` makes of its text."""
    path = sorted((stored / "results").iterdir())[0]
    path.write_text(change(path.read_text()))
    return path


def statuses(text):
    return {entry["id"]: entry["status"] for entry in json.loads(text)["cases"]}


def rules(text):
    return {
        (check["rule"], check["status"])
        for entry in json.loads(text)["cases"]
        for check in entry["checks"]
    }


def test_a_run_is_judged_from_its_files_alone(capsys, stored, tmp_path):
    (tmp_path / "tiny.yaml").unlink()
    code, text, _ = judge(capsys, stored, "--json")
    assert set(statuses(text)) == {"tiny/given@ort-cpu", "tiny/given@ort-cpu-2"}
    assert {("sqnr", "PASS"), ("top1_drop", "PASS")} <= rules(text)
    assert code == json.loads(text)["exit_code"]


def test_tolerances_of_today_change_the_verdict_and_the_exit_code(capsys, stored, tmp_path):
    spec = write(tmp_path, 25)
    code, text, _ = judge(capsys, stored, "--json", "--spec", spec)
    assert code == ExitCode.FAIL
    assert ("sqnr", "FAIL") in rules(text)
    assert ("sqnr", "PASS") in rules(judge(capsys, stored, "--json")[1])


def test_a_run_may_have_moved_before_it_is_judged_by_a_spec(capsys, stored, tmp_path, monkeypatch):
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(tmp_path / "tiny.yaml", other)
    monkeypatch.chdir(other)
    _, text, error = judge(capsys, stored, "--json", "--spec", "tiny.yaml")
    assert error == ""
    assert ("sqnr", "PASS") in rules(text)


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        ({"path: model.onnx": "path: other.onnx"}, "model"),
        ({"labels: y": "labels: z"}, "data"),
        ({"path: model_int8.onnx": "path: another.onnx"}, "quantization"),
        ({"threads: 2": "threads: 4"}, "target"),
    ],
)
def test_a_spec_that_describes_another_run_is_refused(capsys, stored, tmp_path, edit, what):
    write(tmp_path, 10, **edit)
    code, _, error = judge(capsys, stored, "--spec", "tiny.yaml")
    assert code == ExitCode.INFRASTRUCTURE
    assert f"{what} changed in the spec since the run" in error


def test_a_spec_without_the_case_or_with_mistakes_is_told(capsys, stored, tmp_path):
    write(tmp_path, 10, **{"id: tiny\nmodel": "id: big\nmodel"})
    code, _, error = judge(capsys, stored, "--spec", "tiny.yaml")
    assert (code, "the specs given have no such case" in error) == (ExitCode.INFRASTRUCTURE, True)
    write(tmp_path, 10, top1_drop="top1_dropp")
    code, _, error = judge(capsys, stored, "--spec", "tiny.yaml")
    assert code == ExitCode.USAGE
    assert "tiny.yaml:" in error
    assert "top1_dropp" in error


def test_single_result_files_can_be_judged(capsys, stored):
    path = result_path(stored, "tiny/given@ort-cpu")
    _, text, _ = judge(capsys, path, "--json")
    assert set(statuses(text)) == {"tiny/given@ort-cpu"}


def test_the_same_case_twice_is_refused(capsys, stored):
    path = result_path(stored, "tiny/given@ort-cpu")
    code, _, error = judge(capsys, stored, path)
    assert code == ExitCode.INFRASTRUCTURE
    assert str(path) in error


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"threads":1', '"threads":"1"'),
        lambda text: text.replace('"schema"', '"unknown"', 1),
        lambda text: "\x00\xff",
    ],
    ids=["truncated", "empty", "foreign", "deep", "wrong-type", "unknown-key", "binary"],
)
def test_a_malformed_result_is_an_error_that_names_the_file(capsys, stored, change):
    path = edited(stored, change)
    for given in (stored, path):
        code, _, error = judge(capsys, given)
        assert code == ExitCode.INFRASTRUCTURE
        assert str(path) in error
        assert "Traceback" not in error


def test_a_result_of_another_case_is_refused(capsys, stored):
    first, second = sorted((stored / "results").iterdir())
    shutil.copy(first, second)
    code, _, error = judge(capsys, stored)
    assert code == ExitCode.INFRASTRUCTURE
    assert str(second) in error


def test_a_planned_case_without_result_is_an_error_verdict(capsys, stored):
    result_path(stored, "tiny/given@ort-cpu").unlink()
    code, text, _ = judge(capsys, stored, "--json")
    assert code == ExitCode.INFRASTRUCTURE
    assert statuses(text)["tiny/given@ort-cpu"] == "ERROR"


def test_what_is_no_run_is_told(capsys, stored, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for given in (empty, tmp_path / "absent", tmp_path / "tiny.yaml"):
        code, _, error = judge(capsys, given)
        assert code == ExitCode.INFRASTRUCTURE
        assert str(given) in error


def test_all_reports_are_written_beside_the_table(capsys, stored, tmp_path):
    junit, markdown = tmp_path / "deep" / "junit.xml", tmp_path / "summary.md"
    _, text, _ = judge(capsys, stored, "--junit", junit, "--markdown", markdown, "-v")
    assert "given@ort-cpu" in text
    assert junit.read_text().startswith("<?xml")
    assert markdown.read_text().startswith("## Gate")


def test_a_report_that_cannot_be_written_is_an_error(capsys, stored, tmp_path):
    code, _, error = judge(capsys, stored, "--junit", tmp_path)
    assert code == ExitCode.INFRASTRUCTURE
    assert f"cannot write the report {tmp_path}" in error


def test_skips_and_failures_decide_the_exit_code_as_in_a_run(capsys, spec, tmp_path):
    cases = plan(load_specs([spec])).cases
    store = RunStore(tmp_path / "run", cases)
    for case in cases:
        store.save(CaseResult(case=case, skipped="not installed: x"))
    store.close()
    code, _, error = judge(capsys, tmp_path / "run", "--require")
    assert code == ExitCode.FAIL
    assert error == "gate: 2 cases skipped, which counts as failed (--require)\n"
    failure = RunFailure(kind="crash", stage="open", message="ended by SIGSEGV")
    store.save(CaseResult(case=cases[0], failure=failure))
    code, text, _ = judge(capsys, tmp_path / "run")
    assert code == ExitCode.INFRASTRUCTURE
    assert "crash in stage 'open': ended by SIGSEGV" in text


def test_a_folder_that_is_named_twice_is_judged_once(capsys, stored):
    code, text, _ = judge(capsys, stored, stored, "--json")
    assert len(json.loads(text)["cases"]) == 2
    assert code == json.loads(text)["exit_code"]


def test_a_reader_that_goes_away_changes_no_verdict_and_keeps_the_reports(stored, tmp_path):
    words = f"judge {stored} --spec {write(tmp_path, 25)} --json --junit report.xml"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m gate.cli.main {words} | exec 0<&-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (ExitCode.FAIL, "")
    assert "<testsuites" in (tmp_path / "report.xml").read_text("utf-8")


def test_a_report_that_finds_no_room_is_no_pass(stored, tmp_path):
    words = f"judge {stored} --spec {write(tmp_path, 10)} > /dev/full"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gate.cli.main {words}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert done.stderr == "gate: cannot write the report: No space left on device\n"


def test_pairs_that_were_no_cases_are_still_told(spec, tmp_path, capsys):
    cases = plan(load_specs([spec])).cases
    pair = NotApplicable(id="tiny/given@torch", reason="torch opens no ONNX files")
    store = RunStore(tmp_path / "run", cases, not_applicable=[pair])
    for case in cases:
        store.save(CaseResult(case=case, observation=replace(observation(case.id), layers=None)))
    store.close()
    _, out, _ = judge(capsys, "run", "--json")
    assert [found["id"] for found in json.loads(out)["not_applicable"]] == [pair.id]
