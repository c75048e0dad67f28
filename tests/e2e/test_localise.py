"""The layer is named, saved so that it runs without the gate, and the set that must stay in float found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.e2e.faults import break_file
from tests.e2e.project import Project, make_candidate

GIVEN = "digits/given@ort-cpu"
FAULTY = "separable.pointwise.conv"

IMBALANCED = """
version: 1
id: imbalanced
model:
  id: imbalanced
  task: image-classification
  reference: {source: python, entry: "tests.e2e.entries:imbalanced_cnn"}
  inputs: {image: {shape: [N, 1, 8, 8], dtype: float32}}
data:
  preprocess: {reshape: [1, 8, 8], scale: 0.0625}
  calibration: {source: sklearn-digits, split: train, samples: 64, seed: 0}
  evaluation: {source: sklearn-digits, split: test, samples: 200}
quantizations:
  static: {method: onnxruntime-static, weights: int8/per-channel}
targets:
  ort-cpu: {backend: onnxruntime, threads: 1}
baseline: ignore
tolerances:
  numerical: {finite: true, sqnr: ">= 26 dB"}
  layers: {shapes: equal, isolated_sqnr: ">= 20 dB"}
"""


def run_script(folder: Path, elsewhere: Path) -> str:
    """Runs ``repro.py`` without the gate: isolated from its sources and from the current folder."""
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "repro.py")],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def sqnr(folder: Path) -> float:
    x, y = np.load(folder / "expected.npy"), np.load(folder / "got.npy")
    return 20.0 * float(np.log10(np.linalg.norm(x) / np.linalg.norm(x - y)))


def test_a_failing_run_saves_its_first_bad_layer(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    healthy = make_candidate(tmp_path).path
    shutil.copy(healthy, project.candidate)
    accepted = project.gate(
        "baseline", "update", project.spec.name, "--select", GIVEN, "--reason", "first"
    )
    assert accepted.code == 0, accepted.output
    break_file(project.candidate, fault="zero_point_off_by_4", layer=FAULTY)
    done = project.run(GIVEN)
    assert done.code == 1
    (case,) = done.report["cases"]
    assert case["first_bad_layer"] == FAULTY
    assert "when the baseline was accepted" in case["first_bad_layer_why"]
    (note,) = (note for note in case["notes"] if "reproduction" in note)
    assert note.startswith(f"minimal reproduction of '{FAULTY}': ")
    folder = project.folder / note.partition(": ")[2]
    assert {p.name for p in folder.iterdir()} == {
        "README.md",
        "expected.npy",
        "got.npy",
        "input_0.npy",
        "layer.onnx",
        "repro.py",
    }
    printed = run_script(folder, tmp_path)
    assert f"SQNR {sqnr(folder):.2f} dB" in printed
    assert "largest difference from got.npy 0\n" in printed
    assert sqnr(folder) < 30.0
    assert FAULTY in (folder / "README.md").read_text()


@pytest.fixture(scope="module")
def imbalanced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("imbalanced"))
    project.spec.write_text(IMBALANCED)
    return project


def test_the_layers_that_must_stay_in_float_are_found_and_the_fragment_passes(
    imbalanced: Project,
) -> None:
    done = imbalanced.gate("localise", "digits.yaml", "--budget", "90s", "--save", "out", "--json")
    assert done.code == 0, done.output
    (case,) = json.loads(done.output)
    assert case["status"] == "FAIL"
    assert case["first_bad_layer"].startswith("separable.")
    ranked = case["sensitivity"]
    assert not ranked["passes"]
    assert ranked["verified"]
    assert 1 <= len(ranked["keep_float"]) <= 3
    assert any(layer.startswith("separable.") for layer in ranked["keep_float"])
    gains = [g["gain_db"] for g in ranked["ranking"] if g["gain_db"] is not None]
    assert gains == sorted(gains, reverse=True)
    run_script(imbalanced.folder / "out", imbalanced.folder)
    # The fragment, put into the spec as it is printed, passes.
    spec = yaml.safe_load(IMBALANCED)
    spec["quantizations"] = yaml.safe_load(ranked["fragment"])["quantizations"]
    spec["tolerances"].pop("layers")
    (imbalanced.folder / "mixed.yaml").write_text(yaml.safe_dump(spec))
    mixed = imbalanced.gate("run", "mixed.yaml", json_output=True)
    assert mixed.code == 0, mixed.output
    (passed,) = mixed.report["cases"]
    assert passed["status"] == "PASS"


def test_a_layer_can_be_named_and_a_wrong_name_is_told(imbalanced: Project) -> None:
    given = ("localise", "digits.yaml", "--budget", "0", "--quiet")
    done = imbalanced.gate(*given, "--layer", "stem.conv", "--save", "stem")
    assert done.code == 0, done.output
    assert "saved to run by itself: stem" in done.output
    assert "SQNR" in run_script(imbalanced.folder / "stem", imbalanced.folder)
    done = imbalanced.gate(*given, "--layer", "no.such")
    assert done.code == 2
    assert "there is no layer 'no.such'" in done.output


@pytest.mark.parametrize("budget", ["soon", "10", "10 parsecs"])
def test_a_budget_is_a_time_with_its_unit(imbalanced: Project, budget: str) -> None:
    done = imbalanced.gate("localise", "digits.yaml", "--budget", budget)
    assert done.code == 2
    assert "--budget" in done.output
