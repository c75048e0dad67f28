from dataclasses import replace

import pytest

from gate import plugins
from gate.judge.layers import qparams_fault
from gate.quantize.base import QuantizeError
from tests.unit.onnx_models import (
    COMPUTING,
    cnn_model,
    images,
    lstm_both_ways,
    lstm_model,
    quantize,
    relative_mse_percent,
    target,
    write,
)

METHOD = "onnxruntime-dynamic"


def observe(artifact, model, inputs):
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_reference(model, target=target()) as session:
        x = session.run(inputs)["output"]
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = {row.name: row for row in session.layers(inputs)}
        return rows, relative_mse_percent(x, session.run(inputs)["output"])


@pytest.mark.parametrize("weights", ["int8/per-tensor", "uint8/per-tensor"])
def test_cnn_folds_to_its_own_layers(tmp_path, weights):
    model = cnn_model(tmp_path)
    rows, error = observe(
        quantize(METHOD, model, tmp_path / "out", weights=weights), model, images(16)
    )
    assert 0 < error < 1
    assert {n for n, row in rows.items() if row.computes} == set(COMPUTING)
    for name in COMPUTING:
        row = rows[name]
        assert row.quantized
        assert row.params_quantized == row.params
        assert row.weight is not None
        assert row.weight.dtype == weights.split("/")[0]
        assert row.outputs[0].dtype == "float32"
    assert rows["conv1"].covers == ("conv1", "bn1")
    assert rows["relu1"].covers == ()
    assert not rows["relu1"].quantized


@pytest.mark.parametrize("weights", ["int8/per-tensor", "int8/per-channel"])
def test_lstm_and_linear(tmp_path, weights):
    model = lstm_model(tmp_path)
    rows, error = observe(
        quantize(METHOD, model, tmp_path / "out", weights=weights),
        model,
        images(16, shape=(8, 8)),
    )
    assert 0 < error < 1
    assert rows["lstm"].op == "DynamicQuantizeLSTM"
    assert rows["fc"].op in ("MatMulInteger", "DynamicQuantizeMatMul")
    assert rows["lstm"].quantized
    assert rows["lstm"].params == rows["lstm"].params_quantized == 96 * (8 + 24)
    assert rows["lstm"].macs == 8 * 96 * (8 + 24)
    assert rows["fc"].macs == 240


@pytest.mark.parametrize("weights", ["int8/per-tensor", "int8/per-channel"])
def test_an_lstm_that_reads_both_ways_has_scales_of_both(tmp_path, weights):
    model = write(lstm_both_ways, tmp_path / "lstm_both.onnx", ["N", 8, 8])
    made = quantize(METHOD, model, tmp_path / "out", weights=weights)
    rows, error = observe(made, model, images(16, shape=(8, 8)))
    assert 0 < error < 1
    found = rows["lstm"].weight
    assert len(found.scales) == found.channels == (2 if weights.endswith("tensor") else 2 * 96)
    assert found.axis == (0 if weights.endswith("tensor") else 2)
    assert not qparams_fault(found)
    # One scale too few, or for gates of one direction alone, is told.
    short = replace(found, scales=found.scales[1:], zero_points=found.zero_points[1:])
    assert "scales for" in qparams_fault(short)


def test_lstm_alone(tmp_path):
    model = lstm_model(tmp_path)
    rows, error = observe(
        quantize(METHOD, model, tmp_path / "out", op_types=["LSTM"]),
        model,
        images(4, shape=(8, 8)),
    )
    assert error > 0
    assert rows["lstm"].quantized
    assert not rows["fc"].quantized


def test_kept_layers_stay_float(tmp_path):
    model = lstm_model(tmp_path)
    rows, _ = observe(
        quantize(METHOD, model, tmp_path / "out", keep_float=["lstm"]),
        model,
        images(4, shape=(8, 8)),
    )
    assert not rows["lstm"].quantized
    assert rows["fc"].quantized


def test_nothing_to_quantize_says_what_there_is(tmp_path):
    model = cnn_model(tmp_path)
    with pytest.raises(QuantizeError, match=r"nothing was quantized.*Gemm \(1\).*op_types: LSTM"):
        quantize(METHOD, model, tmp_path / "out", op_types=["LSTM"])
