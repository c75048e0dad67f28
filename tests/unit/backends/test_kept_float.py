"""Float weights beside the stored ones: by what reads them, and by their values."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from gate import plugins
from gate.backends.kept_float import FloatTensor, StoredTensor, kept_float
from gate.backends.transform import TransformedSession
from gate.core.transform import parse_transforms
from tests.unit.onnx_models import cnn_model, lstm_model, quantize, target

RANDOM = np.random.default_rng(0)


def told(artifact, model):
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        return session.kept_float()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("onnxruntime-static", {}),
        ("onnxruntime-static", {"format": "QOperator", "weights": "uint8/per-tensor"}),
        ("onnxruntime-dynamic", {"weights": "int8/per-channel"}),
        ("onnxruntime-matmul-nbits", {}),
        ("onnxruntime-fp16", {"keep_ops": ["Conv"]}),
    ],
)
def test_our_own_methods_keep_none(tmp_path, method, options):
    model = cnn_model(tmp_path)
    assert told(quantize(method, model, tmp_path / "out", **options), model) == ()


def test_recurrent_layers_keep_none(tmp_path):
    model = lstm_model(tmp_path)
    assert told(quantize("onnxruntime-dynamic", model, tmp_path / "out"), model) == ()


def edited(artifact, change):
    proto = onnx.load(artifact.path)
    change(proto.graph)
    onnx.save(proto, artifact.path)


def float_weight(model, name):
    (found,) = (t for t in onnx.load(model.path).graph.initializer if t.name == name)
    return numpy_helper.to_array(found)


def test_a_constant_that_nothing_reads(tmp_path):
    model = cnn_model(tmp_path)
    made = quantize("onnxruntime-static", model, tmp_path / "out")
    values = [RANDOM.standard_normal(shape).astype("f4") for shape in ((32, 32), (7, 9), (5000,))]
    edited(
        made,
        lambda graph: graph.initializer.extend(
            numpy_helper.from_array(value, f"left{i}") for i, value in enumerate(values)
        ),
    )
    (found,) = told(made, model)  # the others are too small, or no weight
    assert (found.name, found.size_bytes, found.stored, found.unread) == ("left0", 4096, "", True)


@pytest.mark.parametrize("turned", [False, True])
def test_a_weight_that_is_read_in_float_as_well(tmp_path, turned):
    model = cnn_model(tmp_path)
    made = quantize("onnxruntime-static", model, tmp_path / "out")
    value = float_weight(model, "wf")

    def read(graph):
        graph.initializer.append(numpy_helper.from_array(value.T if turned else value, "again"))
        graph.node.append(helper.make_node("ReduceSum", ["again"], ["sum"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info("sum", 1, []))

    edited(made, read)
    (found,) = told(made, model)
    assert (found.name, found.stored, found.unread) == ("again", "wf_quantized", False)


def test_behind_a_transform(tmp_path):
    model = cnn_model(tmp_path)
    made = quantize("onnxruntime-static", model, tmp_path / "out")
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_candidate(made, model=model, target=target()) as session:
        assert TransformedSession(session, parse_transforms({})).kept_float() == ()


def tensors(noise):
    value = RANDOM.standard_normal((64, 96)).astype(np.float32)
    step = np.float32(0.02)
    real = np.rint(value / step) * step
    shifted = value + noise * step * RANDOM.uniform(-1, 1, value.shape).astype(np.float32)
    stored = StoredTensor(name="stored", shape=value.shape, value=lambda: (real, step))
    return FloatTensor(
        name="w", shape=value.shape, size_bytes=value.nbytes, value=lambda: shifted
    ), stored


@pytest.mark.parametrize(("noise", "same"), [(0.0, True), (1.0, False)])
def test_half_a_step_decides(noise, same):
    tensor, stored = tensors(noise)
    found = list(kept_float([tensor], [stored]))
    assert [one.stored for one in found] == (["stored"] if same else [])
