"""torchao's methods: what the file holds, what the layer table says, what is refused."""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.core.layer import LayerRow
from gate.quantize.base import QuantizeError
from gate.testing.tiny import target_for, tiny_batches, tiny_model

torch = pytest.importorskip("torch")
pytest.importorskip("torchao")

TARGET = target_for("torch", {"engine": "x86"})


def quantized(tmp_path: Path, method: str = "torchao-weight-only", **options: Any) -> Artifact:
    tmp_path.mkdir(exist_ok=True)
    model = tiny_model(Format.TORCH_MODULE, tmp_path)
    plugin = plugins.load("quantizers", method)
    return plugin.quantize(model, None, options=options, target=TARGET, seed=0, out_dir=tmp_path)


def rows_of(artifact: Artifact, tmp_path: Path) -> dict[str, LayerRow]:
    model = tiny_model(Format.TORCH_MODULE, tmp_path)
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        return {row.name: row for row in session.layers(tiny_batches(1, 2)[0])}


def test_weights_of_few_bits_are_told_apart_from_what_they_take(tmp_path: Path) -> None:
    four = quantized(tmp_path / "four", weights="int4", group=8)
    eight = quantized(tmp_path / "eight", weights="int8", group=8)
    # A byte each, whatever the type.
    assert four.size_bytes == pytest.approx(eight.size_bytes, rel=0.1)
    row = rows_of(four, tmp_path)["hidden"]
    assert row.weight is not None
    assert (row.weight.dtype, row.weight.scheme) == ("int4", "per-block-8-symmetric")
    assert len(row.weight.scales) == row.weight.channels == 32
    assert (row.params_quantized, row.quantized) == (32 * 256, False)


def test_the_runtime_holds_a_byte_a_weight_and_its_scales(tmp_path: Path) -> None:
    model = tiny_model(Format.TORCH_MODULE, tmp_path)
    artifact = quantized(tmp_path / "q", weights="int2", group=8)
    backend = plugins.load("backends", "torch")
    with backend.open_reference(model, target=TARGET) as session:
        before = session.packed_bytes()
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        after = session.packed_bytes()
    weights = 32 * 256 + 10 * 32
    # Integers and their zero points take a byte, scales four.
    assert before - after == 4 * weights - weights - 5 * weights // 8


def test_the_largest_scale_of_each_channel_stands_for_its_blocks(tmp_path: Path) -> None:
    module = tiny_model(Format.TORCH_MODULE, tmp_path).module
    row = rows_of(
        quantized(tmp_path / "q", weights="int4", group=64, keep_float=["head"]), tmp_path
    )["hidden"]
    blocks = module.hidden.weight.detach().reshape(32, 4, 64).abs().amax(dim=2).numpy()
    assert row.weight is not None
    # Symmetric int4 spans -8 to 7 with a step of amax / 7.5.
    np.testing.assert_allclose(row.weight.scales, blocks.max(axis=1) / 7.5, rtol=1e-5)


def test_dynamic_layers_multiply_integers(tmp_path: Path) -> None:
    rows = rows_of(quantized(tmp_path / "q", "torchao-dynamic", keep_float=["head"]), tmp_path)
    assert rows["hidden"].quantized
    assert rows["hidden"].weight is not None
    assert rows["hidden"].weight.scheme == "per-channel-symmetric"
    assert not rows["head"].quantized
    assert rows["head"].params_quantized == 0


def test_the_file_opens_without_classes_of_torchao(tmp_path: Path) -> None:
    artifact = quantized(tmp_path / "q", weights="int4", group=8)
    with zipfile.ZipFile(artifact.path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        named = {
            str(argument)
            for _, argument, _ in pickletools.genops(archive.read(name))
            if isinstance(argument, str)
        }
    assert not any("torchao" in word for word in named)
    assert "hidden.weight:qdata" in torch.load(artifact.path, weights_only=True)["state"]


def test_the_file_is_what_runs(tmp_path: Path) -> None:
    artifact = quantized(tmp_path / "q")
    content = torch.load(artifact.path, weights_only=True)
    content["state"]["head.weight:qdata"].zero_()
    torch.save(content, artifact.path)
    model = tiny_model(Format.TORCH_MODULE, tmp_path)
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        (output,) = session.run(tiny_batches(1, 2)[0]).values()
    np.testing.assert_array_equal(output, np.tile(model.module.head.bias.detach(), (2, 1)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weights": "int4", "group": 7}, "no multiple of the group of 7"),
        ({"keep_float": ["hidden", "head"]}, "nothing to quantize"),
        ({"weights": "int8", "symmetric": False}, "int8 weights are symmetric"),
    ],
)
def test_refusals_say_what_and_why(tmp_path: Path, options: Any, told: str) -> None:
    with pytest.raises(QuantizeError, match=told):
        quantized(tmp_path / "q", **options)


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    artifact = quantized(tmp_path / "q")
    model = tiny_model(Format.TORCH_MODULE, tmp_path)
    plugin = plugins.load("quantizers", "torchao-weight-only")
    other = replace(artifact, options={**artifact.options, "keep_float": ["head"]})
    with pytest.raises(QuantizeError, match="does not fit the model"):
        plugin.restore(model, other, target=TARGET)
