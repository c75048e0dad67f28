"""The check, from a change to the required job: green on a good one, red on each bad one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.github import project
from tests.github.bare import asked_of_pip
from tests.github.conftest import INPUTS
from tests.github.runner import Job, Runner

Check = Callable[..., tuple[dict[str, Job], Runner]]
SPEC = "specs/digits.yaml"


def report(runner: Runner) -> Any:
    return json.loads((runner.artifacts["gate-report"] / "report.json").read_text("utf-8"))


def failing(document: Any) -> set[str]:
    """``tier.rule`` of every check that failed."""
    return {
        f"{check['tier']}.{check['rule']}"
        for case in document["cases"]
        for check in case["checks"]
        if check["status"] == "FAIL"
    }


def annotations(job: Job) -> list[tuple[str, int, str]]:
    found = re.findall(
        r"^::error file=([^,]*),line=(\d+),col=\d+,title=[^:]*::(.*)$", job.log, re.M
    )
    return [(file, int(line), message) for file, line, message in found]


def results(jobs: dict[str, Job]) -> dict[str, str]:
    return {name: job.result for name, job in jobs.items()}


def test_a_good_change_is_green(check: Check) -> None:
    jobs, runner = check(project.harmless)
    assert results(jobs) == dict.fromkeys(("plan", "shards", "merge", "required"), "success")
    assert jobs["plan"].outputs["cases"] == "2"
    assert json.loads(jobs["plan"].outputs["matrix"]) == ["1/2", "2/2"]
    assert jobs["merge"].outputs["verdict"] == "pass"
    assert json.loads(jobs["merge"].outputs["counts"])["PASS"] == 2
    assert "2 cases planned, 2 judged: pass" in jobs["required"].log
    kept = {path.name for path in runner.artifacts["gate-report"].iterdir()}
    assert kept == {
        "run", "report.json", "junit.xml", "report.md", "report.html", "report.sarif", "badge.json",
    }  # fmt: skip
    # Said once, by the merge: shards are silent.
    assert jobs["merge"].summary.startswith("## Gate: ✅ PASS")
    assert jobs["shards"].summary.strip() == ""
    assert annotations(jobs["merge"]) == []
    # Plan and merge need no framework; the report needs what is always installed with the gate.
    extras = {
        job: asked_of_pip(runner.scratch, job)["extras"] for job in ("plan", "shards", "merge")
    }
    assert extras == {"plan": ["html"], "shards": ["onnxruntime", "html"], "merge": ["html"]}


@pytest.mark.parametrize(
    ("change", "rule", "line"),
    [
        (project.numerical_regression, "numerical.sqnr", "numerical:"),
        (project.shape_regression, "layers.layer_contract", "numerical:"),
        (project.accuracy_regression, "device.top1_drop", "top1_drop:"),
        (project.latency_regression, "device.speedup", "speedup:"),
    ],
)
def test_a_regression_is_red(check: Check, change: Any, rule: str, line: str) -> None:
    jobs, runner = check(change)
    assert jobs["required"].result == "failure"
    assert jobs["merge"].outputs["verdict"] == "fail"
    assert "the verdict is 'fail'" in jobs["required"].log
    document = report(runner)
    assert document["counts"]["FAIL"] == 1
    assert document["counts"]["PASS"] == 1
    assert rule in failing(document)
    marked = annotations(jobs["merge"])
    assert (SPEC, project.line_of(line)) in [(file, number) for file, number, _ in marked]
    assert jobs["merge"].summary.startswith("## Gate: ❌ FAIL")
    assert "digits/per-channel@ort-cpu" in jobs["merge"].summary


def test_a_shard_whose_result_is_lost_is_red(check: Check) -> None:
    jobs, runner = check(project.harmless, lost=["gate-shard-1"])
    assert jobs["shards"].result == "success"
    assert jobs["merge"].outputs["verdict"] == "error"
    assert jobs["required"].result == "failure"
    document = report(runner)
    assert (document["counts"]["PASS"], document["counts"]["ERROR"]) == (1, 1)
    assert "shard 2/2 is missing" in jobs["merge"].log


def test_jobs_that_are_run_again_replace_what_they_left(check: Check) -> None:
    """What the first attempt left is still there in the second one, which is the same run."""
    jobs, runner = check(project.harmless, lost=["gate-shard-1"])
    assert jobs["required"].result == "failure"
    runner.lost.clear()
    assert runner.run("check.yml", INPUTS)["required"].result == "success"
    assert report(runner)["counts"]["PASS"] == 2


def test_two_checks_of_one_workflow_keep_apart(check: Check) -> None:
    first, runner = check(project.harmless, inputs={"artifacts": "one"})
    assert first["required"].result == "success"
    again = {**INPUTS, "select": "*/per-tensor@*", "artifacts": "two"}
    second = runner.run("check.yml", again)
    assert second["required"].result == "success"
    assert set(runner.artifacts) == {
        "one-shard-0", "one-shard-1", "one-report", "two-shard-0", "two-report",
    }  # fmt: skip


def test_a_deleted_baseline_is_red(check: Check) -> None:
    jobs, runner = check(project.deleted_baseline)
    assert jobs["required"].result == "failure"
    assert jobs["merge"].outputs["verdict"] == "fail"
    messages = [c["message"] for case in report(runner)["cases"] for c in case["checks"]]
    assert any("baseline" in message for message in messages)


def test_a_baseline_that_belongs_to_no_case_is_red(check: Check) -> None:
    jobs, _ = check(project.orphaned_baseline)
    assert results(jobs) == {
        "plan": "failure", "shards": "skipped", "merge": "skipped", "required": "failure",
    }  # fmt: skip
    assert "no planned case is called digits/per-tensor@ort-cpu" in jobs["plan"].log
    assert "::error title=gate::stored baselines are damaged or belong" in jobs["plan"].log


def test_a_mistake_in_a_spec_is_red_at_its_line(check: Check) -> None:
    jobs, _ = check(project.spec_error)
    assert results(jobs) == {
        "plan": "failure", "shards": "skipped", "merge": "skipped", "required": "failure",
    }  # fmt: skip
    assert "no case was planned" in jobs["required"].log
    ((file, line, message),) = annotations(jobs["plan"])
    assert (file, line) == (SPEC, project.line_of("top1_drop:"))
    assert "did you mean 'top1_drop'" in message


def test_what_a_fork_cannot_do_is_asked_of_nobody(tmp_path: Path, accepted: Path) -> None:
    """The scan job is left out for forks, whose token may not write alerts."""
    from tests.github.expressions import condition
    from tests.github.runner import ROOT, load

    scan = load(ROOT / ".github" / "workflows" / "gate.yml")["jobs"]["scan"]["if"]
    needs = {"gate": {"outputs": {"verdict": "pass"}}}

    def wanted(fork: bool) -> bool:
        event = {"pull_request": {"head": {"repo": {"fork": fork}}}}
        contexts = {"github": {"event": event}, "needs": needs}
        return condition(scan, contexts, {"cancelled": lambda: False})

    assert wanted(fork=False)
    assert not wanted(fork=True)
