"""2:4 pruning: the right weights go, the pattern survives int8 and training, a broken one is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.core.layer import LayerRow
from gate.quantize._torch_sparse import mask_2_4
from gate.quantize.base import QuantizeError
from gate.testing.tiny import target_for, tiny_batches, tiny_model

torch = pytest.importorskip("torch")

TARGET = target_for("torch", {"engine": "x86"})


def quantized(tmp_path: Path, **options: Any) -> Artifact:
    tmp_path.mkdir(exist_ok=True)
    batches = tiny_batches(2)
    return plugins.load("quantizers", "sparse-2-4").quantize(
        tiny_model(Format.TORCH_MODULE, tmp_path),
        lambda: iter(batches),
        options=options,
        target=TARGET,
        seed=0,
        out_dir=tmp_path,
    )


def rows_of(artifact: Artifact, tmp_path: Path) -> dict[str, LayerRow]:
    model = tiny_model(Format.TORCH_MODULE, tmp_path)
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        return {row.name: row for row in session.layers(tiny_batches(1, 2)[0])}


def test_the_two_largest_of_four_stay() -> None:
    from torch.ao.pruning import WeightNormSparsifier

    layer = torch.nn.Sequential(torch.nn.Linear(16, 8, bias=False))
    sparsifier = WeightNormSparsifier(
        sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2
    )
    sparsifier.prepare(layer, [{"tensor_fqn": "0.weight"}])
    before = layer[0].parametrizations.weight.original.detach().clone()
    sparsifier.step()
    assert torch.equal(layer[0].weight != 0, mask_2_4(before))


def test_a_convolution_is_pruned_along_its_input_channels() -> None:
    weight = torch.randn(6, 8, 3, 3)
    mask = mask_2_4(weight)
    for output, group, y, x in ((0, 0, 0, 0), (5, 1, 2, 1)):
        four = weight[output, 4 * group : 4 * group + 4, y, x].abs()
        kept = mask[output, 4 * group : 4 * group + 4, y, x]
        assert set(four[kept].tolist()) == set(four.sort().values[2:].tolist())


def test_int8_holds_the_pattern_in_every_layer_that_can(tmp_path: Path) -> None:
    rows = rows_of(quantized(tmp_path / "q", dense=["head"]), tmp_path)
    held = {name: (row.groups_sparse, row.groups_of_four) for name, row in rows.items()}
    # Three input channels are no multiple of four.
    assert held["stem.0"] == (0, 0)
    assert held["conv"] == (16 * 16 * 9 // 4,) * 2
    assert held["hidden"] == (32 * 256 // 4,) * 2
    sparse, groups = held["head"]
    assert groups == 10 * 32 // 4
    assert sparse < groups / 2


def test_training_moves_the_rest_and_no_zero(tmp_path: Path) -> None:
    plain = rows_of(quantized(tmp_path / "plain"), tmp_path)
    artifact = quantized(tmp_path / "tuned", fine_tune={"epochs": 1, "learning_rate": 1e-3})
    tuned = rows_of(artifact, tmp_path)
    assert tuned["conv"].groups_sparse == tuned["conv"].groups_of_four > 0
    assert tuned["conv"].weight is not None
    assert plain["conv"].weight is not None
    assert tuned["conv"].weight.scales != plain["conv"].weight.scales
    assert artifact.options["fine_tune"]["epochs"] == 1


def test_a_broken_pattern_is_seen(tmp_path: Path) -> None:
    artifact = quantized(tmp_path / "q")
    content = torch.load(artifact.path, weights_only=True)
    weight = content["state"]["conv.weight"]
    whole = torch._make_per_channel_quantized_tensor(
        torch.ones_like(weight.int_repr()),
        weight.q_per_channel_scales(),
        weight.q_per_channel_zero_points(),
        weight.q_per_channel_axis(),
    )
    content["state"]["conv.weight"] = whole
    torch.save(content, artifact.path)
    rows = rows_of(artifact, tmp_path)
    assert rows["conv"].groups_sparse == 0
    assert rows["hidden"].groups_sparse == rows["hidden"].groups_of_four


def test_refusals_say_what_and_why(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="'nowhere' matches no module"):
        quantized(tmp_path / "a", dense=["nowhere"])
    with pytest.raises(QuantizeError, match="nothing to prune"):
        quantized(tmp_path / "b", dense=["conv", "hidden", "head"])
