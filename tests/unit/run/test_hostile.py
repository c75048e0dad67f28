"""Hostile probes through the engine: a candidate that crashes in one is a failure, not a lost case."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.core.baseline import BaselineMissing
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import Status
from gate.judge.results import verdict_of
from gate.run.crashes import crashed_probe, stage_of, together
from gate.run.engine import run_plan
from gate.run.settings import RunSettings
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.unit.run.project import write_spec

MODULE = """
import os, signal
import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, factor, deadly):
        super().__init__()
        self.factor, self.deadly = factor, deadly
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        if self.deadly and not bool(x.any()):
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.deadly and len(x) == 5:
            raise RuntimeError("no batch of five")
        return self.fc(x) * self.factor


def build():
    return Net(1.0, False)


def quantize(model, calibration, options, target):
    made = Net(1.01, True)
    made.fc.load_state_dict(model.fc.state_dict())
    return made


def samples():
    rng = np.random.default_rng(0)
    return rng.standard_normal((20, 4)).astype(np.float32), np.arange(20) % 3
"""


@pytest.fixture(scope="module")
def result(project: Path) -> CaseResult:
    (project / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["faults", "deadly"]\n')
    (project / "deadly.py").write_text(MODULE)
    spec = {
        "version": 1,
        "model": {
            "id": "deadly",
            "task": "image-classification",
            "reference": {"source": "python", "entry": "deadly:build"},
            "inputs": {"x": {"shape": ["N", 4], "dtype": "float32"}},
        },
        "data": {"evaluation": {"source": "python", "entry": "deadly:samples"}},
        "quantizations": {"own": {"method": "python", "entry": "deadly:quantize"}},
        "targets": {"torch": {"backend": "torch", "engine": "x86", "threads": 1}},
        "baseline": "ignore",
        "probes": ["zeros", "constant", "extremes", "batch", "denormals"],
        "tolerances": {"numerical": {"sqnr": ">= 30 dB"}},
    }
    planned = plan(load_specs([write_spec(project, "deadly", spec)]))
    settings = RunSettings(run_dir=project / "deadly-run", cache_dir=project / "cache")
    (found,) = run_plan(planned, settings=settings)
    return found


def test_a_crash_in_a_probe_fails_it_and_costs_nothing_else(result: CaseResult) -> None:
    assert result.failure is None
    assert result.observation is not None
    verdict = verdict_of(result, BaselineMissing(path="x"))
    checks = {c.rule: c for c in verdict.checks if c.rule.startswith("probe.")}
    assert set(checks) == {
        "probe.zeros", "probe.constant", "probe.extremes", "probe.batch", "probe.denormals",
    }  # fmt: skip
    assert checks["probe.zeros"].status is Status.FAIL
    assert "SIGSEGV" in checks["probe.zeros"].message
    assert checks["probe.constant"].status is Status.FAIL
    assert "no batch of five" in checks["probe.constant"].message
    for name in ("probe.extremes", "probe.batch", "probe.denormals"):
        assert checks[name].status is Status.PASS
    assert verdict.status is Status.FAIL
    sqnr = next(c for c in verdict.checks if c.rule == "sqnr")
    assert sqnr.status is Status.PASS
    assert "probes" in result.observation.stage_seconds
    assert not any(name.startswith("probe ") for name in result.observation.stage_seconds)


def test_only_an_ending_in_a_probe_is_one() -> None:
    def failure(stage: str, kind: str = "crash") -> RunFailure:
        return RunFailure(kind=kind, stage=stage, message="ended by SIGSEGV")

    found = crashed_probe(failure(stage_of("zeros", "candidate")))
    assert found is not None
    assert (found.probe, found.side, found.message) == ("zeros", "candidate", "ended by SIGSEGV")
    for other in (
        None,
        failure("numerical"),
        failure("probe nothing of the candidate"),
        failure(stage_of("zeros", "reference"), kind="timeout"),
        failure(stage_of("zeros", "reference"), kind="interrupted"),
    ):
        assert crashed_probe(other) is None


def test_seconds_of_probes_are_told_together() -> None:
    seconds = {"open": 1.0, "probes": 0.5, stage_of("zeros", "candidate"): 0.25}
    assert together(seconds) == {"open": 1.0, "probes": 0.75}
