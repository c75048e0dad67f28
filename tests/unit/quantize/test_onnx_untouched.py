"""Operators that a spec names and the library passes over: an error, whatever else was quantized."""

import pytest

from gate.quantize.base import QuantizeError
from tests.unit.onnx_models import cnn_model, lstm_model, quantize

DYNAMIC, STATIC = "onnxruntime-dynamic", "onnxruntime-static"


def test_an_operator_of_another_name_in_the_library(tmp_path):
    """The library writes Gemm as MatMul before it looks at the list: only MatMul reaches it."""
    model = lstm_model(tmp_path)
    with pytest.raises(QuantizeError, match=r"no Gemm was quantized: fc left .* as MatMul"):
        quantize(DYNAMIC, model, tmp_path / "out", op_types=["LSTM", "Gemm"])
    quantize(DYNAMIC, model, tmp_path / "both", op_types=["LSTM", "MatMul"])


@pytest.mark.parametrize("method", [DYNAMIC, STATIC])
def test_an_operator_that_the_model_does_not_have(tmp_path, method):
    with pytest.raises(QuantizeError, match=r"the model has no Resize; its operators are Add, "):
        quantize(method, cnn_model(tmp_path), tmp_path / "out", op_types=["Conv", "Resize"])


def test_what_the_spec_itself_keeps_in_float_is_no_omission(tmp_path):
    model = cnn_model(tmp_path)
    quantize(STATIC, model, tmp_path / "out", op_types=["Conv", "Gemm"], keep_float=["fc"])


def test_operators_without_weights_are_only_looked_up(tmp_path):
    quantize(STATIC, cnn_model(tmp_path), tmp_path / "out", op_types=["Conv", "Add", "MaxPool"])
