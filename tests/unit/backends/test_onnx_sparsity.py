"""The 2:4 pattern counted in ONNX files, float and int8, is the one that torch pruned to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.backends._onnx_fold import Folder
from gate.backends._onnx_graph import Graph
from gate.backends._onnx_sparsity import Groups, groups_of_four
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


def groups(nodes: list[Any], constants: dict[str, Any], folder: Path) -> list[Groups]:
    """Of the layers of a graph from x, of eight features, to y."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opened = Graph(helper.make_model(graph), folder)
    return [groups_of_four(layer, opened) for layer in Folder(opened).layers]


def test_what_cannot_be_read_is_not_taken_for_free(tmp_path: Path) -> None:
    from onnx.helper import make_node

    weight = np.ones((8, 3), np.float32)
    computed = [make_node("Relu", ["w"], ["v"]), make_node("MatMul", ["x", "v"], ["y"])]
    found = groups(computed, {"w": weight}, tmp_path)
    assert "the weight v or its zero point is no constant" in found[-1].unknown
    packed = [
        make_node(
            "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft",
            K=8, N=3, bits=4, block_size=16,
        )
    ]  # fmt: skip
    constants = {"w": np.zeros((3, 1, 8), np.uint8), "s": np.ones(3, np.float32)}
    (found,) = groups(packed, constants, tmp_path)
    assert "packed bytes" in found.unknown
    (found,) = groups(
        [make_node("Einsum", ["x", "w"], ["y"], equation="nk,km->nm")], {"w": weight}, tmp_path
    )
    assert "no known axis" in found.unknown


def test_two_activations_have_no_groups(tmp_path: Path) -> None:
    from onnx.helper import make_node

    nodes = [make_node("Transpose", ["x"], ["t"]), make_node("MatMul", ["x", "t"], ["y"])]
    assert groups(nodes, {}, tmp_path)[-1] == Groups()


def test_one_zero_point_of_many_blocks_is_read(tmp_path: Path) -> None:
    from onnx.helper import make_node

    stored = np.full((8, 3), 5, np.uint8)
    stored[[0, 2, 4, 7]] = 9
    nodes = [
        make_node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=0, block_size=4),
        make_node("MatMul", ["x", "v"], ["y"]),
    ]
    scales = np.ones((2, 3), np.float32)
    constants = {"w": stored, "s": scales, "z": np.full((2, 3), 9, np.uint8)}
    assert groups(nodes, constants, tmp_path) == [Groups(total=6, sparse=6)]
    constants["z"] = np.array([[9, 9, 9], [5, 5, 5]], np.uint8)
    assert groups(nodes, constants, tmp_path)[0].unknown
