"""Layers cut out of real candidates: saved to run by themselves, behind transforms, and refused in words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gate.backends._torch_session import TorchSession
from gate.backends.base import BackendError
from gate.backends.isolation import IsolatingSession
from gate.backends.transform import transformed
from gate.core.artifact import Format
from gate.core.spec import InputSpec
from gate.core.transform import parse_transforms
from gate.plugins import load
from gate.testing.tiny import INPUT, target_for, tiny_batches, tiny_model
from gate.tiers.reproduce import ReproduceError, Reproduction, reproduce

WAYS: dict[str, tuple[str, Format, Mapping[str, Any], str]] = {
    "qdq": ("onnxruntime-static", Format.ONNX, {}, "onnxruntime"),
    "qoperator": ("onnxruntime-static", Format.ONNX, {"format": "QOperator"}, "onnxruntime"),
    "onnx dynamic": ("onnxruntime-dynamic", Format.ONNX, {}, "onnxruntime"),
    "torch static": ("torch-fx-static", Format.TORCH_MODULE, {}, "torch"),
    "torch dynamic": ("torch-dynamic", Format.TORCH_MODULE, {}, "torch"),
}
IMAGES = tiny_batches(1, 4, seed=7)[0]


class Pair:
    """Both models of one way to quantize the tiny network."""

    def __init__(self, way: str, folder: Path) -> None:
        method, kind, options, self._backend = WAYS[way]
        self._target = target_for(self._backend)
        self._model = tiny_model(kind, folder)
        out = folder / "candidate"
        out.mkdir()
        self._artifact = load("quantizers", method).quantize(
            self._model,
            lambda: iter(tiny_batches()),
            options=options,
            target=self._target,
            seed=0,
            out_dir=out,
        )

    def reference(self) -> AbstractContextManager[Any]:
        return load("backends", self._backend).open_reference(self._model, target=self._target)

    def candidate(self) -> AbstractContextManager[Any]:
        return load("backends", self._backend).open_candidate(
            self._artifact, model=self._model, target=self._target
        )

    def save(self, layer: str, folder: Path) -> Reproduction:
        with self.reference() as reference, self.candidate() as candidate:
            return reproduce(
                reference, candidate, sample=IMAGES, layer=layer, folder=folder, about=["a test"]
            )


@pytest.fixture(scope="module", params=list(WAYS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("pair"))


def test_a_saved_layer_runs_without_the_gate_and_gives_the_same(pair: Pair, tmp_path: Path) -> None:
    with pair.candidate() as session:
        computing = [row.name for row in session.layers(IMAGES) if row.computes and row.quantized]
    layer = computing[-2]
    done = pair.save(layer, tmp_path / "repro")
    assert done.layer == layer
    assert 15.0 < done.sqnr_db < 70.0
    script = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", str(done.folder / "repro.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"SQNR {done.sqnr_db:.2f} dB" in script
    assert "largest difference from got.npy 0\n" in script
    text = (done.folder / "repro.py").read_text()
    assert "gate" not in text
    assert len(text.splitlines()) < 25


def test_a_layer_that_is_not_there_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(ReproduceError, match=r"'no\.such' is no layer"):
        pair.save("no.such", tmp_path)


def test_inputs_pass_through_declared_transforms(tmp_path: Path) -> None:
    pair = Pair("qdq", tmp_path)
    halved = parse_transforms({"inputs": {INPUT: {"dtype": "float16"}}})
    with pair.candidate() as plain:
        session = transformed(plain, halved)
        assert isinstance(session, IsolatingSession)
        given = session.isolate(IMAGES).inside(IMAGES)
        assert given[INPUT].dtype == np.float16
        assert plain.isolate(IMAGES).inside(IMAGES)[INPUT] is IMAGES[INPUT]


class Undecided(nn.Module):
    """Cannot be traced: it branches on values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if x.sum() > 0 else self.linear(-x)


class Stateful(nn.Module):
    """Its head reads the last state of a recurrent layer, which is not that layer's first output."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(x)[1][0][0])


class Reshaping(nn.Module):
    """Takes the size of its input as a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x.view(x.size(0), -1)


def opened(module: nn.Module, *shape: int) -> TorchSession:
    inputs = {"x": InputSpec(shape=("N", *shape), dtype="float32")}
    return TorchSession(module.eval(), reference=None, inputs=inputs, engine="x86", threads=1)


def array(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}


def test_a_model_that_cannot_be_traced_says_so() -> None:
    with pytest.raises(BackendError, match="cannot be traced"):
        opened(Undecided(), 4).isolate(array(2, 4))


def test_a_second_output_is_refused_with_its_reason() -> None:
    session = opened(Stateful(), 3, 4)
    pieces = session.isolate(array(2, 3, 4)).pieces
    rows = [row.name for row in session.layers(array(2, 3, 4))]
    (chosen,) = (name for name in rows if "getitem" in name)  # the state's first layer
    assert pieces[chosen] == "it reads another output of a layer than the first"
    assert not isinstance(pieces["cell"], str)


def test_sizes_are_taken_from_the_operand_whatever_the_batch() -> None:
    session = opened(Reshaping(), 1, 5, 5)
    pieces = session.isolate(array(2, 1, 5, 5)).pieces
    (name,) = (name for name in pieces if "view" in name)
    piece = pieces[name]
    assert not isinstance(piece, str)
    value = np.arange(7 * 2 * 3 * 3, dtype=np.float32).reshape(7, 2, 3, 3)
    np.testing.assert_array_equal(piece.run([value]), value.reshape(7, -1))
