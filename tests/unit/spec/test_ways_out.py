"""What a spec could say in place of a pair that cannot exist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gate.core.spec import ModelSpec, QuantizationSpec, TargetSpec
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.ways_out import ways_out


def model(source: str) -> ModelSpec:
    return ModelSpec(id="m", task="other", source=source, options={}, inputs={})


def quantization(method: str) -> QuantizationSpec:
    return QuantizationSpec(name="q", method=method, options={})


def target(backend: str) -> TargetSpec:
    return TargetSpec(name="t", backend=backend, threads=1, dedicated=False, options={})


def test_backends_that_open_it_and_methods_that_are_opened() -> None:
    words = ways_out(model("python"), [quantization("torch-dynamic")], [target("onnxruntime")])
    runs, methods = words.split("; ")
    assert runs == "torch-dynamic runs on torch"
    assert methods.startswith("onnxruntime runs ")
    assert {"onnxruntime-static", "onnxruntime-fp16"} <= set(
        methods.removeprefix("onnxruntime runs ").replace(" or ", ", ").split(", ")
    )
    assert "torch" not in methods.replace("onnxruntime", "")


def test_code_of_ones_own_may_make_another_format() -> None:
    words = ways_out(model("python"), [quantization("python")], [])
    assert words == "python runs on torch; python with 'output: onnx' runs on onnxruntime"


def test_nothing_is_told_where_nothing_could_run() -> None:
    words = ways_out(model("onnx"), [quantization("torch-fx-static")], [target("torch")])
    assert words == ""


def test_the_spec_is_refused_with_the_ways_out(
    small: str, write: Callable[[str, str], Path]
) -> None:
    text = small.replace("backend: onnxruntime", "backend: torch")
    write("a.yaml", text)
    with pytest.raises(SpecError) as raised:
        load_specs(["a.yaml"])
    hints = {d.path: d.hint for d in raised.value.diagnostics}
    assert hints["quantizations.static"] == "onnxruntime-static runs on onnxruntime"
    assert "onnxruntime-dynamic runs on onnxruntime" in hints["targets.ort"]


def test_so_is_the_selection_of_such_a_pair(small: str, write: Callable[[str, str], Path]) -> None:
    python = '{source: python, entry: "specs.m:make"}'
    text = small.replace("{source: onnx, path: models/digits.onnx}", python)
    text = text.replace(
        "targets:\n", "  fx: {method: torch-fx-static}\ntargets:\n  x: {backend: torch}\n"
    )
    write("a.yaml", text)
    with pytest.raises(
        SelectError, match=r"cannot exist: .* \(torch-fx-static runs on torch; onnx"
    ):
        plan(load_specs(["a.yaml"]), ["a/fx@ort"])
