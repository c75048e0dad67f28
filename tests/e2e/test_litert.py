"""LiteRT files on both sides of a case, through the real command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from tests.e2e.project import Finished, Project
from tests.unit import tflite_models as files

SPEC = """\
version: 1
id: linear
model:
  id: linear
  task: image-classification
  reference: {source: tflite, path: float.tflite}
  inputs: {x: {shape: [N, 4], dtype: float32}}
data:
  evaluation: {source: npz, path: samples.npz, inputs: x, labels: y}
quantizations:
  own: {method: candidate, path: int8.tflite}
  declared:
    method: candidate
    path: int8.tflite
    inputs: {x: {dtype: int8, scale: 0.05, zero_point: -3}}
    outputs: {output: {scale: 0.00390625, zero_point: -128}}
  shifted:
    method: candidate
    path: int8.tflite
    inputs: {x: {dtype: int8, scale: 0.05, zero_point: 30}}
targets:
  xnnpack: {backend: litert}
  plain: {backend: litert, kernels: reference}
matrix:
  exclude: [{quantization: "[ds]*", target: plain}]
run: {batch: 16, timing: {warmup: 2, rounds: 10, processes: 1}}
baseline: ignore
tolerances:
  numerical: {finite: true, sqnr: ">= 25 dB"}
  layers: {shapes: equal, qparams: true, quantized_ops: "== 100 %", isolated_sqnr: ">= 25 dB"}
  device: {top1_drop: "< 20 pp", activation_memory: "<= 0.25 x reference", size: "<= 4 kB"}
"""


class Linear(Project):
    """A project around a float and an int8 file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spec = folder / "linear.yaml"
        self.spec.write_text(SPEC)
        files.float_linear(folder / "float.tflite", name="model/fc")
        files.int8_linear(folder / "int8.tflite")
        x = np.random.default_rng(5).normal(size=(64, 4)).astype(np.float32)
        np.savez(folder / "samples.npz", x=x, y=files.expected(x).argmax(1))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Linear:
    return Linear(tmp_path_factory.mktemp("litert"))


@pytest.fixture(scope="module")
def run(project: Linear) -> Finished:
    return project.gate("run", project.spec.name, json_output=True)


def case_of(run: Finished, name: str) -> Any:
    return next(c for c in run.report["cases"] if c["id"] == f"linear/{name}")


@pytest.mark.parametrize("name", ["own@xnnpack", "own@plain", "declared@xnnpack"])
def test_a_pair_of_files_passes_on_any_kernels(run: Finished, name: str) -> None:
    case = case_of(run, name)
    assert case["status"] == "PASS", [c for c in case["checks"] if c["status"] != "PASS"]
    layers = {c["subject"] for c in case["checks"] if c["rule"] == "isolated_sqnr"}
    assert layers == {"model/fc/MatMul", "soft"}


def test_a_wrong_zero_point_fails_with_the_first_layer_named(run: Finished) -> None:
    case = case_of(run, "shifted@xnnpack")
    assert case["status"] == "FAIL"
    assert "sqnr" in {c["rule"] for c in case["checks"] if c["status"] == "FAIL"}


def test_a_reference_that_litert_cannot_open_is_told_in_the_plan(project: Linear) -> None:
    other = project.folder / "other.yaml"
    other.write_text(SPEC.replace("source: tflite, path: float", "source: onnx, path: float"))
    done = project.gate("plan", other.name)
    assert done.code == 2
    assert "litert, which opens tflite" in done.output
