from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.cli.main import main
from gate.cli.run import only_tiers
from gate.core.case import Plan
from gate.core.status import ExitCode, Tier
from gate.run.store import read_run
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.unit.run.project import spec_of, write_spec


def gate_run(*arguments: str) -> int:
    return main(["run", "--quiet", *arguments])


def test_a_passing_case_is_zero_and_a_failing_one_is_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_spec(project, "cli-good", spec_of("good"))
    bounds = {"numerical": {"sqnr": ">= 150 dB"}}
    bad = write_spec(project, "cli-bad", spec_of("good", tolerances=bounds))
    assert gate_run(good) == ExitCode.PASS
    capsys.readouterr()
    assert gate_run(good, bad, "--json") == ExitCode.FAIL
    assert json.loads(capsys.readouterr().out)["exit_code"] == ExitCode.FAIL
    stored = read_run(project / ".gate" / "runs" / "latest")
    assert [r.case.id for r in stored] == ["cli-good/dyn@ort", "cli-bad/dyn@ort"]


def test_a_crash_is_an_infrastructure_error_and_never_a_pass(project: Path) -> None:
    assert gate_run(write_spec(project, "cli-crash", spec_of("exit_code"))) == (
        ExitCode.INFRASTRUCTURE
    )


def test_mistakes_in_specs_and_selections_are_usage(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_spec(project, "cli-good", spec_of("good"))
    assert gate_run(good, "--select", "nothing*") == ExitCode.USAGE
    assert gate_run(str(project / "no-such.yaml")) == ExitCode.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_a_run_is_said(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thing").write_text("")
    good = write_spec(project, "cli-good", spec_of("good"))
    assert gate_run(good, "--out", str(tmp_path)) == ExitCode.INFRASTRUCTURE
    assert "neither empty nor an earlier run" in capsys.readouterr().err


def test_the_first_run_records_and_the_second_compares(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = {"numerical": {"finite": True, "sqnr": ">= baseline - 1 dB"}}
    spec = write_spec(project, "cli-record", spec_of("good", baseline="record", tolerances=bounds))
    arguments = [spec, "--baselines", str(tmp_path / "b"), "--out", str(tmp_path / "run")]
    gate_run(*arguments)
    assert "baseline recorded" in capsys.readouterr().err
    (written,) = (tmp_path / "b").rglob("*.json")
    before = written.read_bytes()
    assert gate_run(*arguments) == ExitCode.PASS
    assert "baseline recorded" not in capsys.readouterr().err
    assert written.read_bytes() == before


def test_an_interrupt_ends_with_130(project: Path, tmp_path: Path) -> None:
    specs = [write_spec(project, f"cli-int-{e}", spec_of(e)) for e in ("good", "hang")]
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "gate.cli.main", "run", *specs, "--out", str(out)],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "CI": "true"},
    )
    log = out / "logs" / "cli-int-hang%2Fdyn@ort.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and "hang" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "interrupted" in told
    assert "cli-int-good" in told


def tiers_plan(project: Path, **changes: Any) -> Plan:
    bounds = {"numerical": {"sqnr": ">= 1 dB"}, "device": {"size": "<= 1 MB"}}
    spec = spec_of("good", tolerances=bounds)
    (case,) = plan(load_specs([write_spec(project, "cli-tiers", spec)])).cases
    return Plan(cases=(replace(case, **changes),))


def test_only_the_wanted_tiers_are_demanded(project: Path) -> None:
    (case,) = only_tiers(tiers_plan(project), frozenset({Tier.DEVICE})).cases
    assert case.tiers == (Tier.DEVICE,)


def test_a_case_that_demands_nothing_in_the_tier_is_left_out_and_said(project: Path) -> None:
    part = only_tiers(tiers_plan(project), frozenset({Tier.LAYERS}))
    assert part.cases == ()
    assert "demands nothing in: layers" in part.not_applicable[0].reason


@pytest.mark.parametrize(
    ("metrics", "kept"),
    [(("sqnr",), True), (("numerical.sqnr",), True), (("size",), False), ((), False)],
)
def test_an_expected_failure_is_only_judged_where_it_can_happen(
    project: Path, metrics: tuple[str, ...], kept: bool
) -> None:
    planned = tiers_plan(project, expected_failure="because", expected_metrics=metrics)
    part = only_tiers(planned, frozenset({Tier.NUMERICAL}))
    assert bool(part.cases) is kept
    assert bool(part.not_applicable) is not kept


def test_layers_that_nobody_looked_at_cannot_be_localised(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_spec(project, "cli-no-layers", spec_of("good"))
    assert main(["localise", "--quiet", good]) == ExitCode.USAGE
    assert "demands nothing of its layers" in capsys.readouterr().out
