"""A ladder and a search through the real command line: run, look, write back, run what was written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gate.core.convert import from_plain
from gate.core.observation import Observation
from gate.core.result import CaseResult
from tests.unit.onnx_models import cnn_model, images

ROOT = Path(__file__).resolve().parents[2]
SPEC = """# A spec with a comment that stays.
version: 1
id: cnn
model:
  id: cnn
  task: other
  reference: {source: onnx, path: cnn.onnx}
  inputs: {image: {shape: [N, 3, 16, 16], dtype: float32}}
data:
  calibration: {source: npz, path: b.npz, inputs: image}
  evaluation: {source: npz, path: a.npz, inputs: image}
quantizations:
  auto:                       # which it will be
    method: ladder
    rungs: [rough, fine]
  mixed: {method: search, of: fine, budget: {size: "<= 1.5 x uniform", time: 60 s}}
  rough: {method: onnxruntime-static, calibrate: percentile, percentile: 60}   # clips
  fine: {method: onnxruntime-static, calibrate: minmax}
targets:
  ort: {backend: onnxruntime}
matrix: {include: [{quantization: auto}, {quantization: mixed}, {quantization: fine}, {quantization: rough}]}
run: {layer_samples: 4}
baseline: ignore
tolerances:
  numerical: {sqnr: ">= 15 dB"}
  overrides:
    - {when: {quantization: rough}, expect: fail, metrics: [sqnr], because: "it clips"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A float model, samples, and the spec."""
    cnn_model(tmp_path)
    np.savez(tmp_path / "a.npz", image=images(64, seed=1)["image"])
    np.savez(tmp_path / "b.npz", image=images(64, seed=2)["image"])
    (tmp_path / "pyproject.toml").write_text("[tool.gate]\ntrusted = []\n")
    (tmp_path / "cnn.yaml").write_text(SPEC)
    return tmp_path


def gate(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gate.cli.main", *words],
        cwd=project,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CI": "", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def seen(project: Path, name: str) -> Observation:
    folder = project / ".gate" / "runs" / "latest" / "results"
    found = from_plain(CaseResult, json.loads((folder / f"cnn%2F{name}@ort.json").read_bytes()))
    assert found.observation is not None
    return found.observation


def sqnr(observation: Observation) -> float:
    from gate.metrics.elementwise import sqnr_db

    (output,) = observation.outputs.values()
    value = sqnr_db(output.errors)
    assert value is not None
    return value


def test_what_was_chosen_becomes_the_spec(project: Path) -> None:
    done = gate(project, "run", "cnn.yaml", "--quiet")
    ladder, search = seen(project, "auto"), seen(project, "mixed")
    assert ladder.choice is not None
    assert search.choice is not None
    assert [one.name for one in ladder.choice.tried] == ["rough", "fine"]
    assert ladder.artifacts == seen(project, "fine").artifacts
    # On samples that had no part in the choice.
    assert sqnr(search) > sqnr(ladder) + 1.0
    assert any("took fine, rung 2" in line for line in ladder.notes)
    places = re.findall(r"^(cnn/\w+@ort): .*?: (\S+\.yaml)", done.stderr, re.MULTILINE)
    assert [case for case, _ in places] == ["cnn/auto@ort", "cnn/mixed@ort"]
    recipes: dict[str, Any] = {}
    for _, place in places:
        recipes |= yaml.safe_load((project / place).read_text())["quantizations"]
    (picture,) = (project / ".gate" / "runs" / "latest" / "choices").glob("*.svg")
    assert picture.read_text().startswith("<svg xmlns")

    patch = gate(project, "choose", "cnn.yaml", "--write", "--quiet")
    assert patch.stdout.startswith("--- a/cnn.yaml\n+++ b/cnn.yaml\n")
    assert "rough" in patch.stderr
    text = (project / "cnn.yaml").read_text()
    edited, before = yaml.safe_load(text), yaml.safe_load(SPEC)
    assert edited == {**before, "quantizations": {**before["quantizations"], **recipes}}
    assert text.startswith("# A spec with a comment that stays.\n")
    assert "# clips\n" in text

    gate(project, "run", "cnn.yaml", "--quiet")
    for name, then in (("auto", ladder), ("mixed", search)):
        now = seen(project, name)
        assert now.choice is None
        assert now.artifacts == then.artifacts, "the recipe makes the file that was chosen"
