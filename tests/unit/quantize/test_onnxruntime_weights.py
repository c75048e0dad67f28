"""ONNX Runtime's weights by block and its float16: what the file holds, and what the backend says of it."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gate import plugins
from gate.quantize.base import QuantizeError
from tests.unit.onnx_models import (
    Builder,
    cnn_model,
    images,
    loaded,
    mlp_model,
    quantize,
    relative_mse_percent,
    target,
)

NBITS, FP16 = "onnxruntime-matmul-nbits", "onnxruntime-fp16"
INPUTS = {"image": np.random.default_rng(3).standard_normal((16, 64)).astype(np.float32)}


def mlp(folder):
    return mlp_model(folder, hidden=96, narrow=32)


def opened(artifact, model, inputs=INPUTS):
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_reference(model, target=target()) as session:
        x = session.run(inputs)["output"]
        size = session.packed_bytes()
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = {row.name: row for row in session.layers(inputs)}
        y = session.run(inputs)["output"]
        return rows, relative_mse_percent(x, y), session.packed_bytes() / size


@pytest.mark.parametrize(("bits", "limit"), [(2, 60.0), (4, 3.0), (8, 0.01)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_of_few_bits_are_packed(tmp_path, bits, limit, symmetric):
    model = mlp(tmp_path)
    made = quantize(NBITS, model, tmp_path / "out", bits=bits, symmetric=symmetric)
    rows, error, size = opened(made, model)
    assert 0 < error < limit
    assert size < bits / 32 + 0.09  # scales by block and zero points come on top
    assert {name for name, row in rows.items() if row.computes} == {"first", "second", "last"}
    for name, (inner, outer) in {"first": (64, 96), "second": (96, 32), "last": (32, 10)}.items():
        row = rows[name]
        assert row.op == "MatMulNBits"
        assert not row.quantized  # weights are dequantized, the product is in float
        assert row.params == row.params_quantized == row.macs == inner * outer
        assert row.weight.dtype == f"uint{bits}"
        assert row.weight.scheme == f"per-block-32-{'symmetric' if symmetric else 'affine'}"
        assert (row.weight.axis, row.weight.output_axis) == (1, 1)
        assert len(row.weight.scales) == len(row.weight.zero_points) == row.weight.channels == outer


def test_told_parameters_are_those_of_the_kernel(tmp_path):
    """A row of the identity matrix gives a row of the weight as the kernel has it: all its values lie
    on the grid of the scale and zero point that the table tells (one block a column)."""
    b = Builder()
    b.add("MatMul", "product", ["image", b.weight("w", 16, 8)], "output")
    model = loaded(b.save(tmp_path / "one.onnx", ["N", 16]))
    made = quantize(NBITS, model, tmp_path / "out", block_size=16, symmetric=False)
    backend = plugins.load("backends", "onnxruntime")
    identity = {"image": np.eye(16, dtype=np.float32)}
    with backend.open_candidate(made, model=model, target=target()) as session:
        weight = session.run(identity)["output"]
        (row,) = session.layers(identity)
    codes = weight / row.weight.scales + row.weight.zero_points
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-4)
    assert set(np.rint(codes).min(axis=0)) == {0}
    assert set(np.rint(codes).max(axis=0)) == {15}


def test_accuracy_level_4_multiplies_integers(tmp_path):
    model = mlp(tmp_path)
    made = quantize(NBITS, model, tmp_path / "out", bits=8, accuracy_level=4)
    rows, error, _ = opened(made, model)
    assert 0 < error < 0.05
    assert all(row.quantized for row in rows.values() if row.computes)


def test_qdq_is_what_the_runtime_makes_of_it(tmp_path):
    model = mlp(tmp_path)
    made = quantize(NBITS, model, tmp_path / "out", format="QDQ")
    rows, error, _ = opened(made, model)
    assert 0 < error < 3
    for row in (rows["second"], rows["last"]):
        assert (row.op, row.quantized) == ("MatMulNBits", True)
        assert (row.weight.dtype, row.weight.scheme) == ("int4", "per-block-32-symmetric")
        assert row.params == row.params_quantized


def test_bad_scales_by_block_are_told(tmp_path):
    model = mlp(tmp_path)
    made = quantize(NBITS, model, tmp_path / "out")
    proto = onnx.load(made.path)
    tensor = next(t for t in proto.graph.initializer if t.name == "w2_scales")
    value = numpy_helper.to_array(tensor).copy()
    value.flat[4] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(proto, made.path)
    rows, _, _ = opened(made, model)
    assert np.isnan(rows["second"].weight.scales).sum() == 1


def test_hqq_loses_less(tmp_path):
    model = mlp(tmp_path)
    errors = []
    for algorithm in ("nearest", "hqq"):
        options = {"algorithm": algorithm, "symmetric": False}
        rows, error, _ = opened(quantize(NBITS, model, tmp_path / algorithm, **options), model)
        assert all(
            row.weight.scheme == "per-block-32-affine" for row in rows.values() if row.params
        )
        errors.append(error)
    assert errors[1] < errors[0]
    with pytest.raises(QuantizeError, match="hqq gives zero points in floating point"):
        quantize(NBITS, model, tmp_path / "out", algorithm="hqq")


def test_qdq_of_8_bits_that_does_nothing_is_refused(tmp_path):
    with pytest.raises(
        QuantizeError, match=r"nothing was quantized.* Gemm .2.*only supports QOper"
    ):
        quantize(NBITS, mlp(tmp_path), tmp_path / "out", bits=8, format="QDQ")


def test_accuracy_level_of_a_qdq_file_is_refused(tmp_path):
    with pytest.raises(QuantizeError, match="accuracy_level is not written into a QDQ file"):
        quantize(NBITS, mlp(tmp_path), tmp_path / "out", format="QDQ", accuracy_level=4)


def test_no_matrix_product_is_nothing_quantized(tmp_path):
    b = Builder()
    b.add("Conv", "conv", ["image", b.weight("w", 4, 3, 3, 3)], "output")
    model = loaded(b.save(tmp_path / "conv.onnx", ["N", 3, 8, 8]))
    with pytest.raises(
        QuantizeError, match="nothing was quantized: the model's operators are Conv"
    ):
        quantize(NBITS, model, tmp_path / "out")


@pytest.mark.parametrize("kept", ["first", "second"])
def test_a_layer_is_kept_in_float(tmp_path, kept):
    model = mlp(tmp_path)
    rows, _, _ = opened(quantize(NBITS, model, tmp_path / "out", keep_float=[kept]), model)
    assert {n for n, r in rows.items() if r.computes and not r.params_quantized} == {kept}


def test_float16(tmp_path):
    model = cnn_model(tmp_path)
    rows, error, size = opened(quantize(FP16, model, tmp_path / "out"), model, images(16))
    assert 0 < error < 1e-3
    assert size < 0.55
    for row in rows.values():
        assert {info.dtype for info in (*row.inputs, *row.outputs)} == {"float16"}
        assert row.params_half == row.params
        assert not row.quantized
    assert rows["conv1"].covers == ("conv1", "bn1")
    assert not {row.op for row in rows.values()} & {"Cast"}


@pytest.mark.parametrize("options", [{"keep_ops": ["Conv", "Add"]}, {"keep_float": ["conv*"]}])
def test_float16_keeps_what_is_named(tmp_path, options):
    model = cnn_model(tmp_path)
    rows, error, _ = opened(quantize(FP16, model, tmp_path / "out", **options), model, images(16))
    assert 0 < error < 1e-3
    assert rows["conv1"].params_half == rows["conv2"].params_half == 0
    assert rows["conv1"].outputs[0].dtype == "float32"
    assert rows["fc"].params_half == rows["fc"].params


def test_float16_of_nothing_is_refused(tmp_path):
    with pytest.raises(QuantizeError, match="nothing was quantized: no weight is in float16"):
        quantize(FP16, cnn_model(tmp_path), tmp_path / "out", keep_ops=["Conv", "Gemm"])
    with pytest.raises(QuantizeError, match="keep_ops: the model has no MatMul; it has Add, Clip"):
        quantize(FP16, cnn_model(tmp_path), tmp_path / "other", keep_ops=["MatMul"])


def test_weights_beyond_float16_are_refused(tmp_path):
    b = Builder()
    b.add("MatMul", "product", ["image", b.constant("w", np.full((64, 8), 7e4, "f4"))], "output")
    model = loaded(b.save(tmp_path / "large.onnx", ["N", 64]))
    with pytest.raises(QuantizeError, match=r"w of product holds 70000, float16 ends at 65504"):
        quantize(FP16, model, tmp_path / "out")
