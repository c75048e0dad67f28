"""Modes that quantize nothing, or less than they say, through the real command line: each is told.

The network is an ONNX file of matrix products alone, so that no case needs more than ONNX Runtime.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.e2e.project import Finished, Project
from tests.unit.onnx_models import mlp_model

HEAD = """\
version: 1
id: silent
model:
  id: mlp
  task: other
  reference: {source: onnx, path: mlp.onnx}
  inputs: {image: {shape: [N, 64], dtype: float32}}
data:
  evaluation: {source: npz, path: samples.npz, inputs: x}
"""
CALIBRATION = "  calibration: {source: npz, path: %s, inputs: x}\n  overlap: true\n"
TAIL = """\
targets:
  ort-cpu: {backend: onnxruntime}
baseline: ignore
tolerances:
  numerical: {finite: true, sqnr: ">= 5 dB"}
  layers: {shapes: equal, qparams: true}
"""
MODES = """\
quantizations:
  nbits: {method: onnxruntime-matmul-nbits}
  qdq8: {method: onnxruntime-matmul-nbits, bits: 8, format: QDQ}
  lstm-only: {method: onnxruntime-dynamic, op_types: [LSTM]}
  given-float: {method: candidate, path: lstm_only.onnx}
  given-kept: {method: candidate, path: kept.onnx}
"""


class Silent(Project):
    """A project around one small ONNX file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spec = folder / "silent.yaml"
        mlp_model(folder, hidden=192, narrow=64)
        random = np.random.default_rng(1)
        np.savez(folder / "samples.npz", x=random.standard_normal((32, 64)).astype("f4"))
        np.savez(folder / "wrong.npz", x=random.standard_normal((32, 48)).astype("f4"))

    def write(self, modes: str, *, calibration: str = "", tail: str = TAIL) -> None:
        self.spec.write_text(HEAD + calibration + modes + tail)

    def given(self) -> None:
        """Candidates as a library makes them: one unchanged, one with its float weights beside."""
        from onnxruntime.quantization import quantize_dynamic

        path = str(self.folder / "mlp.onnx")
        quantize_dynamic(path, str(self.folder / "lstm_only.onnx"), op_types_to_quantize=["LSTM"])
        quantize_dynamic(path, str(self.folder / "kept.onnx"))
        kept = onnx.load(self.folder / "kept.onnx")
        weight = next(t for t in onnx.load(path).graph.initializer if t.name == "w2")
        kept.graph.initializer.append(
            numpy_helper.from_array(numpy_helper.to_array(weight), "w2_float")
        )
        onnx.save(kept, self.folder / "kept.onnx")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Silent:
    made = Silent(tmp_path_factory.mktemp("silent"))
    made.given()
    return made


@pytest.fixture(scope="module")
def cases(project: Silent) -> dict[str, Any]:
    """Reports of all modes, of one run."""
    project.write(MODES)
    done = project.gate("run", project.spec.name, json_output=True)
    assert done.report is not None, done.output
    found = done.report["cases"]
    return {case["id"].removeprefix("silent/").removesuffix("@ort-cpu"): case for case in found}


def told(case: dict[str, Any]) -> str:
    return "\n".join(map(str, case["explanation"]))


def failed(case: dict[str, Any]) -> set[tuple[str, str]]:
    return {(c["tier"], c["rule"]) for c in case["checks"] if c["status"] == "FAIL"}


def test_a_mode_that_works_passes(cases: dict[str, Any]) -> None:
    assert cases["nbits"]["status"] == "PASS", told(cases["nbits"])


def test_qdq_of_8_bits(cases: dict[str, Any]) -> None:
    assert cases["qdq8"]["status"] == "ERROR"
    assert "nothing was quantized" in told(cases["qdq8"])
    assert "MatMul only supports QOperator format for 8 bits" in told(cases["qdq8"])


def test_dynamic_restricted_to_an_operator_that_is_not_there(cases: dict[str, Any]) -> None:
    assert cases["lstm-only"]["status"] == "ERROR"
    assert "nothing was quantized" in told(cases["lstm-only"])
    assert "the options say op_types: LSTM" in told(cases["lstm-only"])


def test_a_candidate_in_which_nothing_is_quantized(cases: dict[str, Any]) -> None:
    found = {("layers", "nothing_quantized"), ("numerical", "identical")}
    assert found <= failed(cases["given-float"])
    assert "no layer is quantized" in told(cases["given-float"])


def test_float_weights_beside_the_integers(cases: dict[str, Any]) -> None:
    """The file is smaller than the reference's, and its answers are right."""
    assert failed(cases["given-kept"]) == {("layers", "float_weights_kept")}
    assert "49152 B of float weights are kept: 1 weight that nothing reads: w2_float" in told(
        cases["given-kept"]
    )


def run(project: Silent, modes: str, **changes: str) -> Finished:
    project.write(modes, **changes)
    return project.gate("run", project.spec.name)


def test_calibration_samples_that_are_missing(project: Silent) -> None:
    done = run(project, "quantizations:\n  static: {method: onnxruntime-static}\n")
    assert done.code == 2
    assert "onnxruntime-static needs calibration samples (give data.calibration)" in _flat(done)


def test_calibration_samples_of_another_shape(project: Silent) -> None:
    done = run(
        project,
        "quantizations:\n  static: {method: onnxruntime-static}\n",
        calibration=CALIBRATION % "wrong.npz",
    )
    assert done.code == 3
    assert "calibration: sample 0: input 'image'" in _flat(done)
    assert "a sample of shape [48], the model takes [64]" in _flat(done)


def test_a_mode_that_the_backend_cannot_open_is_refused_by_the_plan(project: Silent) -> None:
    tail = TAIL.replace("onnxruntime}", "torch}").replace("ort-cpu", "torch-x86")
    project.write("quantizations:\n  nbits: {method: onnxruntime-matmul-nbits}\n", tail=tail)
    done = project.gate("plan", project.spec.name)
    assert done.code == 2
    assert "onnxruntime-matmul-nbits writes onnx, torch opens" in _flat(done)
    assert "onnxruntime-matmul-nbits runs on onnxruntime" in _flat(done)


# --- torch ------------------------------------------------------------------------------------------

DIGITS = """\
data:
  preprocess: {reshape: [1, 8, 8], scale: 0.0625}
  calibration: {source: sklearn-digits, split: train, samples: 64}
  evaluation: {source: sklearn-digits, split: test, samples: 16}
"""
TORCH_TAIL = """\
targets:
  torch-x86: {backend: torch, engine: x86}
baseline: ignore
tolerances:
  numerical: {finite: true}
  layers: {shapes: equal}
"""


def torch_spec(name: str, entry: str, quantization: str) -> str:
    head = HEAD.partition("model:")[0].replace("silent", name)
    model = f"""\
model:
  id: digits-cnn
  task: image-classification
  reference: {{source: python, entry: "{entry}"}}
  inputs: {{image: {{shape: [N, 1, 8, 8], dtype: float32}}}}
"""
    return f"{head}{model}{DIGITS}quantizations:\n  it: {quantization}\n{TORCH_TAIL}"


def test_training_that_never_ran(project: Silent) -> None:
    quantization = '{method: torch-qat, entry: "tests.e2e.entries:never_trained"}'
    (project.folder / "qat.yaml").write_text(
        torch_spec("qat", "specs.models.digits:cnn", quantization)
    )
    done = project.gate("run", "qat.yaml")
    assert done.code == 3, done.output
    assert "quantization-aware training without quantization" in _flat(done)
    assert "tests.e2e.entries:never_trained' ran no batch in training mode" in _flat(done)


def test_float_weights_beside_the_integers_of_a_torch_network(project: Silent) -> None:
    quantization = '{method: python, entry: "tests.e2e.entries:float_beside"}'
    (project.folder / "beside.yaml").write_text(
        torch_spec("beside", "specs.models.digits:cnn", quantization)
    )
    done = project.gate("run", "beside.yaml", json_output=True)
    assert done.report is not None, done.output
    (case,) = done.report["cases"]
    assert ("layers", "float_weights_kept") in failed(case), told(case)
    (check,) = [c for c in case["checks"] if c["rule"] == "float_weights_kept"]
    assert "that nothing reads: kept_" in check["message"]


def test_a_network_exported_under_no_grad(project: Silent) -> None:
    pytest.importorskip("torchao")
    (project.folder / "exported.yaml").write_text(
        torch_spec("exported", "tests.e2e.entries:under_no_grad", "{method: pt2e}")
    )
    done = project.gate("run", "exported.yaml")
    assert done.code == 3, done.output
    assert "nothing would be quantized" in _flat(done)
    assert "no_grad()" in _flat(done)


def _flat(done: Finished) -> str:
    return " ".join(done.output.split())
