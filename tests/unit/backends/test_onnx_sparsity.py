"""The 2:4 pattern counted in ONNX files, float and int8, is the one that torch pruned to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.core.layer import LayerRow
from gate.models.base import LoadedModel
from gate.models.conversions import convert
from gate.quantize._torch_sparse import prunable, prune, settle
from gate.testing.tiny import target_for, tiny_batches, tiny_model

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

ORT = target_for("onnxruntime")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The tiny network as an ONNX file; its last layer stays dense."""
    folder = tmp_path_factory.mktemp("pruned")
    model = tiny_model(Format.TORCH_MODULE, folder)
    names = prunable(model.module, dense=["head"])
    assert names == ["conv", "hidden"]
    prune(model.module, names)
    settle(model.module, names)
    return convert(replace(model, sha256="pruned"), Format.ONNX, out_dir=folder)


def by_size(rows: tuple[LayerRow, ...]) -> dict[int, tuple[int, int]]:
    return {r.params: (r.groups_sparse, r.groups_of_four) for r in rows if r.computes}


def assert_pattern(rows: tuple[LayerRow, ...]) -> None:
    found = by_size(rows)
    assert found[16 * 3 * 9] == (0, 0)  # three input channels
    assert found[16 * 16 * 9] == (576, 576)
    assert found[32 * 256] == (2048, 2048)
    sparse, groups = found[10 * 32]
    assert groups == 80
    assert sparse < 40


def test_of_the_float_file(pruned: LoadedModel) -> None:
    with plugins.load("backends", "onnxruntime").open_reference(pruned, target=ORT) as session:
        assert_pattern(session.layers(tiny_batches(1, 2)[0]))


@pytest.mark.parametrize("weights", ["int8/per-channel", "uint8/per-tensor"])
def test_of_int8_weights(pruned: LoadedModel, tmp_path: Path, weights: str) -> None:
    batches = tiny_batches(1)
    artifact = plugins.load("quantizers", "onnxruntime-static").quantize(
        pruned,
        lambda: iter(batches),
        options={"weights": weights},
        target=ORT,
        seed=0,
        out_dir=tmp_path,
    )
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_candidate(artifact, model=pruned, target=ORT) as session:
        assert_pattern(session.layers(batches[0]))
