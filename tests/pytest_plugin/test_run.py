"""Running gate items for real: ONNX Runtime quantizes and runs a tiny model."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from gate.run.engine import run_plan
from tests.pytest_plugin.conftest import edit

FAILING = "specs/tiny.yaml::strict@ort-cpu::layers"


def run(project, *arguments):
    return project.runpytest_inprocess("--gate", "specs", *arguments)


@pytest.fixture
def started(monkeypatch):
    """Ids of the cases that the engine was asked to run in this process."""
    ids = []

    def counting(plan, **options):
        ids.extend(case.id for case in plan.cases)
        return run_plan(plan, **options)

    monkeypatch.setattr("gate.run.shared.run_plan", counting)
    return ids


def test_cases_run_once_and_fail_in_their_tier_without_a_traceback(project, started):
    result = run(project)
    result.assert_outcomes(passed=5, failed=1)
    assert started == ["tiny/good@ort-cpu", "tiny/strict@ort-cpu"]
    text = result.stdout.str()
    assert "Traceback" not in text
    assert "pytest_plugin.py" not in text
    result.stdout.re_match_lines(
        [
            r"FAIL: layers: sqnr of fc1 = \d+(\.\d+)? dB, demanded >= 150 dB \(specs/tiny\.yaml:\d+:\d+\)",
            r"first bad layer: fc1",
            r"FAIL +layers +sqnr +fc1 ",
            r"\d+ more checks passed",
            r"=+ gate =+",
            r" +good@ort-cpu +PASS +pass +pass +pass ",
            r" +strict@ort-cpu +FAIL +pass +fail +pass ",
            r"2 cases: 1 failed, 1 passed",
            rf"FAILED {re.escape(FAILING)} - FAIL: layers: sqnr of fc1",
        ]
    )


def test_a_deselected_case_does_not_run(project, started):
    run(project, "-k", "good and device").assert_outcomes(passed=1, deselected=5)
    assert started == ["tiny/good@ort-cpu"]


def test_quiet_exit_first_and_last_failed_work(project):
    result = run(project, "-q", "-x")
    result.assert_outcomes(passed=4, failed=1)
    again = run(project, "--lf", "-v")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([f"{FAILING} FAILED*"])


def test_junit_xml_has_every_item_with_its_measurements(project):
    run(project, "--junitxml=report.xml")
    root = ET.parse(project.path / "report.xml").getroot()  # noqa: S314 - our own document
    cases = {(c.get("classname"), c.get("name")): c for c in root.iter("testcase")}
    assert len(cases) == 6
    (failed,) = [c for c in cases.values() if c.find("failure") is not None]
    assert failed.get("name") == "layers"
    assert "sqnr of fc1" in failed.find("failure").text
    names = {p.get("name") for p in failed.iter("property")}
    assert "sqnr[fc1]" in names


def test_with_xdist_each_case_still_runs_once(project, tiny_files):
    result = project.runpytest_subprocess(
        "--gate", "specs", "-n", "2", "-v", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=5, failed=1)
    text = result.stdout.str()
    assert "2 cases: 1 failed, 1 passed" in text
    assert "Traceback" not in text
    # One observation a case: the figures of the summary are those of every item.
    assert len(re.findall(r"^  (good|strict)@ort-cpu", text, re.M)) == 2


def test_processes_share_one_run_of_a_case(project, tmp_path):
    """What xdist relies on, with real processes and no scheduling by chance."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from gate.run.shared import SharedRuns\n"
        "from gate.spec.load import load_specs\n"
        "from gate.spec.matrix import plan\n"
        "case = plan(load_specs(['specs/tiny.yaml'])).cases[0]\n"
        "runs = SharedRuns(folder=Path(sys.argv[1]), cache_dir=None, processes=2)\n"
        "print(runs.result(case).observation.timing.candidate_wall_ns)\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert first == second != ""


def test_a_case_that_cannot_run_here_is_skipped_with_its_reason(project):
    edit(project, ("run:", "requires: {packages: [no_such_package], install: get it there}\nrun:"))
    result = run(project, "-rs")
    result.assert_outcomes(skipped=6)
    result.stdout.fnmatch_lines(["SKIPPED * specs/tiny.yaml:*: *no_such_package*get it there*"])
    result.stdout.fnmatch_lines(["2 cases: 2 skipped*"])


def test_a_case_in_error_fails_with_stage_and_last_output(project):
    (project.path / "tiny.npz").unlink()
    (project.path / "tiny.npz").write_bytes(b"no archive")
    result = run(project)
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(["ERROR: * in stage data: *tiny.npz*"])
    assert "Traceback" not in result.stdout.str()


def test_an_expected_failure_passes_with_a_note(project):
    edit(
        project,
        (
            "when: {quantization: strict}",
            "when: {quantization: strict}\n      expect: fail\n      metrics: [sqnr]",
        ),
    )
    result = run(project, "-rP")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["expected failure: no 8-bit layer is that close"])
    result.stdout.re_match_lines([r" +strict@ort-cpu +XFAIL +pass +xfail +pass "])


def test_an_expected_failure_that_passes_fails(project):
    edit(
        project,
        (
            "when: {quantization: strict}",
            "when: {quantization: strict}\n      expect: fail\n      metrics: [sqnr]",
        ),
        (">= 150 dB", ">= 1 dB"),
    )
    result = run(project)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["FAIL: expected to fail (no 8-bit layer is that close) but every check passed"]
    )


def test_a_required_baseline_is_looked_for_where_it_is_said(project):
    edit(project, ("baseline: ignore", "baseline: require"))
    result = run(project, "--gate-baselines", "accepted", "-k", "good")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*baseline*accepted*"])


def test_python_tests_run_beside_cases(project):
    (project.path / "specs" / "test_more.py").write_text("def test_more(): assert 1 + 1 == 2\n")
    run(project, "-k", "good or more").assert_outcomes(passed=4, deselected=3)


def test_nothing_is_left_behind(project, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run(project, "-k", "good").assert_outcomes(passed=3, deselected=3)
    assert list(scratch.iterdir()) == []


def test_an_inconclusive_tier_fails_and_is_skipped_where_allowed(project):
    # So small a file grows by the scales; that is not what this is about.
    small = "    - {when: {quantization: good}, drop: [device.size_reduction], because: tiny}\n"
    edit(
        project,
        ('top1_drop: "< 50 pp"', 'top1_drop: {bound: "< 1 pp", mode: certify}'),
        ("  overrides:\n", f"  overrides:\n{small}"),
    )
    result = run(project, "-k", "good and device")
    result.assert_outcomes(failed=1, deselected=5)
    text = result.stdout.str()
    assert "INCONCLUSIVE: device: top1_drop" in text
    assert "more samples needed for 90 % power" in text
    assert "cannot be certified on 48 samples: it takes 299" in text
    allowed = run(project, "-k", "good and device", "-rs", "--gate-allow-inconclusive")
    allowed.assert_outcomes(skipped=1, deselected=5)
    assert "inconclusive, which is allowed: device: top1_drop" in allowed.stdout.str()
    assert allowed.ret == 0


def test_a_first_baseline_is_recorded_where_the_spec_asks_for_it(project):
    edit(project, ("baseline: ignore", "baseline: record"))
    result = run(project, "-k", "good")
    result.stdout.fnmatch_lines(["baseline recorded: *good@ort-cpu*"])
    assert len(list((project.path / "baselines").rglob("*.json"))) == 1


def test_no_tier_passes_alone_beside_a_broken_baseline(project):
    edit(project, ("baseline: ignore", "baseline: record"))
    run(project, "-k", "good")
    (path,) = (project.path / "baselines").rglob("*.json")
    path.write_text(path.read_text().replace("tiny", "tinier", 1))
    for tier in ("numerical", "layers", "device"):
        result = run(project, "-k", f"good and {tier}")
        result.assert_outcomes(failed=1, deselected=5)
        result.stdout.fnmatch_lines(["*its digest does not fit*"])
