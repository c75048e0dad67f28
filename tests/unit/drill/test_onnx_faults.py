"""Every artifact fault in every form: it goes in, the model runs, the right weights have changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from gate.core.artifact import Artifact
from gate.drill.base import Equivalent, NotHere
from gate.drill.catalogue import FAULTS
from gate.drill.plant import Planted, plant
from tests.unit.drill.nets import outputs_of, real_weights

ARTIFACT_FAULTS = [name for name, fault in FAULTS.items() if fault.point == "artifact"]

PER_CHANNEL = {"per_tensor", "scales_shuffled", "wrong_axis", "wrong_axis_in_the_file"}
FIXED_RANGES = {"one_range_for_all", "ranges_to_integers", "rounded_twice"}
CONVOLUTIONS = {
    "bn_folded_twice", "bn_folded_wrong_axis", "kernel_flipped", "layers_swapped",
    "padding_shifted", "padding_with_zero", "stride_changed", "wrong_at_padded_edges",
}  # fmt: skip
GRAPH = {
    "activation_removed",
    "clipped_at_6",
    "layout_at_flatten",
    "op_fallback",
    "residual_dropped",
}

# What each form has no place for; everything else must go in.
NOWHERE = {
    "qdq": {"gates_reordered"},
    "qoperator": {"gates_reordered", "transposed_conv_axis", "wrong_axis_in_the_file"},
    "dynamic": PER_CHANNEL
    | FIXED_RANGES
    | {"gates_reordered", "layer_repeated", "op_fallback", "transposed_conv_axis"},
    "lstm": PER_CHANNEL
    | FIXED_RANGES
    | CONVOLUTIONS
    | GRAPH
    | {"borders_in_float", "layer_repeated", "transposed_conv_axis", "weight_transposed"},
}
# Two products of small codes rarely leave 16 bits.
MAY_BE_EQUIVALENT = {"saturating_pairs"}


def planted(
    name: str, form: str, candidates: dict[str, Artifact], folder: Path, *, seed: int = 0
) -> Planted:
    return plant(
        FAULTS[name],
        candidates[form],
        rng=np.random.default_rng(seed),
        out_dir=folder,
        outputs=outputs_of(form),
        stopped=(Exception,),
    )


@pytest.mark.parametrize("form", NOWHERE)
@pytest.mark.parametrize("name", ARTIFACT_FAULTS)
def test_fault_goes_in(
    name: str, form: str, candidates: dict[str, Artifact], tmp_path: Path
) -> None:
    fault = FAULTS[name]
    if name in NOWHERE[form]:
        with pytest.raises(NotHere) as refused:
            planted(name, form, candidates, tmp_path)
        assert str(refused.value)
        return
    try:
        done = planted(name, form, candidates, tmp_path)
    except Equivalent:
        assert name in MAY_BE_EQUIVALENT
        return
    assert done.artifact.path != candidates[form].path
    assert (done.injection.layer is not None) == fault.has_layer
    assert done.injection.detail
    assert done.runs or fault.stops
    if not done.runs:
        return
    healthy, broken = (outputs_of(form)(a) for a in (candidates[form], done.artifact))
    changed = any(x.tobytes() != y.tobytes() for x, y in zip(healthy, broken, strict=True))
    if fault.changes == "outputs":
        assert changed
    if fault.changes == "cost":
        assert not changed
        assert done.artifact.size_bytes > 1.1 * candidates[form].size_bytes
    if fault.has_layer:
        _only_its_own_weights_changed(candidates[form], done)


def _only_its_own_weights_changed(healthy: Artifact, done: Planted) -> None:
    before, after = real_weights(healthy.path), real_weights(done.artifact.path)
    names = {done.injection.layer, *done.injection.also}
    named = {
        name for name in {n for n, _ in before} if any(n and name.startswith(n) for n in names)
    }
    for (layer, place), values in before.items():
        if layer in named:
            continue
        now = after[layer, place]
        assert values.shape == now.shape, layer
        assert np.array_equal(values, now), layer


@pytest.mark.parametrize("name", ["scales_shuffled", "zero_point_off_by_4", "output_transposed"])
def test_the_seed_decides(name: str, candidates: dict[str, Artifact], tmp_path: Path) -> None:
    folders = [tmp_path / str(i) for i in range(9)]
    for folder in folders:
        folder.mkdir()
    again = [planted(name, "qdq", candidates, folder, seed=3) for folder in folders[:2]]
    assert again[0].artifact.sha256 == again[1].artifact.sha256
    assert again[0].injection == again[1].injection
    others = {
        planted(name, "qdq", candidates, folder, seed=seed).injection.layer
        for seed, folder in enumerate(folders[2:])
    }
    assert len(others) > 1


def test_a_fault_without_effect_is_equivalent(
    candidates: dict[str, Artifact], tmp_path: Path
) -> None:
    """Twelve places are tried, and all outputs must be the same to the bit."""
    calls = []

    def deaf(artifact: Artifact) -> list[np.ndarray]:
        calls.append(artifact)
        return [np.zeros(3)]

    with pytest.raises(Equivalent, match="no output bit changes in"):
        plant(
            FAULTS["scale_x1_05"],
            candidates["qdq"],
            rng=np.random.default_rng(0),
            out_dir=tmp_path,
            outputs=deaf,
        )
    assert len(calls) == 1 + 6


def test_a_float_model_has_no_place(candidates: dict[str, Artifact], tmp_path: Path) -> None:
    done = planted("nothing_quantized", "qdq", candidates, tmp_path)
    integers = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"}
    assert not integers & {node.op_type for node in onnx.load(done.artifact.path).graph.node}
    (tmp_path / "again").mkdir()
    with pytest.raises(NotHere):
        planted("scale_x1_05", "qdq", {"qdq": done.artifact}, tmp_path / "again")
