"""What is special to the eager flow, and what both static flows refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.models.base import LoadedModel
from gate.quantize.base import QuantizeError
from gate.testing.tiny import target_for, tiny_batches, tiny_model

torch = pytest.importorskip("torch")

TARGET = target_for("torch", {"engine": "fbgemm"})
METHODS = ("torch-fx-static", "torch-eager-static")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_model(Format.TORCH_MODULE, tmp_path_factory.mktemp("m"), modules_only=True)


def quantize(
    model: LoadedModel, out_dir: Path, method: str, batches: Any = None, **options: Any
) -> Any:
    out_dir.mkdir(exist_ok=True)
    samples = tiny_batches() if batches is None else batches
    return plugins.load("quantizers", method).quantize(
        model, lambda: iter(samples), options=options, target=TARGET, seed=0, out_dir=out_dir
    )


def rows(model: LoadedModel, artifact: Any) -> dict[str, Any]:
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        return {row.name: row for row in session.layers(tiny_batches(1, 2)[0])}


def test_layers_of_the_eager_flow_bear_the_names_of_the_float_ones(
    model: LoadedModel, tmp_path: Path
) -> None:
    fused = rows(model, quantize(model, tmp_path / "fused", "torch-eager-static"))
    computing = {name: row for name, row in fused.items() if row.computes}
    assert set(computing) == {"stem.0", "conv", "hidden", "head"}
    assert all(row.quantized for row in computing.values())
    assert fused["stem.0"].covers == ("stem.0", "stem.1", "stem.2")
    single = rows(model, quantize(model, tmp_path / "single", "torch-eager-static", fuse=False))
    assert single["stem.0"].covers == ()
    assert {"stem.0", "stem.1", "conv", "bn"} <= set(single)


def test_both_flows_agree(model: LoadedModel, tmp_path: Path) -> None:
    """The same observers see the same tensors; only what an observer shares differs."""
    inputs = tiny_batches(1, 32, seed=7)[0]
    backend = plugins.load("backends", "torch")
    outputs = []
    for method in METHODS:
        artifact = quantize(model, tmp_path / method, method, observer="minmax")
        with backend.open_candidate(artifact, model=model, target=TARGET) as session:
            outputs.append(session.run(inputs)["output"])
    difference = np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max()
    assert difference < 0.05


def test_a_model_without_stubs_taken_as_it_is_does_not_run(
    model: LoadedModel, tmp_path: Path
) -> None:
    with pytest.raises(QuantizeError, match="no QuantStub stands before it"):
        quantize(model, tmp_path, "torch-eager-static", stubs="own")


def test_functions_between_modules_are_named_as_the_reason(tmp_path: Path) -> None:
    """The tiny network adds two quantized tensors with +."""
    functional = tiny_model(Format.TORCH_MODULE, tmp_path)
    with pytest.raises(QuantizeError, match=r"aten::add.*FloatFunctional"):
        quantize(functional, tmp_path / "out", "torch-eager-static")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep_float": {"types": ["Sequential", "Conv2d", "Linear"]}}, "nothing was quantized"),
        ({"activations": "quint8/symmetric", "reduce_range": True}, "cannot reduce the range"),
        ({"weights": "int8/per-tensor/affine", "engine": "onednn"}, "no kernels for affine"),
        ({"weights": "int8/per-channel/affine", "weight_observer": "mse"}, "symmetric scales"),
    ],
)
def test_what_cannot_be_is_refused(
    model: LoadedModel, tmp_path: Path, method: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(QuantizeError, match=said):
        quantize(model, tmp_path, method, **options)


def test_a_float_functional_is_not_kept_by_itself(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="keep the module around it"):
        quantize(model, tmp_path, "torch-eager-static", keep_float=["sum"])


@pytest.mark.parametrize("method", METHODS)
def test_samples_of_a_wrong_shape_are_said(model: LoadedModel, tmp_path: Path, method: str) -> None:
    wrong = [{"image": np.ones((2, 4, 12, 12), np.float32)}]
    with pytest.raises(QuantizeError, match=r"samples of shape \[2, 4, 12, 12\]"):
        quantize(model, tmp_path, method, batches=wrong)


@pytest.mark.parametrize("method", METHODS)
def test_a_root_that_is_a_sequential_is_quantized(
    model: LoadedModel, tmp_path: Path, method: str
) -> None:
    """Stubs are put into it without becoming steps of it."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(800, 10)
    ).eval()
    own = replace(model, module=net)
    found = rows(own, quantize(own, tmp_path / "all", method))
    assert {name for name, row in found.items() if row.computes and row.quantized} == {"0", "3"}
    part = rows(own, quantize(own, tmp_path / "part", method, keep_float={"last": 1}))
    assert {name for name, row in part.items() if row.computes and row.quantized} == {"0"}


def test_symmetric_and_affine_weights_are_what_they_say(model: LoadedModel, tmp_path: Path) -> None:
    for weights, scheme in (
        ("int8/per-tensor/affine", "per-tensor-affine"),
        ("int8/per-channel/affine", "per-channel-affine"),
        ("int8/per-channel", "per-channel-symmetric"),
    ):
        made = quantize(model, tmp_path / scheme, "torch-fx-static", weights=weights)
        assert rows(model, made)["hidden"].weight.scheme == scheme


@pytest.mark.parametrize("engine", ["x86", "qnnpack"])
def test_functional_convolutions_are_written_and_opened_again(
    model: LoadedModel, tmp_path: Path, engine: str
) -> None:
    """Their packed weights are C++ objects, of another layout for each engine."""

    class Functional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = torch.nn.Parameter(0.2 * torch.randn(8, 3, 3, 3))
            self.deep = torch.nn.Parameter(0.3 * torch.randn(8, 1, 3, 3))
            self.bias = torch.nn.Parameter(torch.rand(8))

        def forward(self, x: Any) -> Any:
            convolved = torch.nn.functional.conv2d
            x = convolved(x, self.wide, self.bias, (1, 1), (1, 1), (1, 1), 1).relu()
            return convolved(x, self.deep, None, (2, 2), (0, 0), (2, 2), 8).mean((2, 3))

    torch.manual_seed(0)
    inside = torch.nn.Sequential()
    inside.add_module("block", Functional())
    own = replace(model, module=inside.eval())
    target = target_for("torch", {"engine": engine})
    batches = tiny_batches()
    artifact = plugins.load("quantizers", "torch-fx-static").quantize(
        own, lambda: iter(batches), options={}, target=target, seed=0, out_dir=tmp_path
    )
    backend = plugins.load("backends", "torch")
    inputs = tiny_batches(1, 16, seed=3)[0]
    with backend.open_reference(own, target=target) as session:
        clean = session.run(inputs)["output"]
    with backend.open_candidate(artifact, model=own, target=target) as session:
        noisy = session.run(inputs)["output"]
        layers = [row for row in session.layers(inputs) if row.computes]
    assert [row.params_quantized for row in layers] == [216, 72]
    assert np.square(noisy - clean).sum() < 0.001 * np.square(clean).sum()
