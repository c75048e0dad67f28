"""The user's own quantization: what it is given, what it may return, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.models.base import LoadedModel
from gate.quantize.base import QuantizeError
from gate.testing.tiny import target_for, tiny_batches, tiny_model
from tests.unit.own_module import own_module

pytest.importorskip("torch")

ENTRIES = """
import onnx, torch
from torch.ao.quantization import get_default_qconfig_mapping, quantize_dynamic
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

def static(model, calibration, options, target):
    prepared = prepare_fx(model, get_default_qconfig_mapping(target.options["engine"]),
                          (torch.zeros(1, 3, 12, 12),))
    for batch in calibration() if calibration else ():
        prepared(torch.from_numpy(batch["image"]))
    return convert_fx(prepared)

def untouched(model, calibration, options, target):
    return model

def forgetful(model, calibration, options, target):
    quantized = quantize_dynamic(model, {torch.nn.Linear})
    if calibration is not None:
        quantized.bonus = torch.nn.Parameter(torch.zeros(2))
    return quantized

def text(model, calibration, options, target):
    return "no model"

def crippled(model, calibration, options, target):
    return torch.nn.Sequential(model, torch.nn.Linear(12345, 1))

def broken(model, calibration, options, target):
    raise ZeroDivisionError(options["say"])

def onnx_file(model, calibration, options, target):
    proto = onnx.load(model)
    for tensor in proto.graph.initializer:
        if tensor.name == options["tensor"]:
            array = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array((array * 8).round() / 8, tensor.name))
    return proto
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_module(tmp_path / "project", "own_quantizers", ENTRIES, monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> LoadedModel:
    return tiny_model(Format.TORCH_MODULE, tmp_path)


def quantize(model: LoadedModel, tmp_path: Path, entry: str, **options: Any) -> Any:
    out_dir = tmp_path / "out"
    out_dir.mkdir(exist_ok=True)
    batches = tiny_batches()
    return plugins.load("quantizers", "python").quantize(
        model,
        lambda: iter(batches),
        options={"entry": f"own_quantizers:{entry}", **options},
        target=target_for("torch", {"engine": "fbgemm"}),
        seed=0,
        out_dir=out_dir,
    )


def test_a_module_is_stored_and_opened_again_without_calibration(
    model: LoadedModel, tmp_path: Path
) -> None:
    artifact = quantize(model, tmp_path, "static")
    target = target_for("torch", {"engine": "fbgemm"})
    inputs = tiny_batches(1, 8, seed=9)[0]
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=target) as session:
        candidate = session.run(inputs)["output"]
        assert all(row.quantized for row in session.layers(inputs) if row.computes)
    with backend.open_reference(model, target=target) as session:
        reference = session.run(inputs)["output"]
    error = float(((candidate - reference) ** 2).sum() / (reference**2).sum())
    assert 0 < error < 0.01


def test_an_onnx_model_is_written(tmp_path: Path) -> None:
    model = tiny_model(Format.ONNX, tmp_path)
    artifact = quantize(
        model, tmp_path, "onnx_file", options={"tensor": "head.weight"}, output="onnx"
    )
    assert artifact.format is Format.ONNX
    assert artifact.path == tmp_path / "out" / "model.onnx"
    assert artifact.sha256 != model.sha256
    assert artifact.options["output"] == "onnx"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("untouched", "quantized nothing"),
        ("forgetful", "does not build the structure"),
        ("text", "returned a str, expected an nn.Module"),
        ("broken", "raised ZeroDivisionError: the user's words"),
        ("crippled", "cannot run on inputs of the model .RuntimeError: mat1 and mat2 shapes"),
        ("no_such", "no 'no_such'"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    model: LoadedModel, tmp_path: Path, entry: str, said: str
) -> None:
    with pytest.raises(QuantizeError, match=said):
        quantize(model, tmp_path, entry, options={"say": "the user's words"})


def test_an_untrusted_entry_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="not trusted"):
        plugins.load("quantizers", "python").quantize(
            model,
            None,
            options={"entry": "os:system"},
            target=target_for("torch"),
            seed=0,
            out_dir=tmp_path,
        )


def test_the_model_given_is_a_copy(model: LoadedModel, tmp_path: Path) -> None:
    import torch

    inputs = torch.from_numpy(tiny_batches(1, 4)[0]["image"])
    with torch.no_grad():
        before = model.module(inputs).numpy()
        quantize(model, tmp_path, "static")
        np.testing.assert_array_equal(model.module(inputs).numpy(), before)
