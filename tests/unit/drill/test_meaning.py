"""What single faults do to the numbers, against computations of NumPy's and SciPy's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from gate.core.artifact import Artifact
from gate.drill import inject
from gate.drill.onnx_edit import Edit
from gate.drill.sites import weights
from gate.drill.stored import behind_layers
from tests.unit.drill.nets import run
from tests.unit.drill.test_onnx_faults import planted


def broken(name: str, artifact: Artifact, layer: str, *, seed: int = 0) -> Any:
    """The healthy model with a fault in one layer, unchecked."""
    model = onnx.load(artifact.path)
    injector = inject.load(name)
    place = injector.places(model).index(layer)
    injector(model, np.random.default_rng(seed), place=place)
    onnx.checker.check_model(model)
    return model


def weight(model: Any, layer: str) -> np.ndarray:
    edit = Edit(model)
    return next(w for w in weights(edit) if w.layer == layer).real(edit)


def outputs(model: Any, folder: Path, *batches: int) -> list[np.ndarray]:
    path = folder / "broken.onnx"
    onnx.save(model, path)
    return run(path, *batches)


FORMS = ["qdq", "qoperator", "dynamic"]


@pytest.mark.parametrize("form", FORMS)
def test_scale_x1_05(form: str, candidates: dict[str, Artifact]) -> None:
    before = weight(onnx.load(candidates[form].path), "first")
    after = weight(broken("scale_x1_05", candidates[form], "first"), "first")
    assert np.allclose(after, 1.05 * before, rtol=1e-6)


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_wrong_axis_multiplies_along_the_inputs(form: str, candidates: dict[str, Artifact]) -> None:
    model = onnx.load(candidates[form].path)
    edit = Edit(model)
    first = next(w for w in weights(edit) if w.layer == "first")
    codes, scale = edit.need(first.codes).astype(float), edit.need(first.scale).astype(float)
    expected = codes * scale[None, :, None, None]
    after = weight(broken("wrong_axis", candidates[form], "first"), "first")
    step = np.abs(expected).reshape(16, -1).max(1) / 127
    assert np.all(np.abs(after - expected) <= 0.5001 * step[:, None, None, None])
    assert not np.allclose(after, codes * scale[:, None, None, None], atol=step.max())


@pytest.mark.parametrize("form", FORMS)
def test_int4_has_at_most_fifteen_levels(form: str, candidates: dict[str, Artifact]) -> None:
    model = broken("int4", candidates[form], "first")
    edit = Edit(model)
    first = next(w for w in weights(edit) if w.layer == "first")
    assert len(np.unique(edit.need(first.codes).astype(int))) <= 15
    before = weight(onnx.load(candidates[form].path), "first")
    largest = np.abs(before).max()
    assert np.abs(weight(model, "first") - before).max() <= 1.1 * largest / 7


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_a_requantized_weight_keeps_its_bias(form: str, candidates: dict[str, Artifact]) -> None:
    """Its unit is input scale x weight scale: other scales must not move the bias."""

    def real_bias(model: Any) -> np.ndarray:
        edit = Edit(model)
        found = next(w for w in weights(edit) if w.layer == "fc")
        assert found.bias is not None
        unit = edit.need(found.scale).astype(float)
        return np.asarray(edit.need(found.bias.values) * unit)  # up to the input scale

    before = real_bias(onnx.load(candidates[form].path))
    after = real_bias(broken("per_tensor", candidates[form], "fc"))
    assert np.allclose(after, before, rtol=1e-2, atol=1e-3 * np.abs(before).max())


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_a_range_is_widened_on_both_sides_and_in_the_bias_behind(
    form: str, candidates: dict[str, Artifact], tmp_path: Path
) -> None:
    """If writer, readers and biases did not agree the outputs would be far off, not merely coarse."""
    healthy = run(candidates[form].path, 8)[0]
    model = broken("range_x8", candidates[form], "first")
    off = outputs(model, tmp_path, 8)[0] - healthy
    assert 0 < np.mean(off**2) < 0.02 * np.var(healthy)
    edit = Edit(model)
    one = next(s for s in behind_layers(edit) if s.layer == "first")
    scales = {float(edit.need(p.scale).reshape(-1)[0]) for p in (one.writer, *one.readers)}
    assert len(scales) == 1


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_truncation_is_the_floor_of_what_is_rounded(
    form: str, candidates: dict[str, Artifact], tmp_path: Path
) -> None:
    """No code is ever higher, and about half of them are one lower: rint(x) against floor(x)."""
    model = onnx.load(candidates[form].path)
    edit = Edit(model)
    step = next(s for s in behind_layers(edit) if s.layer == "fc").parameters(edit)[0]
    healthy = run(candidates[form].path, 8)[0]
    moved = (
        outputs(broken("rounding_truncates", candidates[form], "fc"), tmp_path, 8)[0] - healthy
    ) / step
    codes = np.rint(moved).astype(int)
    assert np.allclose(moved, codes, atol=1e-3)
    assert set(np.unique(codes)) == {-1, 0}
    assert 0.2 < np.mean(codes == -1) < 0.8


def test_padding_with_code_0_is_padding_with_minus_zero_point(
    candidates: dict[str, Artifact], tmp_path: Path
) -> None:
    """The healthy model, fed the border that the faulty one sees, gives the same interior."""
    healthy, faulty = run(candidates["qdq"].path, 2)[0], None
    faulty = outputs(broken("padding_with_zero", candidates["qdq"], "stem"), tmp_path, 2)[0]
    assert not np.array_equal(healthy, faulty)
    model = broken("padding_with_zero", candidates["qdq"], "stem")
    ((function),) = model.functions
    (pad,) = (node for node in function.node if node.op_type == "Pad")
    (amounts,) = (node.attribute[0].t for node in function.node if pad.input[1] in node.output)
    assert numpy_helper.to_array(amounts).tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    (stem,) = (node for node in model.graph.node if node.name == "stem")
    assert next(a for a in stem.attribute if a.name == "pads").ints == [0, 0, 0, 0]


@pytest.mark.parametrize("form", ["qdq", "qoperator", "dynamic", "lstm"])
def test_nothing_quantized_computes_what_the_codes_stand_for(
    form: str, candidates: dict[str, Artifact], tmp_path: Path
) -> None:
    shape = (8, 8) if form == "lstm" else (3, 16, 16)
    done = planted("nothing_quantized", form, candidates, tmp_path)
    healthy = run(candidates[form].path, 8, shape=shape)[0]
    off = run(done.artifact.path, 8, shape=shape)[0] - healthy
    assert np.mean(off**2) < 1e-3 * np.var(healthy)


def test_wrong_at_batch_1_is_right_otherwise(
    candidates: dict[str, Artifact], tmp_path: Path
) -> None:
    done = planted("wrong_at_batch_1", "qoperator", candidates, tmp_path)
    one, many = run(done.artifact.path, 1, 8)
    healthy_one, healthy_many = run(candidates["qoperator"].path, 1, 8)
    assert np.array_equal(many, healthy_many)
    assert not np.array_equal(one, healthy_one)


# Saturation: a single product of known codes, against vpmaddubsw written out in NumPy.


def product(codes: np.ndarray, zero: int, bias: bool) -> Any:
    """x (uint8, scale 1) times codes, result in steps of 100."""
    inputs, channels = codes.shape
    constants = {
        "one": np.float32(1), "zero": np.uint8(zero), "codes": codes.T.copy(),
        "unit": np.ones(channels, np.float32), "none": np.zeros(channels, np.int8),
        "out_scale": np.float32(300), "out_zero": np.uint8(128),
        "bias": (np.arange(channels) * 1000).astype(np.int32), "bias_zero": np.zeros(channels, np.int32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["codes", "unit", "none"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "unit", "bias_zero"], ["b"], axis=0),
        helper.make_node("Gemm", ["xd", "w", *(["b"] if bias else [])], ["y"], name="fc", transB=1),
        helper.make_node("QuantizeLinear", ["y", "out_scale", "out_zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "out_scale", "out_zero"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", inputs])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", channels])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def vpmaddubsw(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """uint8 (n, k) by int8 (k, m): pairs of products with 16-bit saturation, then an exact sum."""
    products = x.astype(np.int64)[:, :, None] * codes.astype(np.int64)[None]
    pairs = products[:, 0::2] + products[:, 1::2]
    return np.clip(pairs, -32768, 32767).sum(1)


@pytest.mark.parametrize(("largest", "bias"), [(127, True), (127, False), (63, True)])
def test_pairs_saturate_as_the_instruction_does(largest: int, bias: bool) -> None:
    random = np.random.default_rng(1)
    codes = random.integers(-largest, largest + 1, (32, 6)).astype(np.int8)
    zero = 3
    x = random.integers(0, 256, (40, 32)).astype(np.uint8)
    model = product(codes, zero, bias)
    injector = inject.load("saturating_pairs")
    faulty = onnx.ModelProto()
    faulty.CopyFrom(model)
    injection = injector(faulty, random)
    assert injection.layer == "fc"
    feeds = {"x": x.astype(np.float32) - zero}

    def result(one: Any) -> np.ndarray:
        session = onnxruntime.InferenceSession(
            one.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return np.asarray(session.run(None, feeds)[0])

    sums = vpmaddubsw(x, codes) - zero * codes.astype(np.int64).sum(0)
    if bias:
        sums = sums + np.arange(6) * 1000
    expected = (np.clip(np.rint(sums / np.float32(300)) + 128, 0, 255) - 128) * 300
    assert np.array_equal(result(faulty), expected)
    # Codes of seven bits cannot saturate: the rewritten layer then is the healthy one, to the bit.
    assert np.array_equal(result(model), result(faulty)) == (largest == 63)
