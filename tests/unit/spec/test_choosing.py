"""What a ladder without rungs climbs, by the model's source and the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gate.spec.choosing import possible
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import plan

Write = Callable[[str, str], Path]
SOURCES = {
    "keras": "{source: keras, application: MobileNetV2}",
    "torch": "{source: torchvision, name: resnet18}",
    "onnx": "{source: onnx, path: a.onnx}",
    "tflite": "{source: tflite, path: a.tflite}",
}
CALIBRATION = "  calibration: {source: sklearn-digits, split: train}\n"
SPEC = """\
version: 1
model:
  id: any
  task: image-classification
  reference: %(source)s
  inputs: {image: {shape: [N, 8, 8, 1], dtype: float32}}
data:
%(calibration)s  evaluation: {source: sklearn-digits, split: test}
quantizations: {auto: {method: ladder}}
targets: {there: {backend: %(backend)s}}
tolerances: {device: {top1_drop: "< 1 pp"}}
"""


def rungs(write: Write, source: str, backend: str, calibration: str = CALIBRATION) -> list[str]:
    """Those that ``gate run`` would try, in order."""
    said = {"source": SOURCES[source], "backend": backend, "calibration": calibration}
    write("a.yaml", SPEC % said)
    (case,) = plan(load_specs(["a.yaml"])).cases
    assert case.quantization.method == "ladder"
    return [one.name for one in possible(case.model, case.quantization, case.target)]


@pytest.mark.parametrize(
    ("source", "backend", "expected"),
    [
        ("keras", "litert", ["tflite dynamic", "tflite int8"]),
        ("torch", "torch", ["torch-dynamic", "torch-fx-static", "torch-qat"]),
        ("torch", "onnxruntime", ["onnxruntime-dynamic", "onnxruntime-static"]),
        ("onnx", "onnxruntime", ["onnxruntime-dynamic", "onnxruntime-static"]),
    ],
)
def test_cheapest_first_for_every_kind_of_model(
    write: Write, source: str, backend: str, expected: list[str]
) -> None:
    assert rungs(write, source, backend) == expected


def test_the_rungs_of_a_keras_model_say_their_modes(write: Write) -> None:
    rungs(write, "keras", "litert")
    (case,) = plan(load_specs(["a.yaml"])).cases
    found = possible(case.model, case.quantization, case.target)
    assert [(one.method, one.options["mode"]) for one in found] == [
        ("tflite", "dynamic"),
        ("tflite", "int8"),
    ]


def test_a_finished_tflite_file_has_no_rung(write: Write) -> None:
    with pytest.raises(
        SpecError, match="tflite accepts keras, and the tflite of the source tflite"
    ):
        rungs(write, "tflite", "litert")


def test_static_rungs_need_calibration_samples(write: Write) -> None:
    with pytest.raises(SpecError, match="ladder needs calibration samples"):
        rungs(write, "keras", "litert", calibration="")
